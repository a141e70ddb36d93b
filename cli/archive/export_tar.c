/* A reproducible tar archive: members in a fixed order, without times and owners. It is written to NAME.part and
 * renamed at the end. A partial one is checked from its start, and continued from the last member that another one
 * follows. */
#include "cli/archive/export.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

struct export_tar {
    struct export_job *job;
    int fd;
    struct archive *a;
    struct err *err;
    bool given_up; /* nothing more is written */
};

static la_ssize_t export_tar_write(struct archive *a, void *arg, const void *data, size_t len)
{
    struct export_tar *t = arg;

    if (t->given_up)
        return -1;
    if (export_write(t->fd, data, len, t->err))
        return (la_ssize_t)len;
    archive_set_error(a, EIO, "%s", t->err->msg);
    return -1;
}

static bool export_tar_fail(struct export_tar *t, const char *doing)
{
    if (t->err->code == ERR_OK)
        err_set(t->err, ERR_IO, "%s: %s", doing, archive_error_string(t->a));
    return false;
}

/* ---- resuming ---- */

static bool is_same_member(struct archive *in, struct archive_entry *e, const struct export_entry *m)
{
    struct hasher *h = hasher_new(m->text ? DIGEST_SHA256 : m->digest.alg);
    _cleanup_free_ char *piece = xmalloc(PIECE);
    struct digest seen, want = m->digest;
    int64_t size = 0;
    la_ssize_t n = 0;

    if (m->text)
        digest_of(DIGEST_SHA256, m->text, strlen(m->text), &want);
    bool same = strcmp(archive_entry_pathname(e), m->name) == 0 && archive_entry_size(e) == m->size;
    while (same && (n = archive_read_data(in, piece, PIECE)) > 0) {
        hasher_update(h, piece, (size_t)n);
        size += n;
    }
    hasher_final(h, &seen);
    hasher_free(h);
    return same && n == 0 && size == m->size && digest_eq(&seen, &want);
}

/* How many members of a partial archive are correct, and the offset at which to continue. */
static size_t export_tar_check_part(struct export_tar *t, int64_t *offset)
{
    struct archive *in = archive_read_new();
    struct archive_entry *e;
    size_t right = 0;

    *offset = 0;
    archive_read_support_format_tar(in);
    bool more = archive_read_open_fd(in, t->fd, PIECE) == ARCHIVE_OK && archive_read_next_header(in, &e) == ARCHIVE_OK;
    while (more && right < t->job->count) {
        *offset = archive_read_header_position(in);
        more = is_same_member(in, e, &t->job->members[right]) && archive_read_next_header(in, &e) == ARCHIVE_OK;
        right += more; /* the end of the last one is not known: it is written again */
    }
    archive_read_free(in);
    return right;
}

/* ---- writing ---- */

static bool export_tar_take_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct export_tar *t = arg;

    if (archive_write_data(t->a, data, len) == (la_ssize_t)len)
        return true;
    return err->code == ERR_OK ? err_set(err, ERR_IO, "writing: %s", archive_error_string(t->a)) : false;
}

static bool export_tar_put(struct export_tar *t, const struct export_entry *m)
{
    struct archive_entry *e = archive_entry_new();

    archive_entry_set_pathname(e, m->name);
    archive_entry_set_size(e, m->size);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0444);
    archive_entry_set_mtime(e, 0, 0);
    bool ok = archive_write_header(t->a, e) == ARCHIVE_OK;
    archive_entry_free(e);
    if (!ok)
        return export_tar_fail(t, "writing a header");
    ok = m->text ? export_tar_take_data(t, m->text, strlen(m->text), t->err)
                 : export_read_blob(t->job, m, export_tar_take_data, t, t->err);
    if (ok && archive_write_finish_entry(t->a) != ARCHIVE_OK)
        ok = export_tar_fail(t, "writing");
    if (!ok)
        return false;
    t->job->written += m->size;
    t->job->progress(t->job, m, "written");
    return true;
}

/* Without a time in gzip's header, so that the archive is reproducible. */
static bool export_tar_begin(struct export_tar *t)
{
    enum export_packing packing = t->job->place.packing;

    t->a = archive_write_new();
    archive_write_set_format_pax_restricted(t->a);
    archive_write_set_bytes_per_block(t->a, 0);
    int rc = packing == PACK_GZIP   ? archive_write_add_filter_gzip(t->a)
             : packing == PACK_ZSTD ? archive_write_add_filter_zstd(t->a)
                                    : ARCHIVE_OK;
    if (packing == PACK_GZIP)
        archive_write_set_filter_option(t->a, "gzip", "timestamp", NULL);
    return rc == ARCHIVE_OK && archive_write_open(t->a, t, NULL, export_tar_write, NULL) == ARCHIVE_OK;
}

/* In its fatal state libarchive does not write the rest of a member. Only closing frees what it has for its output,
 * archive_write_free(3) does not; what closing would write is refused. */
static void export_tar_give_up(struct export_tar *t)
{
    t->given_up = true;
    archive_write_fail(t->a);
    archive_write_close(t->a);
}

static bool export_tar_write_from(struct export_tar *t, size_t first)
{
    bool begun = export_tar_begin(t), ok = begun || export_tar_fail(t, "beginning the archive");

    for (size_t i = first; ok && i < t->job->count; i++)
        ok = export_tar_put(t, &t->job->members[i]);
    if (ok && archive_write_close(t->a) != ARCHIVE_OK)
        ok = export_tar_fail(t, "ending the archive");
    if (begun && !ok)
        export_tar_give_up(t);
    archive_write_free(t->a);
    return ok;
}

/* Makes a rename durable: fsync(2) of its folder. */
static bool sync_folder(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash ? xasprintf("%.*s", (int)MAX(slash - path, (ptrdiff_t)1), path) : xstrdup(".");
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* An unreadable folder, or a file system without fsync(2) of folders, is not an error. */
    return fd < 0 || fsync(fd) == 0 || errno == EINVAL || err_errno(err, ERR_IO, "syncing %s", folder);
}

/* Opens a new file, or our own of an interrupted export; another user's would bring its content and mode. */
static int create_or_open(const char *part, struct stat *st, struct err *err)
{
    int fd = -1;

    for (bool gone = true; gone;) { /* another export may rename it between the two calls */
        fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool exists = fd < 0 && errno == EEXIST;
        if (exists)
            fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        gone = exists && fd < 0 && errno == ENOENT;
    }
    if (fd < 0 || fstat(fd, st) != 0)
        err_errno(err, ERR_IO, "creating %s", part);
    else if (!S_ISREG(st->st_mode))
        err_set(err, ERR_IO, "%s is not a regular file", part);
    else if (st->st_uid != geteuid() || st->st_nlink > 1)
        err_set(err, ERR_DENIED, "%s belongs to another user, or has more than one link; remove it first", part);
    return fd;
}

/* Opens and locks the part file; another export may have renamed it between opening and locking. */
static int export_tar_open_part(const char *part, struct err *err)
{
    struct stat opened = {0}, named;

    for (;;) {
        int fd = create_or_open(part, &opened, err);
        bool ok = err->code == ERR_OK;
        if (ok && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            ok = err_set(err, ERR_BUSY, "another export is writing to it");
        if (ok && stat(part, &named) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino)
            return fd;
        if (fd >= 0)
            close(fd);
        if (err->code != ERR_OK)
            return -1;
    }
}

/* Finds where to resume; a compressed archive is written from its start. */
static size_t export_tar_resume(struct export_tar *t, int64_t *offset)
{
    struct export_job *job = t->job;

    *offset = 0;
    if (job->place.packing != PACK_NO)
        return 0;
    size_t first = export_tar_check_part(t, offset);
    for (size_t i = 0; i < first; i++) {
        job->kept += job->members[i].size;
        job->progress(job, &job->members[i], "there");
    }
    return first;
}

bool export_to_tar(struct export_job *job, struct err *err)
{
    struct export_tar t = {.job = job, .fd = job->place.fd, .err = err};
    _cleanup_free_ char *part = xasprintf("%s.part", job->place.path ? job->place.path : "");
    int64_t offset;

    if (job->place.kind == PLACE_STREAM)
        return export_tar_write_from(&t, 0);
    _cleanup_close_ int fd = t.fd = export_tar_open_part(part, err);
    if (fd < 0)
        return false;
    size_t first = export_tar_resume(&t, &offset);
    if (lseek(fd, offset, SEEK_SET) < 0 || ftruncate(fd, offset) != 0)
        return err_errno(err, ERR_IO, "resuming %s", part);
    if (!export_tar_write_from(&t, first))
        return false;
    /* Complete: now it gets the permissions of the file that it replaces. */
    if (!export_take_after(fd, job->place.path) || fsync(fd) != 0 || rename(part, job->place.path) != 0)
        return err_errno(err, ERR_IO, "finishing %s", job->place.path);
    return sync_folder(job->place.path, err);
}
