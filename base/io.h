/* io.h - file descriptors where a signal may come in between (EINTR), or fewer bytes be taken than there are.
 *
 * For files and pipes that block; sockets and pipes of a loop have their own ways. All leave errno. Any thread.
 */
#ifndef ENTREPOT_BASE_IO_H
#define ENTREPOT_BASE_IO_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

/* All of it; false: as much as was possible. */
bool io_write(int fd, const void *data, size_t len);
/* Once, as read(2) and pread(2). */
ssize_t io_read(int fd, void *to, size_t room);
ssize_t io_pread(int fd, void *to, size_t room, off_t offset);
/* A stream over a folder, which the descriptor becomes a part of; NULL: it has been closed, or was none (-1). */
DIR *io_list(int fd);

#endif
