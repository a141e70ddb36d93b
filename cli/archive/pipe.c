/* A pipe is copied into an unnamed temporary file during the first pass, for the second one. */
#include "cli/archive/private.h"

#include "base/io.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PIECE = 1 << 20, TAIL_MAX = 4 << 20 };

static const char *temporary(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/var/tmp";
}

static int open_nameless(const char *folder, struct err *err)
{
    _cleanup_free_ char *name = xasprintf("%s/entrepot-import.XXXXXX", folder);
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd < 0)
        err_errno(err, ERR_IO, "creating a file in %s", folder);
    else
        unlink(name);
    return fd;
}

bool archive_has_space(const struct archive_files *a, int64_t bytes, struct err *err)
{
    struct statvfs fs;

    if (fstatvfs(a->fd, &fs) != 0)
        return true;
    int64_t left = (int64_t)((fs.f_bavail - MIN(fs.f_bavail, fs.f_blocks / 20)) * fs.f_frsize);
    return bytes <= left || err_set(err, ERR_NO_SPACE,
                                    "not enough free space in %s for the data of %s (%lld MiB): set TMPDIR to another "
                                    "folder, or import from "
                                    "a file",
                                    temporary(), a->path, (long long)(bytes >> 20) + 1);
}

static bool pipe_store(const struct archive_files *a, const char *piece, ssize_t n, struct err *err)
{
    if (!archive_has_space(a, n, err))
        return false;
    return io_write(a->fd, piece, (size_t)n) ||
           err_errno(err, ERR_IO, "writing the data of %s to a temporary file; TMPDIR sets its folder", a->path);
}

/* Reads a piece of the pipe and stores it; -1 with *err. */
static ssize_t pipe_take_piece(const struct archive_files *a, char *piece, struct err *err)
{
    ssize_t n = io_read(a->pipe, piece, PIECE);

    if (n < 0)
        err_errno(err, ERR_IO, "reading %s", a->path);
    return n > 0 && !pipe_store(a, piece, n, err) ? -1 : n;
}

la_ssize_t archive_read_pipe(struct archive *in, void *arg, const void **out)
{
    struct archive_files *a = arg;
    struct err why = {0};
    ssize_t n = pipe_take_piece(a, a->piece, &why);

    if (n < 0)
        archive_set_error(in, EIO, "%s", why.msg);
    *out = a->piece;
    return n;
}

void archive_end_pipe(struct archive_files *a)
{
    struct err why = {0};
    ssize_t n = 1;

    for (ssize_t all = 0; n > 0 && all < TAIL_MAX; all += n)
        n = pipe_take_piece(a, a->piece, &why);
    close(a->pipe);
    a->pipe = -1;
    free(a->piece);
    a->piece = NULL;
}

bool archive_open_pipe(struct archive_files *a, int from, struct err *err)
{
    a->fd = open_nameless(temporary(), err);
    if (a->fd < 0) {
        close(from);
        return false;
    }
    a->pipe = from;
    a->piece = xmalloc(PIECE);
    return true;
}
