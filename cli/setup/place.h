/* place.h - reads and replaces files below a root, which may be another system's (`--root`).
 *
 * Symlinks are followed as that system would, and never lead out of the root. A file is replaced as a whole: whatever
 * happens, the old or the new one is there. It keeps its owner, mode and attributes. One thread.
 */
#ifndef ENTREPOT_CLI_SETUP_PLACE_H
#define ENTREPOT_CLI_SETUP_PLACE_H

#include "cli/setup/text.h"

#include "base/err.h"

#include <sys/types.h>

enum { PLACE_FILE_MAX = 4 << 20 /* bytes of a configuration file */ };

/* The path in this process's file system; the caller frees it. The last components need not exist. NULL: ERR_IO. */
char *place_resolve(const char *root, const char *path, struct err *err);
/* An absent file is no error. */
bool place_read(const char *root, const char *path, struct setup_text *out, struct err *err);
/* Writes or removes the file. The folder exists. */
bool place_write(const char *root, const char *path, const struct setup_text *text, mode_t mode, struct err *err);
/* Removes what a process that was killed while it wrote `path` has left. */
void place_sweep(const char *root, const char *path);
/* Whether a file of this name is such a rest. */
bool place_is_temporary(const char *name);
/* The folders above `path` that do not exist, outermost first: calls `each` with each path. */
bool place_absent_folders(const char *root, const char *path, void (*each)(void *arg, const char *path), void *arg,
                          struct err *err);
bool place_make_folder(const char *root, const char *path, mode_t mode, struct err *err);
/* If it is empty. */
void place_remove_folder(const char *root, const char *path);

#endif
