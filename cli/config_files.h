/* config_files.h - whether the files that a configuration names hold what they have to, as this process's user reads
 * them. Nothing of their content is ever in a message. Main thread.
 */
#ifndef ENTREPOT_CLI_CONFIG_FILES_H
#define ENTREPOT_CLI_CONFIG_FILES_H

#include "base/err.h"

struct config;

/* Errors: ERR_INVALID, ERR_IO. `warn` is told of what may be otherwise for the daemon: a helper that is not on PATH. */
bool config_files_check(const struct config *c, void (*warn)(void *arg, const char *text), void *arg, struct err *err);

#endif
