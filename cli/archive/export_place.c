/* The destination of an export: a folder, a file that gets its name when it is complete, or a stream (a device, a pipe,
 * stdout) that is written to directly. */
#include "cli/archive/export.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

void export_place_free(struct export_place *p)
{
    if (p->kind == PLACE_STREAM && p->fd > STDERR_FILENO)
        close(p->fd);
    free(p->path);
    memset(p, 0, sizeof(*p));
}

/* The open descriptor that "-", /dev/stdout or /dev/fd/3 stands for; -1: none of these. */
static int open_already(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};

    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        size_t len = strlen(folders[i]);
        char *end;
        if (strncmp(path, folders[i], len) != 0 || !path[len])
            continue;
        long fd = strtol(path + len, &end, 10);
        return *end || fd < 0 || fd > INT_MAX ? -1 : (int)fd;
    }
    return -1;
}

static bool is_planted(const char *path, const struct stat *st)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *folder = slash ? xasprintf("%.*s", (int)MAX(slash - path, (ptrdiff_t)1), path) : xstrdup(".");
    struct stat in;

    return stat(folder, &in) == 0 && (in.st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH) &&
           st->st_uid != geteuid() && st->st_uid != in.st_uid;
}

bool export_check_owner(const char *path, struct err *err)
{
    _cleanup_free_ char *at = xstrdup(path);
    struct stat st;

    for (char *p = at + 1; *at; p++) {
        char end = *p;
        if (end && end != '/')
            continue;
        *p = '\0';
        if (lstat(at, &st) == 0 && (S_ISLNK(st.st_mode) || S_ISREG(st.st_mode)) && is_planted(at, &st))
            return err_set(err, ERR_DENIED,
                           "%s belongs to another user, in a world-writable folder: choose another name", at);
        *p = end;
        if (!end)
            break;
    }
    return true;
}

/* The mode of a new file. */
static mode_t usual_mode(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return 0644 & ~mask;
}

bool export_take_after(int fd, const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return fchmod(fd, usual_mode()) == 0;
    /* Without the right to chown(2) the file keeps its owner, and maybe its group. That group then gets no more rights
     * than others had; others get no more than the old group had, whose members are now among them. */
    mode_t mode = st.st_mode & 0777;
    if (fchown(fd, st.st_uid, st.st_gid) != 0 && fchown(fd, (uid_t)-1, st.st_gid) != 0)
        mode = (mode & S_IRWXU) | (mode & (mode >> 3) & S_IRWXO);
    return fchmod(fd, mode) == 0;
}

/* Resolves symlinks, so that their target is replaced, which need not exist. */
static char *place_follow(const char *path, struct err *err)
{
    char *at = xstrdup(path), target[PATH_MAX];

    for (size_t len = strlen(at); len > 1 && at[len - 1] == '/'; len--) /* "link/" is the link's target already */
        at[len - 1] = '\0';
    for (int i = 0; i < LINKS_MAX; i++) {
        if (!export_check_owner(at, err)) {
            free(at);
            return NULL;
        }
        ssize_t n = readlink(at, target, sizeof(target) - 1);
        if (n < 0)
            return at;
        target[n] = '\0';
        const char *slash = strrchr(at, '/');
        char *next = target[0] == '/' || !slash ? xstrdup(target) : xasprintf("%.*s/%s", (int)(slash - at), at, target);
        free(at);
        at = next;
    }
    free(at);
    errno = ELOOP;
    err_errno(err, ERR_IO, "%s", path);
    return NULL;
}

static bool ends_in(const char *path, const char *const *endings, size_t count)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < count; i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(path + len - end, endings[i]) == 0)
            return true;
    }
    return false;
}

static enum export_packing packing_of(const char *path)
{
    static const char *const gzip[] = {".gz", ".tgz"}, *const zstd[] = {".zst", ".zstd", ".tzst"};

    return ends_in(path, gzip, ARRAY_LEN(gzip))   ? PACK_GZIP
           : ends_in(path, zstd, ARRAY_LEN(zstd)) ? PACK_ZSTD
                                                  : PACK_NO;
}

static bool place_take_stream(struct export_place *p, const char *output, int fd, struct err *err)
{
    struct stat st, out;

    p->kind = PLACE_STREAM;
    p->fd = fd >= 0 ? fd : open(output, O_WRONLY | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, &st) != 0)
        return err_errno(err, ERR_IO, "opening %s", output);
    if (isatty(p->fd))
        return err_set(err, ERR_INVALID, "%s is a terminal: an archive is not written to one", output);
    p->to_stdout = fstat(STDOUT_FILENO, &out) == 0 && st.st_dev == out.st_dev && st.st_ino == out.st_ino;
    return true;
}

bool export_find_place(struct export_place *p, const char *output, struct err *err)
{
    static const char *const tar[] = {".tar"}, *const others[] = {".tar.xz", ".txz", ".tar.bz2", ".tar.lz4"};
    int fd = open_already(output);
    struct stat st;

    memset(p, 0, sizeof(*p));
    p->packing = packing_of(output);
    if (fd >= 0)
        return place_take_stream(p, output, fd, err);
    p->path = place_follow(output, err);
    if (!p->path)
        return false;
    bool exists = stat(output, &st) == 0;
    if (!exists && errno != ENOENT)
        return err_errno(err, ERR_IO, "%s", output);
    if (exists && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return place_take_stream(p, output, -1, err);
    bool is_file = exists ? S_ISREG(st.st_mode) : p->packing != PACK_NO || ends_in(output, tar, ARRAY_LEN(tar));
    if (!exists && ends_in(output, others, ARRAY_LEN(others)))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: supported compressions are .gz and .zst; for others, use -o - and a pipe", output);
    p->kind = is_file ? PLACE_FILE : PLACE_FOLDER;
    return true;
}
