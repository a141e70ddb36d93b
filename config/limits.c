/* Whether cache.max_size and cache.min_free can be met on this file system. */
#include "config/config.h"

#include "base/size.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static int64_t in_bytes(const struct amount *a, int64_t total)
{
    return a->bytes >= 0 ? a->bytes : (int64_t)((double)total / 100 * a->percent);
}

/* What the files of a folder hold. */
static int64_t sizes_in(const char *path, const char *folder)
{
    _cleanup_free_ char *full = xasprintf("%s/%s", path, folder);
    DIR *dir = opendir(full);
    struct dirent *e;
    struct stat st;
    int64_t sum = 0;

    while (dir && (e = readdir(dir)))
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            sum += st.st_size;
    if (dir)
        closedir(dir);
    return sum;
}

bool config_look_at_disk(const char *path, struct config_disk *disk)
{
    _cleanup_free_ char *folder = xstrdup(path);
    struct statvfs v;
    char *slash;

    while (statvfs(folder, &v) != 0) { /* it may have to be made */
        slash = strrchr(folder, '/');
        if (!slash)
            return false;
        slash[slash == folder && slash[1] ? 1 : 0] = '\0';
        if (!*folder)
            return false;
    }
    *disk = (struct config_disk){(int64_t)v.f_blocks * (int64_t)v.f_frsize, (int64_t)v.f_bavail * (int64_t)v.f_frsize,
                                 sizes_in(path, "blobs/sha256") + sizes_in(path, "blobs/sha512")};
    return true;
}

static const char *shown(const struct amount *a, char out[SIZE_TEXT])
{
    if (a->bytes >= 0)
        return size_text(a->bytes, out);
    snprintf(out, SIZE_TEXT, "%.10g%%", a->percent);
    return out;
}

void config_check_limits(const struct config *c, const struct config_disk *d, void (*warn)(void *arg, const char *text),
                         void *arg)
{
    char size[SIZE_TEXT], least[SIZE_TEXT], total[SIZE_TEXT], available[SIZE_TEXT], used[SIZE_TEXT], most[SIZE_TEXT];
    int64_t max = in_bytes(&c->max_size, d->total), min = in_bytes(&c->min_free, d->total),
            room = d->available + d->used - min;
    _cleanup_free_ char *text = NULL;

    shown(&c->max_size, size);
    shown(&c->min_free, least);
    size_text(d->total, total);
    size_text(d->available, available);
    size_text(d->used, used);
    size_text(room, most);
    if (room <= 0)
        text =
            xasprintf("cache.min_free: %s cannot be kept: of %s, %s are free, and the cache uses %s; blobs are evicted "
                      "soon after they arrive, until there is more room or min_free is less",
                      least, total, available, used);
    else if (max > d->total)
        text = xasprintf("cache.max_size: %s can never be reached: the file system of %s has %s; the cache holds what "
                         "min_free (%s) leaves of it, %s as it is now",
                         size, c->cache_path, total, least, most);
    else if (max > d->total - min)
        text = xasprintf(
            "cache.max_size: %s can never be reached: min_free (%s) leaves less of the %s that the file system "
            "of %s has, %s as it is now",
            size, least, total, c->cache_path, most);
    else if (c->max_size.bytes >= 0 && max > room)
        text = xasprintf(
            "cache.max_size: %s cannot be reached as it is now: %s are free and the cache uses %s; min_free (%s) "
            "leaves it %s",
            size, available, used, least, most);
    if (text)
        warn(arg, text);
}
