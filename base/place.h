/* place.h - can this process write where it has been told to, and what to do if it cannot.
 *
 * The answers are about the calling process: its user, and the file systems as it sees them (systemd shows a service
 * most of them read-only). The checks make and change nothing. Any thread.
 */
#ifndef ENTREPOT_BASE_PLACE_H
#define ENTREPOT_BASE_PLACE_H

#include "base/err.h"

#include <sys/types.h>

/* A folder that is made if it is absent: it, or the nearest folder above it that exists, can be written. Errors:
 * ERR_IO, with what is in the way and what to do. */
bool place_check_folder(const char *path, struct err *err);
/* So can what is in it already, down to the files of its subfolder `inner`: a run as another user leaves files of that
 * user behind. */
bool place_check_content(const char *path, const char *inner, struct err *err);
/* Makes the folder, with this mode, and those above it that are absent, with 0755. One that is there stays as it is.
 * Errors: ERR_IO, ERR_NO_SPACE. */
bool place_make_folder(const char *path, mode_t mode, struct err *err);
/* The folder of a file or a socket; the caller frees it. */
char *place_folder_of(const char *path);
/* Using the folder `path` has failed with *err: adds what to do, if it is because it cannot be written. Always false.
 */
bool place_explain(const char *path, struct err *err);
/* What to do so that the unit entrepot.service, whose user is `user`, can write to `path`. The caller frees it. */
char *place_unit_advice(const char *path, const char *user);

#endif
