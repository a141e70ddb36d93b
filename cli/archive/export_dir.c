/* An OCI image layout in a folder. Blobs share their storage with the cache if possible: by reflink, else by hard link;
 * otherwise they are copied. */
#include "cli/archive/export.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".entrepot.part"

static bool make_folders(const char *path, struct err *err)
{
    _cleanup_free_ char *copy = xstrdup(path);

    if (!export_check_owner(path, err))
        return false;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            return err_errno(err, ERR_IO, "creating %s", copy);
        *p = '/';
    }
    return true;
}

static bool dir_has_blob(const char *path, const struct export_entry *m)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == m->size && export_is_blob(fd, m);
}

static bool dir_take_data(void *arg, const void *data, size_t len, struct err *err)
{
    return export_write(*(int *)arg, data, len, err);
}

/* Creates an empty file; an existing one may be a hard link into the cache and is never written to. */
static int dir_create(const char *part, struct err *err)
{
    unlink(part);
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        err_errno(err, ERR_IO, "creating %s", part);
    return fd;
}

static bool dir_seal(int fd, const char *part, struct err *err)
{
    return (fchmod(fd, 0444) == 0 && fsync(fd) == 0) || err_errno(err, ERR_IO, "syncing %s", part);
}

static bool dir_can_link(const struct export_job *job, const struct export_entry *m, const char *part)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *cached =
        xasprintf("%s/blobs/%s/%s", job->cache, digest_alg_name(&m->digest), digest_hex(&m->digest, hex));

    unlink(part);
    return link(cached, part) == 0 && dir_has_blob(part, m);
}

/* Clones, links or copies a blob to `part`, and returns which. NULL: failed. */
static const char *dir_fill(struct export_job *job, const struct export_entry *m, const char *part, struct err *err)
{
    _cleanup_close_ int from = export_open_blob(job, m);

    if (from >= 0) {
        _cleanup_close_ int clone = dir_create(part, err);
        if (clone < 0)
            return NULL;
        if (ioctl(clone, FICLONE, from) == 0 && export_is_blob(clone, m))
            return dir_seal(clone, part, err) ? "cloned" : NULL;
        if (dir_can_link(job, m, part))
            return "linked";
    }
    _cleanup_close_ int copy = dir_create(part, err);
    return copy >= 0 && export_read_blob(job, m, dir_take_data, &copy, err) && dir_seal(copy, part, err) ? "copied"
                                                                                                         : NULL;
}

static bool dir_put_blob(struct export_job *job, const struct export_entry *m, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", job->place.path, m->name),
                        *part = xasprintf("%s/" PART, job->place.path);

    if (!make_folders(path, err))
        return false;
    if (dir_has_blob(path, m)) {
        job->kept += m->size;
        job->progress(job, m, "there");
        return true;
    }
    const char *how = dir_fill(job, m, part, err);
    if (how && rename(part, path) != 0) {
        err_errno(err, ERR_IO, "renaming %s", path);
        how = NULL;
    }
    if (!how) {
        unlink(part);
        return false;
    }
    job->written += m->size;
    job->progress(job, m, how);
    return true;
}

static bool dir_put_text(struct export_job *job, const char *name, const char *text, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", job->place.path, name),
                        *part = xasprintf("%s/" PART, job->place.path);

    _cleanup_close_ int fd = make_folders(path, err) ? dir_create(part, err) : -1;
    if (fd < 0)
        return false;
    if (export_write(fd, text, strlen(text), err) && export_take_after(fd, path) && fsync(fd) == 0 &&
        rename(part, path) == 0)
        return true;
    if (err->code == ERR_OK)
        err_errno(err, ERR_IO, "writing %s", path);
    unlink(part);
    return false;
}

static bool dir_put_member(struct export_job *job, const struct export_entry *m, struct err *err)
{
    bool is_list = strcmp(m->name, "index.json") == 0 || strcmp(m->name, "manifest.json") == 0;
    _cleanup_free_ char *merged = m->text && is_list ? export_merge(job, m->name, m->text) : NULL;

    return m->text ? dir_put_text(job, m->name, merged ? merged : m->text, err) : dir_put_blob(job, m, err);
}

bool export_to_dir(struct export_job *job, struct err *err)
{
    _cleanup_free_ char *inside = xasprintf("%s/", job->place.path);

    if (!make_folders(inside, err))
        return false;
    _cleanup_close_ int lock = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return err_errno(err, ERR_IO, "opening %s", inside);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "another export is writing to it");
    for (size_t i = 0; i < job->count; i++)
        if (!dir_put_member(job, &job->members[i], err))
            return false;
    return true;
}
