/* io.h - reads and writes that survive signals (EINTR) and short counts.
 *
 * For files and pipes that block; sockets and pipes of a loop are handled elsewhere. All leave errno. Any thread.
 */
#ifndef ENTREPOT_BASE_IO_H
#define ENTREPOT_BASE_IO_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

/* Writes all of it; false: only a part could be written. */
bool io_write(int fd, const void *data, size_t len);
/* One read, as read(2) and pread(2). */
ssize_t io_read(int fd, void *to, size_t cap);
ssize_t io_pread(int fd, void *to, size_t cap, off_t offset);
/* A stream over a folder, which takes over the descriptor; NULL: it was closed, or was invalid (-1). */
DIR *io_list(int fd);

#endif
