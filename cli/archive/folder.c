/* An image layout, or skopeo's dir:, in a folder. Other users may be able to write to it, so only regular files beneath
 * it are opened, without following symlinks, and their type is checked after opening. */
#include "cli/archive/private.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

/* Opens a relative path component by component; -1 with errno. Does not block on a FIFO. */
static int open_beneath(const struct archive_files *a, const char *name, int flags)
{
    int at = open(a->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    while (at >= 0) {
        size_t len = strcspn(name, "/");
        bool is_last = !name[len];
        _cleanup_free_ char *step = xstrndup(name, len);
        int next = openat(at, *step ? step : ".",
                          O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (is_last ? flags : O_PATH | O_DIRECTORY)),
            why = errno;
        close(at);
        errno = why;
        if (is_last)
            return next;
        at = next;
        name += len + 1;
    }
    return -1;
}

/* Whether a path contains a symlink: open(2) fails with ELOOP for a file, with ENOTDIR for a folder. */
static bool folder_is_link(const struct archive_files *a, const char *name)
{
    _cleanup_free_ char *at = xasprintf("%s/%s", a->path, name);
    size_t root = strlen(a->path);
    struct stat st;

    while (strlen(at) > root) {
        if (lstat(at, &st) == 0 && S_ISLNK(st.st_mode))
            return true;
        *strrchr(at, '/') = '\0';
    }
    return false;
}

static bool folder_fail(const struct archive_files *a, const char *name, struct err *err)
{
    if ((errno == ELOOP || errno == ENOTDIR) && folder_is_link(a, name))
        return err_set(err, ERR_INVALID,
                       "%s/%s is a symbolic link, or in a folder that is one: import does not follow links; cp -rL "
                       "makes a copy without links",
                       a->path, name);
    return err_errno(err, ERR_IO, "reading %s/%s", a->path, name);
}

int archive_open_file(const struct archive_files *a, const char *name, struct stat *st, struct err *err)
{
    int fd = open_beneath(a, name, O_RDONLY);

    if (fd < 0 || fstat(fd, st) != 0) {
        folder_fail(a, name, err);
    } else if (!S_ISREG(st->st_mode)) {
        err_set(err, ERR_INVALID, "%s/%s is not a regular file", a->path, name);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool folder_list_file(struct archive_files *a, const char *name, struct err *err)
{
    struct stat st;
    ssize_t n = 0;
    _cleanup_close_ int fd = archive_open_file(a, name, &st, err);

    if (fd < 0)
        return false;
    struct archive_file *f = archive_add(a, name, st.st_size, err);
    if (!f)
        return false;
    struct archive_content c = {.all = a, .f = f, .may_be_text = f->size <= ARCHIVE_TEXT_MAX};
    _cleanup_free_ char *piece = xmalloc((size_t)MIN(f->size, PIECE));
    for (int64_t left = f->size; c.may_be_text && left > 0; left -= n) {
        n = io_read(fd, piece, (size_t)MIN(left, PIECE));
        if (n <= 0)
            break;
        archive_take_content(&c, piece, (size_t)n);
    }
    bool ok = n < 0 ? folder_fail(a, name, err) : archive_end_content(&c, err);
    buf_free(&c.head);
    return ok;
}

/* Whether a file belongs to the archive: blobs of a layout; of skopeo's dir:, anything but hidden files and folders. */
static bool folder_is_wanted(int folder, const char *name, bool is_blob)
{
    struct digest d;
    struct stat st;

    if (is_blob)
        return archive_blob_digest(name, &d);
    return name[0] != '.' &&
           (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(st.st_mode) || S_ISLNK(st.st_mode));
}

/* Lists the files of skopeo's dir: (folder ""), or the blobs of a layout. */
static bool folder_list(struct archive_files *a, const char *folder, struct err *err)
{
    DIR *dir = io_list(open_beneath(a, folder, O_RDONLY | O_DIRECTORY));
    struct dirent *e;
    bool ok = true;

    if (!dir && errno != ENOENT)
        return folder_fail(a, folder, err);
    while (ok && dir && (e = readdir(dir))) {
        _cleanup_free_ char *name = xasprintf("%s%s%s", folder, *folder ? "/" : "", e->d_name);
        if (folder_is_wanted(dirfd(dir), name, *folder))
            ok = folder_list_file(a, name, err);
    }
    if (dir)
        closedir(dir);
    return ok;
}

static bool folder_has(const struct archive_files *a, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", a->path, name);
    struct stat st;

    return lstat(path, &st) == 0;
}

bool archive_list_folder(struct archive_files *a, struct err *err)
{
    if (!folder_has(a, "index.json") && folder_has(a, "manifest.json"))
        return folder_list(a, "", err);
    if (!folder_has(a, "index.json"))
        return err_errno(err, errno == ENOENT ? ERR_INVALID : ERR_IO,
                         "%s is not an OCI image layout: reading %s/index.json", a->path, a->path);
    return folder_list_file(a, "index.json", err) && folder_list(a, "blobs/sha256", err) &&
           folder_list(a, "blobs/sha512", err);
}

/* Reads no more bytes than were listed. */
static bool folder_pass_on(int fd, const struct archive_files *a, const struct archive_file *f, char *piece,
                           const struct archive_visit *v, struct err *err)
{
    ssize_t n;

    for (int64_t left = f->size; left > 0; left -= n) {
        n = io_read(fd, piece, (size_t)MIN(left, PIECE));
        if (n < 0)
            return err_errno(err, ERR_IO, "reading %s/%s", a->path, f->name);
        if (n == 0) /* it has become shorter: its digest will not match */
            break;
        if (!v->data(v->arg, piece, (size_t)n, err))
            return false;
    }
    return v->end(v->arg, err);
}

bool archive_read_folder(const struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    _cleanup_free_ char *piece = xmalloc(PIECE);

    for (size_t i = 0; i < a->count; i++) {
        const struct archive_file *f = &a->list[i];
        bool wanted = false;
        struct stat st;
        if (!v->begin(v->arg, f, &wanted, err))
            return false;
        if (!wanted)
            continue;
        _cleanup_close_ int fd = archive_open_file(a, f->name, &st, err);
        if (fd < 0 || !folder_pass_on(fd, a, f, piece, v, err))
            return false;
    }
    return true;
}
