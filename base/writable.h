/* writable.h - whether this process can write to the configured folders, and what to do if not.
 *
 * The answers are for the calling process: its user, and the file systems as it sees them (systemd shows a service most
 * of them read-only). The checks change nothing. Any thread.
 */
#ifndef ENTREPOT_BASE_WRITABLE_H
#define ENTREPOT_BASE_WRITABLE_H

#include "base/err.h"

#include <sys/types.h>

/* A folder that is created if absent: it, or the nearest existing folder above it, is writable. Errors: ERR_IO, with
 * the cause and what to do. */
bool writable_check_folder(const char *path, struct err *err);
/* So is its content, including the files of its subfolder `inner`: a run as another user leaves files of that user
 * behind. */
bool writable_check_content(const char *path, const char *inner, struct err *err);
/* Creates the folder with this mode, and absent ones above it with 0755. An existing one is left as it is. Errors:
 * ERR_IO, ERR_NO_SPACE. */
bool writable_make_folder(const char *path, mode_t mode, struct err *err);
/* The folder of a file or a socket; the caller frees it. */
char *writable_folder_of(const char *path);
/* Using the folder `path` has failed with *err: appends what to do, if the cause is that it is not writable. Always
 * false. */
bool writable_explain(const char *path, struct err *err);
/* What to do so that the unit entrepot.service, whose user is `user`, can write to `path`. The caller frees it. */
char *writable_unit_advice(const char *path, const char *user);

#endif
