#include "base/writable.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *my_name(void)
{
    const struct passwd *pw = getpwuid(geteuid());

    return pw ? pw->pw_name : "the service's user";
}

/* Our own unit has a StateDirectory= of this name (config/config.c). */
static bool is_our_unit(void)
{
    const char *state = getenv("STATE_DIRECTORY"), *base = state ? strrchr(state, '/') : NULL;

    return base && strcmp(base, "/entrepot") == 0 && getenv("INVOCATION_ID");
}

char *writable_unit_advice(const char *path, const char *user)
{
    return xasprintf("run `install -d -o %s -m 0700 %s` and `systemctl edit entrepot` with the lines "
                     "`[Service]` and `ReadWritePaths=%s`",
                     user, path, path);
}

/* The nearest existing folder, `path` itself or above it; the caller frees it. */
static char *nearest(const char *path)
{
    char *at = xstrdup(path);

    while (access(at, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES) && strchr(at, '/')) {
        char *above = writable_folder_of(at);
        free(at);
        at = above;
    }
    return at;
}

/* 0, or the errno for which the process cannot create files in `path`. *at: the folder concerned. */
static int fault(const char *path, char **at)
{
    struct statvfs fs;
    struct stat st;

    *at = nearest(path);
    if (stat(*at, &st) == 0 && !S_ISDIR(st.st_mode))
        return ENOTDIR;
    /* access(2) checks the owner first, but a read-only file system has to be fixed first. */
    if (statvfs(*at, &fs) == 0 && (fs.f_flag & ST_RDONLY))
        return EROFS;
    return access(*at, W_OK | X_OK) == 0 ? 0 : errno;
}

/* What to do, or NULL. */
static char *advice(int why, const char *path, const char *at)
{
    if (why == EROFS)
        return is_our_unit() ? writable_unit_advice(path, my_name()) : NULL;
    if (why != EACCES && why != EPERM)
        return NULL;
    if (strcmp(path, at) != 0 && access(at, X_OK) != 0) /* whatever is created there cannot be reached */
        return xasprintf("%s may not enter %s: choose another place", my_name(), at);
    if (strcmp(path, at) == 0)
        return xasprintf("make it %s's: `chown -R %s: %s`", my_name(), my_name(), path);
    return xasprintf("run `install -d -o %s -m 0700 %s`", my_name(), path);
}

static bool writable_fail(const char *path, const char *at, int why, struct err *err)
{
    _cleanup_free_ char *hint = advice(why, path, at);

    return err_set(err, ERR_IO, "%s cannot be written by %s (%s: %s)%s%s", path, my_name(), at, strerror(why),
                   hint ? "; " : "", hint ? hint : "");
}

bool writable_make_folder(const char *path, mode_t mode, struct err *err)
{
    _cleanup_free_ char *at = xstrdup(path);
    char *slash = at;
    struct stat st;

    do {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(at, slash ? 0755 : mode) != 0 && errno != EEXIST) {
            int why = errno; /* some file systems return another error for an existing folder */
            bool is_there = stat(at, &st) == 0 && S_ISDIR(st.st_mode);
            errno = why;
            if (!is_there)
                return err_errno(err, ERR_IO, "creating %s", at);
        }
        if (slash)
            *slash = '/';
    } while (slash);
    return true;
}

bool writable_check_folder(const char *path, struct err *err)
{
    _cleanup_free_ char *at = NULL;
    int why = fault(path, &at);

    return !why || writable_fail(path, at, why, err);
}

bool writable_check_content(const char *path, const char *inner, struct err *err)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    bool ok = true;

    while (dir && ok && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || e->d_type == DT_SOCK)
            continue;
        _cleanup_free_ char *full = xasprintf("%s/%s", path, e->d_name);
        if (access(full, W_OK | (e->d_type == DT_DIR ? X_OK : 0)) != 0)
            ok = writable_fail(full, full, errno, err);
        else if (inner && strcmp(e->d_name, inner) == 0)
            ok = writable_check_content(full, NULL, err);
    }
    if (dir)
        closedir(dir);
    return ok;
}

char *writable_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? xstrdup("/") : slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
}

bool writable_explain(const char *path, struct err *err)
{
    _cleanup_free_ char *at = NULL;
    int why = fault(path, &at);
    _cleanup_free_ char *hint = why ? advice(why, path, at) : NULL;

    if (hint)
        err_append(err, "; %s", hint);
    return false;
}
