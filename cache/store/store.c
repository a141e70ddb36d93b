#include "cache/store/private.h"

#include "base/assert.h"
#include "base/io.h"
#include "base/writable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static int open_dir(const char *path, const char *sub, mode_t mode, struct err *err)
{
    _cleanup_free_ char *full = xasprintf("%s%s%s", path, *sub ? "/" : "", sub);

    if (!writable_make_folder(full, mode, err))
        return -1;
    int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_errno(err, ERR_IO, "opening %s", full);
    return fd;
}

/* Creates a small file once; returns it open, or -1. */
static int store_make_file(const char *path, const char *name, const char *text, struct err *err)
{
    _cleanup_free_ char *full = xasprintf("%s/%s", path, name);
    int fd = open(full, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct stat st;

    if (fd < 0) {
        err_errno(err, ERR_IO, "opening %s", full);
        return -1;
    }
    if (fstat(fd, &st) == 0 && st.st_size == 0 && !io_write(fd, text, strlen(text))) {
        err_errno(err, ERR_IO, "writing %s", full);
        close(fd);
        return -1;
    }
    return fd;
}

struct store *store_open(const char *path, struct err *err)
{
    struct store *s = xcalloc(1, sizeof(*s));
    int root, index_json = -1;

    s->path = xstrdup(path);
    s->lock = s->ingest = s->quarantine = s->blobs[0] = s->blobs[DIGEST_SHA256] = s->blobs[DIGEST_SHA512] = -1;
    root = open_dir(path, "", 0755, err);
    if (root < 0)
        goto fail;
    s->lock = store_make_file(path, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
    if (s->lock < 0)
        goto fail;
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
        err_set(err, ERR_INVALID, "another entrepot is running on %s: stop it, or give this one another --cache", path);
        goto fail;
    }
    index_json = store_make_file(path, "index.json",
                                 "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
                                 "\"manifests\":[]}",
                                 err);
    if (index_json < 0)
        goto fail;
    close(index_json);
    s->blobs[0] = open_dir(path, "blobs", 0755, err);
    if (s->blobs[0] < 0 || (s->blobs[DIGEST_SHA256] = open_dir(path, "blobs/sha256", 0755, err)) < 0 ||
        (s->blobs[DIGEST_SHA512] = open_dir(path, "blobs/sha512", 0755, err)) < 0 ||
        (s->ingest = open_dir(path, "ingest", 0700, err)) < 0 ||
        (s->quarantine = open_dir(path, "quarantine", 0755, err)) < 0)
        goto fail;
    if (fchmod(s->ingest, 0700) != 0) { /* earlier versions let everybody look at what is on its way */
        err_errno(err, ERR_IO, "setting the mode of %s/ingest", path);
        goto fail;
    }
    if (fsync(s->blobs[0]) != 0 || fsync(root) != 0) {
        err_errno(err, ERR_IO, "syncing the folders in %s", path);
        goto fail;
    }
    close(root);
    return s;
fail:
    if (root >= 0)
        close(root);
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < ARRAY_LEN(s->blobs); i++)
        if (s->blobs[i] >= 0)
            close(s->blobs[i]);
    if (s->ingest >= 0)
        close(s->ingest);
    if (s->quarantine >= 0)
        close(s->quarantine);
    if (s->lock >= 0)
        close(s->lock);
    free(s->path);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

bool store_fail(struct err *err, const char *doing, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s blob %s", doing, digest_format(d, text));
}

static void store_fill_info(struct file_info *info, const struct stat *st)
{
    *info = (struct file_info){st->st_size, st->st_ctim.tv_sec * 1000000000LL + st->st_ctim.tv_nsec, st->st_ino,
                               !(st->st_mode & S_IROTH)};
}

int store_open_blob(struct store *s, const struct digest *d, struct file_info *info, struct err *err)
{
    char hex[DIGEST_TEXT_MAX];
    struct stat st;
    int fd = openat(s->blobs[d->alg], digest_hex(d, hex), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        store_fail(err, "opening", d);
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        store_fail(err, "reading", d);
        close(fd);
        return -1;
    }
    if (info)
        store_fill_info(info, &st);
    return fd;
}

bool store_stat_blob(struct store *s, const struct digest *d, struct file_info *info, struct err *err)
{
    char hex[DIGEST_TEXT_MAX];
    struct stat st;

    if (fstatat(s->blobs[d->alg], digest_hex(d, hex), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return store_fail(err, "looking for", d);
    store_fill_info(info, &st);
    return true;
}

bool store_read_blob(struct store *s, const struct digest *d, size_t max, struct buf *out, struct err *err)
{
    struct file_info info;
    _cleanup_close_ int fd = store_open_blob(s, d, &info, err);
    int64_t size = fd >= 0 ? info.size : 0;

    if (fd < 0)
        return false;
    if (size > (int64_t)max)
        return err_set(err, ERR_TOO_LARGE, "blob of %lld bytes where at most %zu are read", (long long)size, max);
    char *to = buf_reserve(out, (size_t)size);
    for (int64_t at = 0; at < size;) {
        ssize_t n = io_pread(fd, to + at, (size_t)(size - at), at);
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return store_fail(err, "reading", d);
        }
        at += n;
    }
    out->len += (size_t)size;
    return true;
}

bool store_has_blob(struct store *s, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];

    return faccessat(s->blobs[d->alg], digest_hex(d, hex), F_OK, 0) == 0;
}

bool store_remove_blob(struct store *s, const struct digest *d, struct err *err)
{
    char hex[DIGEST_TEXT_MAX];

    if (unlinkat(s->blobs[d->alg], digest_hex(d, hex), 0) != 0 && errno != ENOENT)
        return store_fail(err, "removing", d);
    return true;
}

static const char *part_name(const struct digest *d, char out[NAME_CAP])
{
    char hex[DIGEST_TEXT_MAX];

    snprintf(out, NAME_CAP, "%s-%s.part", digest_alg_name(d), digest_hex(d, hex));
    return out;
}

int store_open_part(struct store *s, const struct digest *d, bool create, struct err *err)
{
    char name[NAME_CAP];
    int fd = openat(s->ingest, part_name(d, name), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

    if (fd < 0)
        store_fail(err, "opening the part of", d);
    return fd;
}

bool store_stat_part(struct store *s, const struct digest *d, int64_t *written_s, int64_t *bytes)
{
    char name[NAME_CAP];
    struct stat st;

    if (fstatat(s->ingest, part_name(d, name), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    *written_s = st.st_mtim.tv_sec;
    *bytes = MIN((int64_t)st.st_blocks * 512, (int64_t)st.st_size); /* as store_ingest_bytes() */
    return true;
}

bool store_remove_part(struct store *s, const struct digest *d, struct err *err)
{
    char name[NAME_CAP];

    if (unlinkat(s->ingest, part_name(d, name), 0) != 0 && errno != ENOENT)
        return store_fail(err, "removing the part of", d);
    return true;
}

static bool store_publish(struct store *s, const struct digest *d, int fd, const char *name, bool is_private,
                          struct file_info *info, struct err *err)
{
    char hex[DIGEST_TEXT_MAX];
    struct stat st;

    OFF_LOOPS;
    if (fchmod(fd, is_private ? 0400 : 0444) != 0 || fsync(fd) != 0)
        return store_fail(err, "syncing", d);
    if (renameat(s->ingest, name, s->blobs[d->alg], digest_hex(d, hex)) != 0)
        return store_fail(err, "publishing", d);
    if (fsync(s->blobs[d->alg]) != 0 || fstat(fd, &st) != 0)
        return store_fail(err, "syncing the folder of", d);
    store_fill_info(info, &st);
    return true;
}

bool store_publish_part(struct store *s, const struct digest *d, int fd, bool is_private, struct file_info *info,
                        struct err *err)
{
    char name[NAME_CAP];

    return store_publish(s, d, fd, part_name(d, name), is_private, info, err);
}

const char *store_name(const struct digest *d, const char *suffix, char out[NAME_CAP])
{
    char hex[DIGEST_TEXT_MAX];

    snprintf(out, NAME_CAP, "%s-%s%s", digest_alg_name(d), digest_hex(d, hex), suffix);
    return out;
}

static const char *import_name(const struct digest *d, char out[NAME_CAP])
{
    return store_name(d, STORE_IMPORT_SUFFIX, out);
}

int store_open_import(struct store *s, const struct digest *d, bool create, struct err *err)
{
    char name[NAME_CAP];
    int fd =
        openat(s->ingest, import_name(d, name), (create ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        store_fail(err, "opening the import of", d);
    return fd;
}

bool store_remove_import(struct store *s, const struct digest *d, struct err *err)
{
    char name[NAME_CAP];

    if (unlinkat(s->ingest, import_name(d, name), 0) != 0 && errno != ENOENT)
        return store_fail(err, "removing the import of", d);
    return true;
}

bool store_publish_import(struct store *s, const struct digest *d, int fd, struct file_info *info, struct err *err)
{
    char name[NAME_CAP];

    return store_publish(s, d, fd, import_name(d, name), false, info, err);
}

bool store_write_blob(struct store *s, const struct digest *d, const void *data, size_t len, bool is_private,
                      struct file_info *info, struct err *err)
{
    char name[NAME_CAP], hex[DIGEST_TEXT_MAX];

    OFF_LOOPS;
    snprintf(name, sizeof(name), "%s-%.32s.%llu.tmp", digest_alg_name(d), digest_hex(d, hex),
             (unsigned long long)atomic_fetch_add(&s->serial, 1));
    _cleanup_close_ int fd = openat(s->ingest, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return store_fail(err, "creating", d);
    bool written = io_write(fd, data, len) || store_fail(err, "writing", d);
    if (written && store_publish(s, d, fd, name, is_private, info, err))
        return true;
    unlinkat(s->ingest, name, 0);
    return false;
}

bool store_space(struct store *s, int64_t *total, int64_t *available, struct err *err)
{
    struct statvfs v;

    if (fstatvfs(s->ingest, &v) != 0)
        return err_errno(err, ERR_IO, "asking for the room on %s", s->path);
    *total = (int64_t)v.f_blocks * (int64_t)v.f_frsize;
    *available = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
    return true;
}
