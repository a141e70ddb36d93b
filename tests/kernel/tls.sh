#!/bin/bash
# Kernel TLS: the story of TLS listeners (network/tls-listener) under Debian's kernel, which knows it, in a machine that qemu emulates: its
# disk is this machine's, read-only, with memory over it. Takes some minutes: its figures mean nothing. ENTREPOT_KERNEL=FOLDER: an unpacked package
# linux-image-*, else it is downloaded (apt-get download).
. "$(dirname "$0")/../lib.sh"
need qemu-system-x86_64 busybox gzip python3 openssl
[ "$(uname -m)" = x86_64 ] || skip "needs x86_64"
K=${ENTREPOT_KERNEL:-$W/kernel}
if [ ! -d "$K" ]; then
    need apt-get dpkg-deb apt-cache
    name=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: *\(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    mkdir "$W/deb"
    (cd "$W/deb" && timeout 120 apt-get download "${name:-linux-image-amd64}" >"$W/apt" 2>&1) || skip "linux-image-amd64 cannot be had: $(tail -n 1 "$W/apt")"
    dpkg-deb -x "$W"/deb/linux-image-*.deb "$K"
fi
modules=$(find "$K" -path '*/lib/modules/*/kernel' -prune | head -n 1)
[ -d "$modules" ] || skip "$K has no kernel"
version=$(basename "${modules%/kernel}")

# What the machine begins with: busybox, and the modules for its disk and for TLS.
I=$W/init
mkdir -p "$I/bin" "$I/sbin" "$I/proc" "$I/sys" "$I/dev" "$I/lower" "$I/memory" "$I/root" "$I/lib/modules/$version/kernel"
cp "$(command -v busybox)" "$I/bin/busybox"
ldd "$I/bin/busybox" >/dev/null 2>&1 && skip "needs busybox-static"
cp "${modules%/kernel}"/modules.{order,builtin} "$I/lib/modules/$version/"
for part in drivers/virtio net/9p fs/9p fs/netfs fs/fscache fs/overlayfs net/tls crypto arch/x86/crypto lib; do
    [ -d "$modules/$part" ] || continue
    mkdir -p "$I/lib/modules/$version/kernel/$part"
    cp -r "$modules/$part/." "$I/lib/modules/$version/kernel/$part/"
done
find "$I/lib" -name '*.ko.xz' -exec xz -d {} +
cat >"$I/init" <<SH
#!/bin/busybox sh
for a in \$(/bin/busybox --list); do [ \$a = busybox ] || /bin/busybox ln -sf /bin/busybox /bin/\$a; done
ln -s /bin/modprobe /sbin/modprobe
mount -t proc none /proc && mount -t sysfs none /sys && mount -t devtmpfs none /dev
ln -s /proc/self/fd /dev/fd
depmod
for m in virtio_pci 9pnet_virtio 9p overlay tls; do modprobe \$m || echo "no module \$m"; done
ip link set lo up
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /lower
mount -t tmpfs none /memory && mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work none /root
for d in proc sys dev; do mount --bind /\$d /root/\$d; done
mount -t tmpfs none /root/run
chroot /root /usr/bin/env -i PATH="$PATH" HOME=/run TMPDIR=/run LC_ALL=C B="$B" BLOB_MIB=32 CASE_LIMIT=200 SLOW_READERS=20 \\
    /bin/bash "$PWD/tests/network/tls-listener.sh" 2>&1
echo "it ended with \$?"
grep -E 'TlsTxSw|TlsDecryptError' /proc/net/tls_stat
poweroff -f
SH
chmod +x "$I/init"
(cd "$I" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >"$W/initrd")

say "it boots $version"
timeout 450 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -no-reboot -display none -serial stdio -monitor none -nic none \
    -kernel "$K/boot/vmlinuz-$version" -initrd "$W/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null 2>&1 | tr -d '\r' | tee "$W/console" || true
grep -q '^it ended with 0$' "$W/console" || fail "the story of TLS listeners under Linux $version"
count=$(awk '$1 == "TlsTxSw" {print $2}' "$W/console")
[ "${count:-0}" -gt 0 ] || fail "the kernel has encrypted nothing"
say "$count connections were encrypted by the kernel"
