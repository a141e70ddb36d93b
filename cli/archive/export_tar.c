/* A tar archive that is the same for the same content: the order is given, and there are no times or owners in it. It
 * is written to NAME.part and gets its name at the end. An interrupted one is read from its start and gone on from the
 * last member whose successor had begun. */
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
};

static la_ssize_t export_tar_write(struct archive *a, void *arg, const void *data, size_t len)
{
    struct export_tar *t = arg;

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

/* ---- going on ---- */

static bool is_same_member(struct archive *in, struct archive_entry *e, const struct export_member *m)
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

/* How many members of what is there are right, and where the next one begins. */
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
        right += more; /* where the last one ends is not known for sure: once more */
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

static bool export_tar_put(struct export_tar *t, const struct export_member *m)
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

/* The same bytes for the same content: no times in gzip's head. */
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

static bool export_tar_write_from(struct export_tar *t, size_t first)
{
    bool ok = export_tar_begin(t) || export_tar_fail(t, "beginning the archive");

    for (size_t i = first; ok && i < t->job->count; i++)
        ok = export_tar_put(t, &t->job->members[i]);
    if (ok && archive_write_close(t->a) != ARCHIVE_OK)
        ok = export_tar_fail(t, "ending the archive");
    if (!ok)
        archive_write_fail(t->a);
    archive_write_free(t->a);
    return ok;
}

/* Makes room for one name to be lasting: the folder's entry. */
static bool sync_folder(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash ? xasprintf("%.*s", (int)MAX(slash - path, (ptrdiff_t)1), path) : xstrdup(".");
    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* A folder that may not be read, a file system that knows no such thing: it is as lasting as it can be. */
    return fd < 0 || fsync(fd) == 0 || errno == EINVAL || err_errno(err, ERR_IO, "syncing %s", folder);
}

/* A new one, or the one that we left when we were interrupted; nobody else's, whose content, or mode, it would have. */
static int create_or_open(const char *part, struct stat *st, struct err *err)
{
    int fd = -1;

    for (bool gone = true; gone;) { /* between the two another export may have given it its name */
        fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool exists = fd < 0 && errno == EEXIST;
        if (exists)
            fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        gone = exists && fd < 0 && errno == ENOENT;
    }
    if (fd < 0 || fstat(fd, st) != 0)
        err_errno(err, ERR_IO, "creating %s", part);
    else if (!S_ISREG(st->st_mode))
        err_set(err, ERR_IO, "%s is no regular file", part);
    else if (st->st_uid != geteuid() || st->st_nlink > 1)
        err_set(err, ERR_DENIED, "%s is not ours: it is of another user, or has another name, too; remove it first",
                part);
    return fd;
}

/* The part file, ours alone: another export may have given it its name between our opening and locking it. */
static int export_tar_open_part(const char *part, struct err *err)
{
    struct stat opened = {0}, named;

    for (;;) {
        int fd = create_or_open(part, &opened, err);
        bool ok = err->code == ERR_OK;
        if (ok && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            ok = err_set(err, ERR_BUSY, "another export to it is under way");
        if (ok && stat(part, &named) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino)
            return fd;
        if (fd >= 0)
            close(fd);
        if (err->code != ERR_OK)
            return -1;
    }
}

/* As far as an interrupted one came. What was compressed begins anew. */
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
        return err_errno(err, ERR_IO, "going on with %s", part);
    if (!export_tar_write_from(&t, first))
        return false;
    /* Others may see it now, as far as they could see what it replaces. */
    if (!export_take_after(fd, job->place.path) || fsync(fd) != 0 || rename(part, job->place.path) != 0)
        return err_errno(err, ERR_IO, "finishing %s", job->place.path);
    return sync_folder(job->place.path, err);
}
