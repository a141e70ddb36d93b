#include "base/io.h"

#include <errno.h>
#include <unistd.h>

bool io_write(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, (const char *)data + at, len - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

ssize_t io_read(int fd, void *to, size_t cap)
{
    ssize_t n;

    while ((n = read(fd, to, cap)) < 0 && errno == EINTR)
        ;
    return n;
}

ssize_t io_pread(int fd, void *to, size_t cap, off_t offset)
{
    ssize_t n;

    while ((n = pread(fd, to, cap, offset)) < 0 && errno == EINTR)
        ;
    return n;
}

DIR *io_list(int fd)
{
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int why = errno;

    if (!dir && fd >= 0)
        close(fd);
    errno = why;
    return dir;
}
