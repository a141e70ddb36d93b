/* look.h - whether an engine is led to entrepot, from its files alone. One thread. */
#ifndef ENTREPOT_CLI_SETUP_LOOK_H
#define ENTREPOT_CLI_SETUP_LOOK_H

#include "cli/setup/setup.h"

enum setup_state {
    SETUP_WHOLE,     /* all registries are led to entrepot */
    SETUP_PARTLY,    /* some are: what others have written was left as it is */
    SETUP_OTHERWISE, /* a setup with other options, which nobody has changed since */
    SETUP_EDITED,    /* a setup, whose lines a hand has changed or removed since */
    SETUP_ABSENT,
    SETUP_UNKNOWN, /* the files cannot be read, or are not understood */
};

/* As a mirror, or as a proxy if the target has one. *why: of all but SETUP_WHOLE. */
enum setup_state setup_look(const struct setup_engine *e, const struct setup_target *t, const char *root,
                            struct err *why);

#endif
