/* The folder of the cache, for a daemon that runs as another user: a container of such a user cannot make it, nor can
 * an image without a shell. */
#include "cli/setup/place.h"
#include "cli/setup/setup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void folder_make(void *arg, const char *path)
{
    const char *root = arg;

    (void)place_make_folder(root, path, 0755, NULL); /* if that failed, the folder below it cannot be made either */
}

static bool folder_is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    bool empty = d != NULL;

    for (struct dirent *e; empty && (e = readdir(d));)
        empty = e->d_name[0] == '.' || strcmp(e->d_name, "lost+found") == 0;
    if (d)
        closedir(d);
    else if (copy >= 0)
        close(copy);
    return empty;
}

static bool folder_give(int fd, const char *path, const struct setup_owner *o, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, "%s", path);
    if (st.st_uid == o->uid)
        return true;
    if (!folder_is_empty(fd))
        return err_set(err, ERR_BUSY, "%s has files of user %u and is to be user %u's: chown -R it there, or remove it",
                       path, (unsigned)st.st_uid, (unsigned)o->uid);
    return (fchown(fd, o->uid, o->gid) == 0 && fchmod(fd, 0700) == 0) ||
           err_errno(err, ERR_IO, "giving %s to user %u", path, (unsigned)o->uid);
}

bool setup_give_folder(const char *root, const char *path, const struct setup_owner *o, struct err *err)
{
    _cleanup_free_ char *full = place_resolve(root, path, err);
    _cleanup_free_ char *below = xstrdup(root);

    if (!full || !place_absent_folders(root, path, folder_make, below, err) ||
        !place_make_folder(root, path, 0700, err))
        return false;
    _cleanup_close_ int fd = open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? folder_give(fd, full, o, err) : err_errno(err, ERR_IO, "%s", full);
}

bool setup_read_owner(const char *text, struct setup_owner *out)
{
    char *end;

    errno = 0;
    unsigned long uid = strtoul(text, &end, 10), gid = uid;
    if (text[0] < '0' || text[0] > '9' || (*end && *end != ':'))
        return false;
    if (*end) {
        const char *group = end + 1;
        gid = strtoul(group, &end, 10);
        if (group[0] < '0' || group[0] > '9' || *end)
            return false;
    }
    *out = (struct setup_owner){(uid_t)uid, (gid_t)gid};
    return errno == 0 && uid < UINT32_MAX && gid < UINT32_MAX;
}
