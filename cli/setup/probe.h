/* probe.h - asks entrepot for a manifest as an engine does. One thread. */
#ifndef ENTREPOT_CLI_SETUP_PROBE_H
#define ENTREPOT_CLI_SETUP_PROBE_H

#include "cli/setup/setup.h"

/* HEAD of a well-known image of the first registry that has one; *answer: what entrepot answers, for people. `way`: how
 * the engine names the registry; with a proxy, it asks the registry itself, whose certificate must be one of t->ca.
 * Errors: ERR_UNREACHABLE, ERR_UPSTREAM. */
bool setup_probe(const struct setup_target *t, enum setup_way way, const char *root, char *answer, size_t cap,
                 struct err *err);

#endif
