/* Which kind of archive a path is: a folder (folder.c), a tar archive (tar.c), or a stream of one (pipe.c). */
#include "cli/archive/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a path that is not a folder: a file is read in place, a pipe by way of a temporary file. */
static bool open_file(struct archive_files *a, bool is_stdin, const struct stat *st, struct err *err)
{
    if (S_ISREG(st->st_mode) && !is_stdin)
        return true;
    int from = is_stdin ? dup(STDIN_FILENO) : open(a->path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return err_errno(err, ERR_IO, "reading %s", a->path);
    if (S_ISREG(st->st_mode))
        a->fd = from;
    else if (!archive_open_pipe(a, from, err))
        return false;
    a->opened = xasprintf("/proc/self/fd/%d", a->fd);
    return true;
}

bool archive_list(struct archive_files *a, const char *path, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    struct stat st;

    memset(a, 0, sizeof(*a));
    a->path = path;
    a->fd = a->pipe = -1;
    if (is_stdin && isatty(STDIN_FILENO))
        return err_set(err, ERR_INVALID, "stdin is a terminal, not an archive");
    if (is_stdin ? fstat(STDIN_FILENO, &st) != 0 : stat(path, &st) != 0)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "reading %s", path);
    a->is_folder = S_ISDIR(st.st_mode);
    if (a->is_folder)
        return archive_list_folder(a, err);
    if (!open_file(a, is_stdin, &st, err))
        return false;
    bool ok = archive_list_tar(a, err);
    if (ok && a->pipe >= 0)
        archive_end_pipe(a);
    return ok;
}

bool archive_read(struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    return a->is_folder ? archive_read_folder(a, v, err) : archive_read_tar(a, v, err);
}
