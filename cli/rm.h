#ifndef ENTREPOT_CLI_RM_H
#define ENTREPOT_CLI_RM_H

#include "cli/lib/cli.h"

/* Replaces digests and IDs by the references that they stand for. */
bool rm_resolve(const struct cli_options *o, json_t *references, struct err *err);

#endif
