/* An image layout, or what skopeo writes as dir:, in a folder. */
#include "cli/archive_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

static bool list_file(struct archive_files *a, const char *name, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", a->path, name), *piece = xmalloc(PIECE);
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, "reading %s", path);
    if (!S_ISREG(st.st_mode))
        return true;
    struct archive_file *f = archive_add(a, name, st.st_size, err);
    if (!f)
        return false;
    struct archive_content c = {.all = a, .f = f, .may_be_text = f->size <= ARCHIVE_TEXT_MAX};
    ssize_t n;
    while (c.may_be_text && (n = read(fd, piece, PIECE)) > 0)
        archive_take_content(&c, piece, (size_t)n);
    bool ok = archive_end_content(&c, err);
    buf_free(&c.head);
    return ok;
}

/* Of "" all files, of a folder of blobs those that are called by their digest. */
static bool list_folder(struct archive_files *a, const char *folder, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", a->path, folder);
    DIR *dir = opendir(path);
    struct dirent *e;
    bool ok = true;

    while (ok && dir && (e = readdir(dir))) {
        _cleanup_free_ char *name = xasprintf("%s%s%s", folder, *folder ? "/" : "", e->d_name);
        struct digest d;
        if (*folder ? archive_blob_digest(name, &d) : e->d_name[0] != '.')
            ok = list_file(a, name, err);
    }
    if (dir)
        closedir(dir);
    return ok;
}

bool archive_list_folder(struct archive_files *a, struct err *err)
{
    _cleanup_free_ char *index = xasprintf("%s/index.json", a->path),
                        *manifest = xasprintf("%s/manifest.json", a->path);

    if (access(index, F_OK) != 0 && access(manifest, F_OK) == 0)
        return list_folder(a, "", err);
    if (access(index, R_OK) != 0)
        return err_errno(err, errno == ENOENT ? ERR_INVALID : ERR_IO, "%s is no OCI image layout: reading %s", a->path,
                         index);
    return list_file(a, "index.json", err) && list_folder(a, "blobs/sha256", err) &&
           list_folder(a, "blobs/sha512", err);
}

bool archive_read_folder(const struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    _cleanup_free_ char *piece = xmalloc(PIECE);

    for (size_t i = 0; i < a->count; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", a->path, a->list[i].name);
        bool wanted = false;
        ssize_t n = 0;
        if (!v->begin(v->arg, &a->list[i], &wanted, err))
            return false;
        if (!wanted)
            continue;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        while (fd >= 0 && (n = read(fd, piece, PIECE)) > 0)
            if (!v->data(v->arg, piece, (size_t)n, err))
                return false;
        if (fd < 0 || n < 0)
            return err_errno(err, ERR_IO, "reading %s", path);
        if (!v->end(v->arg, err))
            return false;
    }
    return true;
}
