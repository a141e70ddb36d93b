#include "cli/setup/place.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { LINKS_MAX = 40 };

/* No engine reads a file of this name: it ends neither in .toml nor in .conf. */
static const char TEMPORARY[] = ".entrepot-setup";

/* Appends the next component of *rest to `out` (both without the root); *rest moves on, or to a symlink's target. */
static bool resolve_next(const char *root, struct buf *out, char **rest, int *links)
{
    char target[PATH_MAX];
    size_t skip = strspn(*rest, "/"), len = strcspn(*rest + skip, "/"), was = out->len;
    _cleanup_free_ char *name = xstrndup(*rest + skip, len), *after = xstrdup(*rest + skip + len);

    if (strcmp(name, "..") == 0) {
        while (out->len > 0 && out->data[--out->len] != '/') {
        }
        if (out->len > 0 || out->data)
            out->data[out->len] = '\0';
    } else if (name[0] && strcmp(name, ".") != 0) {
        buf_addf(out, "/%s", name);
        _cleanup_free_ char *full = xasprintf("%s%s", root, out->data);
        ssize_t n = readlink(full, target, sizeof(target) - 1);
        if (n >= 0) {
            target[n] = '\0';
            if (++*links > LINKS_MAX) {
                errno = ELOOP;
                return false;
            }
            out->len = target[0] == '/' ? 0 : was;
            out->data[out->len] = '\0';
            free(*rest);
            *rest = xasprintf("%s%s", target, after);
            return true;
        }
    }
    memmove(*rest, after, strlen(after) + 1);
    return true;
}

char *place_resolve(const char *root, const char *path, struct err *err)
{
    _cleanup_buf_ struct buf out = {0};
    char *rest = xstrdup(path);
    int links = 0;
    bool ok = true;

    buf_adds(&out, "");
    while (ok && rest[strspn(rest, "/")])
        ok = resolve_next(root, &out, &rest, &links);
    free(rest);
    if (!ok) {
        err_errno(err, ERR_IO, "%s", path);
        return NULL;
    }
    return xasprintf("%s%s", root, out.len > 0 ? out.data : "/");
}

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        char *to = buf_reserve(out, 65536);
        ssize_t n = io_read(fd, to, 65536);
        *(to + MAX(n, 0)) = '\0'; /* as any text has at its end */
        if (n <= 0 || out->len > PLACE_FILE_MAX)
            return n == 0;
        out->len += (size_t)n;
    }
}

bool place_read(const char *root, const char *path, struct setup_text *out, struct err *err)
{
    _cleanup_free_ char *full = place_resolve(root, path, err);
    struct stat st;

    setup_text_free(out);
    if (!full)
        return false;
    _cleanup_close_ int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || err_errno(err, ERR_IO, "reading %s", full);
    if (fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, "reading %s", full);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_IO, "%s is not a regular file", full);
    if (st.st_size > PLACE_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is too large for a configuration file", full);
    out->exists = true;
    return read_all(fd, &out->bytes) || err_errno(err, ERR_IO, "reading %s", full);
}

static char *temporary_of(const char *full)
{
    const char *slash = strrchr(full, '/');

    return xasprintf("%.*s/.%s%s", (int)(slash - full), full, slash + 1, TEMPORARY);
}

bool place_is_temporary(const char *name)
{
    size_t len = strlen(name), end = sizeof(TEMPORARY) - 1;

    return len > end && strcmp(name + len - end, TEMPORARY) == 0;
}

void place_sweep(const char *root, const char *path)
{
    _cleanup_free_ char *full = place_resolve(root, path, NULL);
    _cleanup_free_ char *temporary = full ? temporary_of(full) : NULL;

    if (temporary)
        unlink(temporary);
}

/* Extended attributes: an SELinux label, an ACL. A file system that has none is not asked for any. */
static void copy_attributes(int from, int to)
{
    char names[4096], value[65536];
    ssize_t len = flistxattr(from, names, sizeof(names));

    for (char *n = names; len > 0 && n < names + len; n += strlen(n) + 1) {
        ssize_t size = fgetxattr(from, n, value, sizeof(value));
        if (size >= 0)
            fsetxattr(to, n, value, (size_t)size, 0);
    }
}

/* The new file is what the old one was, but for its content. */
static bool take_after(int fd, const char *full, mode_t mode)
{
    _cleanup_close_ int old = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (old < 0)
        return errno == ENOENT && fchmod(fd, mode) == 0;
    if (fstat(old, &st) != 0 || fchown(fd, st.st_uid, st.st_gid) != 0)
        return false;
    copy_attributes(old, fd);
    return fchmod(fd, st.st_mode & 07777) == 0;
}

static bool sync_folder_of(const char *full)
{
    _cleanup_free_ char *folder = xstrndup(full, (size_t)(strrchr(full, '/') - full));
    _cleanup_close_ int fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0;
}

static bool place_replace(const char *full, const struct buf *bytes, mode_t mode, struct err *err)
{
    _cleanup_free_ char *temporary = temporary_of(full);

    unlink(temporary); /* of a process that was killed: there is one writer (journal.h) */
    _cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, ERR_IO, "writing %s", full);
    if (!io_write(fd, bytes->len ? bytes->data : "", bytes->len) || !take_after(fd, full, mode) || fsync(fd) != 0 ||
        rename(temporary, full) != 0) {
        err_errno(err, ERR_IO, "writing %s", full);
        unlink(temporary);
        return false;
    }
    return sync_folder_of(full) || err_errno(err, ERR_IO, "syncing the folder of %s", full);
}

bool place_write(const char *root, const char *path, const struct setup_text *text, mode_t mode, struct err *err)
{
    _cleanup_free_ char *full = place_resolve(root, path, err);

    if (!full)
        return false;
    if (text->exists)
        return place_replace(full, &text->bytes, mode, err);
    if (unlink(full) != 0)
        return errno == ENOENT || err_errno(err, ERR_IO, "removing %s", full);
    return sync_folder_of(full) || err_errno(err, ERR_IO, "syncing the folder of %s", full);
}

bool place_absent_folders(const char *root, const char *path, void (*each)(void *arg, const char *path), void *arg,
                          struct err *err)
{
    for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        _cleanup_free_ char *folder = xstrndup(path, (size_t)(p - path));
        _cleanup_free_ char *full = place_resolve(root, folder, err);
        struct stat st;
        if (!full)
            return false;
        if (stat(full, &st) == 0) {
            if (!S_ISDIR(st.st_mode))
                return err_set(err, ERR_IO, "%s is not a folder", full);
            continue;
        }
        if (errno != ENOENT)
            return err_errno(err, ERR_IO, "%s", full);
        each(arg, folder);
    }
    return true;
}

bool place_make_folder(const char *root, const char *path, mode_t mode, struct err *err)
{
    _cleanup_free_ char *full = place_resolve(root, path, err);

    if (!full)
        return false;
    if (mkdir(full, mode) == 0) /* engines of other users read it, too */
        return (chmod(full, mode) == 0 && sync_folder_of(full)) ||
               err_errno(err, ERR_IO, "syncing the folder of %s", full);
    return errno == EEXIST || err_errno(err, ERR_IO, "making the folder %s", full);
}

void place_remove_folder(const char *root, const char *path)
{
    _cleanup_free_ char *full = place_resolve(root, path, NULL);

    if (full)
        (void)rmdir(full);
}
