/* Many small blobs at once: written, synced together, put in their places, and then their folders synced. Two waits for
 * the disk, where each by itself (store_write_blob()) takes two of its own. */
#include "cache/store/private.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    SYNC_EACH_MAX = 8,      /* so few are synced each by itself: syncfs(2) waits for what others write, too */
    XFS_MAGIC = 0x58465342, /* linux/magic.h has it since 6.10 only */
};

/* syncfs(2) says whether something was not written on these file systems, and since Linux 5.17: before that, what a
 * file system's own part answered got lost, and what overlayfs has below it does not reach its caller at all. */
static bool can_sync_together(int fd)
{
    struct utsname kernel;
    struct statfs fs;
    int major = 0, minor = 0;

    if (uname(&kernel) != 0 || sscanf(kernel.release, "%d.%d", &major, &minor) != 2 || major < 5 ||
        (major == 5 && minor < 17) || fstatfs(fd, &fs) != 0)
        return false;
    return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC ||
           fs.f_type == TMPFS_MAGIC;
}

static const char *temporary_name(const struct store_piece *p, char out[NAME_CAP])
{
    char suffix[32];

    snprintf(suffix, sizeof(suffix), ".%llu.tmp", (unsigned long long)p->serial);
    return store_name(&p->digest, suffix, out);
}

static bool batch_write_piece(struct store *s, struct store_piece *p, bool sync, struct err *err)
{
    char name[NAME_CAP];

    p->serial = atomic_fetch_add(&s->serial, 1);
    _cleanup_close_ int fd = openat(s->ingest, temporary_name(p, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return store_fail(err, "creating", &p->digest);
    p->written = true;
    for (size_t at = 0; at < p->len;) {
        ssize_t n = write(fd, p->data + at, p->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return store_fail(err, "writing", &p->digest);
        at += (size_t)n;
    }
    if (fchmod(fd, 0444) != 0 || (sync && fsync(fd) != 0))
        return store_fail(err, "syncing", &p->digest);
    return true;
}

static bool place_piece(struct store *s, struct store_piece *p, struct err *err)
{
    char name[NAME_CAP], hex[DIGEST_TEXT_MAX];

    if (renameat(s->ingest, temporary_name(p, name), s->blobs[p->digest.alg], digest_hex(&p->digest, hex)) != 0)
        return store_fail(err, "publishing", &p->digest);
    p->written = false;
    p->placed = true;
    return true;
}

static bool sync_folders(struct store *s, const struct store_piece *list, size_t count, struct err *err)
{
    bool synced[ARRAY_LEN(s->blobs)] = {false};

    for (size_t i = 0; i < count; i++) {
        enum digest_alg alg = list[i].digest.alg;
        if (!synced[alg] && fsync(s->blobs[alg]) != 0)
            return store_fail(err, "syncing the folder of", &list[i].digest);
        synced[alg] = true;
    }
    return true;
}

static bool batch_write_all(struct store *s, struct store_piece *list, size_t count, struct err *err)
{
    /* Opened for this batch: it reports what cannot be written from now on, even if another descriptor has reported it.
     */
    _cleanup_close_ int all = openat(s->ingest, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (all < 0)
        return err_errno(err, ERR_IO, "opening %s/ingest", s->path);
    bool together = count > SYNC_EACH_MAX && can_sync_together(all), ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = batch_write_piece(s, &list[i], !together, err);
    if (ok && together && syncfs(all) != 0)
        ok = err_errno(err, ERR_IO, "syncing what was written to %s", s->path);
    for (size_t i = 0; ok && i < count; i++)
        ok = place_piece(s, &list[i], err);
    return ok && sync_folders(s, list, count, err);
}

bool store_write_blobs(struct store *s, struct store_piece *list, size_t count, struct err *err)
{
    OFF_LOOPS;
    char name[NAME_CAP];
    bool ok = batch_write_all(s, list, count, err);

    for (size_t i = 0; ok && i < count; i++) /* after the last rename: it changes the ctime */
        ok = store_stat_blob(s, &list[i].digest, &list[i].info, err);
    for (size_t i = 0; !ok && i < count; i++)
        if (list[i].written)
            unlinkat(s->ingest, temporary_name(&list[i], name), 0);
    return ok;
}
