/* config_files.h - checks the content of the files that a configuration names, as the current user. No message contains
 * any of it. Main thread.
 */
#ifndef ENTREPOT_CLI_CONFIG_FILES_H
#define ENTREPOT_CLI_CONFIG_FILES_H

#include "base/err.h"

struct config;

/* Errors: ERR_INVALID, ERR_IO. `warn` gets what may differ for the daemon, such as a helper that is not on
 * PATH, and what does not hold it up. */
bool config_files_check(const struct config *c, void (*warn)(void *arg, const char *text), void *arg, struct err *err);

#endif
