# entrepot - build, test, install. `make help` lists the targets.

.DEFAULT_GOAL := all
VERSION  := 0.1.0
PREFIX   ?= /usr/local
DESTDIR  ?=
UNITDIR  ?= $(PREFIX)/lib/systemd/system
ZSHDIR   ?= $(PREFIX)/share/zsh/site-functions
IMAGE    ?= entrepot:$(VERSION)
CC       ?= cc
WERROR   ?= -Werror
# llhttp: the library of newer distributions (Debian 13, Ubuntu 24.04), else the C sources in Debian 12's node-llhttp.
# LLHTTP=FOLDER takes sources from there.
ifndef LLHTTP
LLHTTP_LIBS := $(shell pkg-config --libs libllhttp 2>/dev/null)
endif
ifneq ($(LLHTTP_LIBS),)
LLHTTP_CFLAGS := $(shell pkg-config --cflags libllhttp)
else
LLHTTP   ?= /usr/share/llhttp
LLHTTP_CFLAGS := -isystem /usr/share/include/llhttp
endif

# `make asan`, `make tsan`, and with `test` after them: the same in a folder of their own, under a sanitizer.
ifneq ($(filter asan,$(MAKECMDGOALS)),)
B        ?= build-asan
SANITIZE ?= -fsanitize=address,undefined -fno-omit-frame-pointer
else ifneq ($(filter tsan,$(MAKECMDGOALS)),)
B        ?= build-tsan
SANITIZE ?= -fsanitize=thread
SUITES   ?= unit fuzz protocol concurrency recovery identity patience network cluster airgap
endif
# A sanitizer makes everything slow: less of what is random.
ifneq ($(SANITIZE),)
export OPERATIONS ?= 100000
export STEPS ?= 50000
export SECONDS_LONG ?= 30
export ROUNDS ?= 20
endif
B        ?= build
SANITIZE ?=
SUITES   ?= unit fuzz protocol concurrency recovery identity patience network cluster airgap systemd e2e
T        ?=

# libFuzzer, and what it needs to see of the code.
FUZZ_B   ?= build-fuzz
FUZZ_FLAGS := CC=clang B=$(FUZZ_B) FUZZ_MAIN= FUZZ_LDFLAGS=-fsanitize=fuzzer \
	SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"

FOLDERS    := base config cache/index cache/store cache/ingest cache upstream/cred upstream cluster gc/repair gc proxy/seen \
	proxy/http proxy/fetch proxy/registry proxy/pull proxy/intercept proxy/admin proxy/page proxy
CLI_FOLDERS := cli/lib cli/archive cli/images cli/setup cli/doctor cli/completion cli
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wformat -Wformat-security $(WERROR)

# What Debian hardens with (dpkg-buildflags, hardening=+all), where the compiler has it. They come before CFLAGS and LDFLAGS, which
# have the last word. A sanitizer brings checks of its own, which these would hide functions from. HARDEN= builds without.
, := ,
try       = $(shell echo 'int main(void) { return 0; }' | $(CC) -Werror $(1) -x c - -o /dev/null 2>/dev/null && echo '$(1)')
GIVEN    := $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(SANITIZE)
HARDEN   ?= 1
ifeq ($(HARDEN)$(findstring -fsanitize=,$(GIVEN)),1)
HARD_TRIED  := -fstack-protector-strong -fstack-clash-protection -fcf-protection -mbranch-protection=standard
HARD_LDFLAGS := -Wl,-z,relro -Wl,-z,now
# Whoever links statically, or says -no-pie, wants no PIE.
HARD_LDFLAGS += $(if $(filter -static% -no-pie -fno-pie -fno-PIE,$(GIVEN)),,-pie)
# The C library's checks need an optimizing compiler; a level that was given stays.
ifeq ($(findstring FORTIFY_SOURCE,$(GIVEN))$(filter -O0,$(lastword -O0 $(filter -O%,$(GIVEN)))),)
HARD_FORTIFY = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(call try,-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -include stdio.h),3,2)
endif
# Tried by the first command that compiles, and not before: `make install` calls no compiler.
HARD_CFLAGS = $(eval HARD_CFLAGS := -fPIE $(foreach f,$(HARD_TRIED),$(call try,$f)) $(HARD_FORTIFY))$(HARD_CFLAGS)
endif
DEFINES  := -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1 -DENTREPOT_VERSION='"$(VERSION)"'
ALL_CFLAGS  = -std=gnu17 $(HARD_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(DEFINES) $(SANITIZE) -pthread -I. $(LLHTTP_CFLAGS) $(SYSTEMD_CFLAGS)
# gcc's two runtimes take each other's functions where they can, and then one does not write to its log_path (tests/run).
SANITIZE_LDFLAGS = $(if $(findstring undefined,$(SANITIZE)),$(call try,-static-libubsan -Wl$(,)--exclude-libs$(,)libubsan.a))
ALL_LDFLAGS = $(HARD_LDFLAGS) $(LDFLAGS) $(SANITIZE) $(SANITIZE_LDFLAGS) -pthread
# elogind's library does as well (deploy/alpine).
SYSTEMD_CFLAGS ?=
SYSTEMD_LIBS ?= -lsystemd
LDLIBS   := -levent_core -levent_extra -levent_pthreads -lcurl -lssl -lcrypto -llmdb -ljansson -lyaml -larchive $(SYSTEMD_LIBS) $(LLHTTP_LIBS) -lresolv -lm

LIB_SRC  := $(foreach r,$(FOLDERS),$(wildcard $(r)/*.c))
CLI_SRC  := $(foreach r,$(CLI_FOLDERS),$(wildcard $(r)/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
TOOL_SRC := $(wildcard tests/tools/*.c tests/bench/*.c)
PRELOAD_SRC := $(wildcard tests/tools/preload/*.c)
MODEL_SRC := $(wildcard tests/tools/model/*.c)
SIM_SRC  := $(wildcard tests/sim/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
TOOL_BIN := $(TOOL_SRC:%.c=$(B)/%)
PRELOADS := $(PRELOAD_SRC:tests/tools/preload/%.c=$(B)/tests/tools/%.so)
LLHTTP_OBJ := $(if $(LLHTTP),$(addprefix $(B)/llhttp/,api.o http.o llhttp.o))
# The status page is compiled in.
$(B)/proxy/page/asset.o: proxy/page/page.html
C_FILES  := $(LIB_SRC) $(CLI_SRC) $(UNIT_SRC) $(TOOL_SRC) $(MODEL_SRC) $(SIM_SRC) $(PRELOAD_SRC)
H_FILES  := $(wildcard $(addsuffix /*.h,$(FOLDERS) $(CLI_FOLDERS) tests/unit tests/tools/model tests/sim))

# Fuzz targets: everything in tests/fuzz but what they share, and the main() that they have in `make test`.
FUZZ_SRC := $(wildcard tests/fuzz/*.c)
FUZZ     := $(patsubst tests/fuzz/%.c,%,$(filter-out %/fuzz.c %/replay.c,$(FUZZ_SRC)))
FUZZ_BIN := $(FUZZ:%=$(B)/tests/fuzz/%)
FUZZ_MAIN := $(B)/tests/fuzz/replay.o
C_FILES  += $(FUZZ_SRC)
H_FILES  += $(wildcard tests/fuzz/*.h)

# Names of Debian 12 and 13; tests/packages says how to read them.
BUILD_PKGS := gcc=$(firstword $(CC)) libc6-dev ca-certificates=/etc/ssl/certs/ca-certificates.crt pkgconf,pkg-config=pkg-config libevent-dev \
	libcurl4-openssl-dev,libcurl4-gnutls-dev libssl-dev liblmdb-dev libjansson-dev libyaml-dev libarchive-dev libsystemd-dev \
	libllhttp-dev,node-llhttp=/usr/include/llhttp.h,/usr/share/llhttp/llhttp.c
ENGINE_PKGS := containerd= runc= docker.io=dockerd docker-cli,docker.io=docker podman= crun= buildah= skopeo= umoci=
TEST_PKGS := libcmocka-dev -- $(ENGINE_PKGS) docker-registry= tmux= faketime= xfsprogs=mkfs.xfs zstd= xz-utils=xz openssl= procps=pgrep \
	varnish=varnishtest debootstrap= busybox-static=busybox apache2-utils=htpasswd strace= e2fsprogs=mkfs.ext4 jq= curl= wrk= \
	nginx-light,nginx=nginx iproute2=ip nftables=nft dnsmasq-base=dnsmasq etcd-server=etcd etcd-client=etcdctl mandoc= python3= python3-yaml=/usr/lib/python3/dist-packages/yaml
# Those of the suite systemd, which boots a Debian.
TEST_PKGS += mmdebstrap= systemd-container=systemd-nspawn
# libFuzzer is a part of clang's runtime library.
FUZZ_PKGS := clang= libclang-rt-dev,libclang-rt-19-dev,libclang-rt-14-dev
LINT_PKGS := clang-format= clang-tidy= cppcheck= mandoc= codespell= git= binutils=nm

all: | deps ## build
	@$(MAKE) --no-print-directory B=$(B) SANITIZE="$(SANITIZE)" $(B)/entrepot $(B)/man/entrepot.1

asan tsan: all ## build under a sanitizer; `make asan test` runs the tests there
	@:

deps:
	@tests/packages $(BUILD_PKGS)

test-deps: deps
	@tests/packages $(TEST_PKGS)

$(B)/entrepot: $(CLI_OBJ) $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# The manual pages of commands, from their --help and docs/man; entrepot.1 is the last one.
$(B)/man/entrepot.1: $(B)/entrepot $(wildcard docs/man/* docs/man/commands/*)
	docs/man/pages $(B)/entrepot $(@D)

$(B)/libentrepot.a: $(LIB_OBJ) $(LLHTTP_OBJ)
	@rm -f $@
	ar qcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(HARD_CFLAGS) $(SANITIZE) -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CFLAGS) -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) -lcmocka

# The readers of lists are the command line's, which is in no library.
$(B)/tests/unit/test_readers: $(B)/cli/images/list.o $(B)/cli/images/yaml.o $(B)/cli/images/compose.o $(B)/cli/images/env.o \
	$(B)/cli/lib/say.o

$(B)/tests/unit/test_yaml_bounds: $(B)/cli/images/list.o $(B)/cli/images/yaml.o $(B)/cli/images/compose.o $(B)/cli/images/env.o \
	$(B)/cli/lib/say.o $(patsubst %.c,$(B)/%.o,$(wildcard cli/setup/*.c))

$(B)/tests/unit/test_archive: $(patsubst %,$(B)/cli/archive/%.o,archive files folder pipe tar) \
	$(patsubst %,$(B)/cli/archive/export_%.o,blob place tar) $(patsubst %,$(B)/cli/lib/%.o,daemon options say) \
	$(patsubst %,$(B)/cli/archive/import_%.o,about check dir docker document format layout name plan)

$(B)/tests/unit/test_doctor: $(B)/cli/doctor/clock.o $(B)/cli/doctor/finding.o $(B)/cli/lib/say.o

$(B)/tests/unit/test_setup $(B)/tests/unit/test_setup_doors: $(patsubst %.c,$(B)/%.o,$(wildcard cli/setup/*.c))

$(B)/tests/tools/%: $(B)/tests/tools/%.o $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# What a test puts under the daemon (LD_PRELOAD): without a sanitizer, which is there already.
$(B)/tests/tools/%.so: tests/tools/preload/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 -g $(WARNINGS) $(DEFINES) -shared -fPIC -o $@ $<

$(B)/tests/tools/gc_model: $(B)/tests/tools/model/model.o $(B)/tests/tools/model/life.o

$(B)/tests/tools/ingest_model: $(patsubst %,$(B)/tests/tools/model/%.o,arriving bytes disk life readers room sources)

# A fuzz target with replay.c's main(); with libFuzzer's, in `make fuzz`. Some of what they read is the command line's.
$(FUZZ_BIN): $(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/fuzz.o $(FUZZ_MAIN) $(B)/libcli.a $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) $(FUZZ_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

$(B)/libcli.a: $(filter-out %/main.o,$(CLI_OBJ))
	@rm -f $@
	ar qcs $@ $^

# A cluster under a virtual network and clock, by the product's own rules.
$(B)/tests/sim/sim: $(SIM_SRC:%.c=$(B)/%.o) $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

run: all ## build and serve on 127.0.0.1:5000 with the built-in defaults
	@env -u ENTREPOT_SKIP_PACKAGES $(B)/entrepot serve

demo: | test-deps all ## pull a real image cold, warm and without its registry (DEMO=small: a tiny one)
	@B=$(B) tests/demo

tests-built: $(B)/entrepot $(B)/man/entrepot.1 $(UNIT_BIN) $(TOOL_BIN) $(PRELOADS) $(B)/tests/sim/sim

test: | test-deps ## every suite; T=PATTERN runs what matches
	@$(MAKE) --no-print-directory B=$(B) SANITIZE="$(SANITIZE)" tests-built
	@B=$(B) T="$(T)" tests/run $(SUITES) $(MORE)

# What to run before a commit: under a minute, when little has changed.
check: | test-deps ## build, unit tests and protocol stories, lint of what has changed since SINCE (HEAD)
	@$(MAKE) --no-print-directory B=$(B) tests-built
	@B=$(B) tests/run unit protocol
	@$(MAKE) --no-print-directory B=$(B) SINCE=$${SINCE:-HEAD} lint

ci: ## all that is run before a release: lint, every suite, the sanitizers
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory asan test
	@$(MAKE) --no-print-directory tsan test

# For editors and tools: how each file is compiled.
compile_commands.json: export COMPILE = $(CC) $(ALL_CFLAGS) -c
compile_commands.json: $(C_FILES)
	@tests/packages -- jq=
	@printf '%s\n' $(C_FILES) | jq -R '{directory: "$(CURDIR)", file: ., command: (env.COMPILE + " " + .)}' | jq -s . >$@

test-distros: ## a fresh clone on Debian 12 and 13, in chroots: build, run, unit tests; FULL=1: all of `make test` there
	@tests/packages debootstrap= git= curl= iproute2=ip
	@DISTROS="$(DISTROS)" tests/run distros

test-systemd: ## what README says of the service, in a Debian that is booted (RELEASE=trixie: another one)
	@$(MAKE) --no-print-directory SUITES=systemd test

test-engines: | test-deps all ## today's engines, of Debian sid in a chroot (ENTREPOT_SID=FOLDER, made once): cosign, oras, crane, ...
	@B=$(B) T="$(T)" tests/run engines

test-browser: | test-deps all ## the status page in a headless Chromium (SHOTS=FOLDER keeps screenshots)
	@tests/packages chromium= chromium-driver=chromedriver
	@B=$(B) tests/run browser

# In clean chroots, made once and kept in ENTREPOT_CHROOTS (/var/cache/entrepot-tests).
deb: ## packages of Debian 12 and 13, built in chroots, with their unit tests and lintian: build/deb/RELEASE (DISTROS="bookworm trixie")
	@tests/packages mmdebstrap=
	@for d in $(or $(DISTROS),bookworm trixie); do deploy/debian/build $$d $(B)/deb/$$d || exit; done

rpm: ## a package for RPM's distributions, by Debian's rpmbuild: build/rpm
	@tests/packages $(BUILD_PKGS) rpm=rpmbuild systemd-dev,systemd
	@deploy/rpm/build $(B)/rpm

test-packages: | test-deps ## packages on a booted Debian 12 and 13: install, upgrade, downgrade, remove, purge, with pulls going on; built twice; RPM, Alpine
	@$(MAKE) --no-print-directory B=$(B) $(B)/tests/tools/break_index
	@tests/packages -- rpm=rpmbuild
	@B=$(B) DISTROS="$(DISTROS)" T="$(T)" tests/run packages

test-walks: | test-deps ## docs/operations.md's ways from nothing to the first warm pull, on booted Debians: its commands, timed (a quarter of an hour)
	@B=$(B) DISTROS="$(DISTROS)" T="$(T)" tests/run walks

image: all ## the container image (IMAGE=NAME:TAG), a layout and an archive in build/image; needs python3 alone, no engine
	@tests/packages -- python3= binutils=strip
	@python3 deploy/image/build.py $(B)/entrepot $(B)/image $(VERSION) $(IMAGE)

test-image: | test-deps all ## the image: the same twice, under dockerd and containerd, by Containerfile
	@B=$(B) T="$(T)" tests/run image

test-kubernetes: | test-deps all ## manifests, chart, alerts, a real Prometheus; the pod run by containerd's CRI (ENTREPOT_KUBERNETES=FOLDER of tools, made once)
	@B=$(B) T="$(T)" tests/run kubernetes

test-kernel: ## kernel TLS, under Debian's kernel in qemu (ENTREPOT_KERNEL=FOLDER: an unpacked linux-image package): five minutes
	@tests/packages -- qemu-system-x86=qemu-system-x86_64 busybox-static=busybox openssl= curl= python3=
	@$(MAKE) --no-print-directory B=$(B) tests-built
	@B=$(B) tests/run kernel

test-cluster: | test-deps ## several nodes: all of it, with those that lie, hang, die and are cut off, and a real bucket (ten minutes)
	@$(MAKE) --no-print-directory B=$(B) tests-built
	@B=$(B) T="$(T)" CLUSTER_ALL=1 tests/run cluster

test-tls: | all ## testssl.sh against a TLS listener and an intercepted host, some minutes
	@tests/packages -- testssl.sh=testssl openssl= jq= curl= python3=
	@B=$(B) tests/run testssl

bench: | test-deps all ## the tables of figures: beside nginx and curl, what engines do, a cold disk, eviction policies, a large cache
	@$(MAKE) --no-print-directory B=$(B) tests-built
	@B=$(B) tests/bench/run
	@B=$(B) bash tests/bench/tls.sh
	@B=$(B) bash tests/bench/doors.sh
	@B=$(B) bash tests/bench/parts.sh
	@B=$(B) bash tests/bench/disk.sh
	@B=$(B) bash tests/bench/seen.sh
	@B=$(B) tests/bench/policies
	@B=$(B) bash tests/bench/listing.sh
	@B=$(B) bash tests/bench/importing.sh
	@B=$(B) bash tests/bench/scale.sh

bench-parts: | test-deps all ## what engines of today do (ranges, lazy pulls, whole images): direct and through; ROWS="one lazy": those
	@$(MAKE) --no-print-directory B=$(B) $(B)/tests/tools/relay
	@B=$(B) bash tests/bench/parts.sh $(ROWS)

sim: | deps ## the tables of docs/scale.md, from 10 to 10 000 simulated nodes (MOST=1000: up to so many): some minutes
	@$(MAKE) --no-print-directory B=$(B) $(B)/tests/sim/sim >&2
	@$(B)/tests/sim/sim table $(MOST)

bench-cluster: | test-deps all ## real nodes that pull a cold image at once, beside one alone and the simulator (N=4 RATE=200 SIZE=256 ROUNDS=3 PULLER=containerd)
	@$(MAKE) --no-print-directory B=$(B) $(B)/tests/sim/sim >&2
	@B=$(B) bash tests/bench/cluster.sh

bench-evict: | deps ## TRACE=FILE: what the eviction policies would have kept of it (lines of seconds,digest,bytes)
	@$(MAKE) --no-print-directory B=$(B) $(B)/tests/bench/evict >&2
	@$(B)/tests/bench/evict "$(TRACE)"
	@B=$(B) tests/bench/policies "$(TRACE)" >&2

soak: | test-deps ## crashes, starts on a damaged index, stops, the models of collector and ingest, pulls while it works: for long
	@$(MAKE) --no-print-directory B=$(B) tests-built
	@B=$(B) LIMIT=7200 ATTACK_SECONDS=3600 ATTACK_SCALE=100 ROUNDS=1000 OPERATIONS=10000000 STEPS=10000000 SECONDS_LONG=1200 STARTS=100 STOPS=200 tests/run concurrency recovery

# In a folder of its own: the corpus in it grows from one run to the next.
fuzz: | deps ## each fuzz target for FUZZ_SECONDS (600); T=PATTERN: those that match
	@tests/packages -- $(FUZZ_PKGS)
	@! tests/fuzz/run --can || $(MAKE) --no-print-directory $(FUZZ_FLAGS) fuzz-built
	@B=$(FUZZ_B) T="$(T)" tests/fuzz/run $(FUZZ)

fuzz-built: $(FUZZ_BIN)

tests-built: fuzz-built

lint: | all ## format, folders, names, words, static analysis; SINCE=COMMIT: the slow tools look only at what has changed since
	@tests/packages $(LINT_PKGS)
	@B=$(B) tests/lint $(C_FILES) -- $(H_FILES) -- $(filter-out -Werror,$(ALL_CFLAGS))

# As root after `make`: it calls no apt, and builds only what is out of date.
install: $(B)/entrepot $(B)/man/entrepot.1 ## DESTDIR= PREFIX=; without DESTDIR the service's user is made and systemd told of the units
	install -D -m 0755 $(B)/entrepot $(DESTDIR)$(PREFIX)/bin/entrepot
	for m in $(B)/man/*.1; do install -D -m 0644 $$m $(DESTDIR)$(PREFIX)/share/man/man1/$${m##*/}; done
	for m in docs/man/*.5; do install -D -m 0644 $$m $(DESTDIR)$(PREFIX)/share/man/man5/$${m##*/}; done
	install -D -m 0644 docs/config.example.yaml $(DESTDIR)$(PREFIX)/share/doc/entrepot/config.example.yaml
	install -d $(DESTDIR)$(UNITDIR)
	for u in entrepot entrepot-verify; do \
		sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/$$u.service > $(DESTDIR)$(UNITDIR)/$$u.service; done
	install -D -m 0644 systemd/entrepot.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/entrepot.conf
	install -D -m 0644 systemd/entrepot.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/entrepot.conf
	install -m 0644 systemd/entrepot.socket systemd/entrepot-verify.timer $(DESTDIR)$(UNITDIR)/
	@for c in bash:$(PREFIX)/share/bash-completion/completions/entrepot zsh:$(ZSHDIR)/_entrepot \
		fish:$(PREFIX)/share/fish/vendor_completions.d/entrepot.fish; do \
		to=$(DESTDIR)$${c#*:}; install -d "$${to%/*}" && $(B)/entrepot completion $${c%%:*} >"$$to" && chmod 0644 "$$to" || exit 1; done
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" systemd/after-install

clean: ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz $(B)

help:
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/  \1: \2/p' $(firstword $(MAKEFILE_LIST))

-include $(SIM_SRC:%.c=$(B)/%.d) $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(UNIT_BIN:=.d) $(TOOL_BIN:=.d) $(FUZZ_SRC:%.c=$(B)/%.d) $(MODEL_SRC:%.c=$(B)/%.d)

.SECONDARY:
.PHONY: check ci all asan tsan deps test-deps run demo tests-built test test-distros test-systemd test-engines test-packages test-walks deb rpm image test-image test-kubernetes test-kernel test-tls test-cluster test-browser bench bench-parts bench-cluster sim bench-evict soak fuzz fuzz-built lint install clean help
