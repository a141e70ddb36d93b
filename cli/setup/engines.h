/* engines.h - the engines, one file each. */
#ifndef ENTREPOT_CLI_SETUP_ENGINES_H
#define ENTREPOT_CLI_SETUP_ENGINES_H

#include "cli/setup/setup.h"

extern const struct setup_engine SETUP_CONTAINERD, SETUP_DOCKER, SETUP_PODMAN, SETUP_CRIO, SETUP_K3S, SETUP_RKE2,
    SETUP_BUILDKIT;

/* The first line of a file that is ours alone. */
#define SETUP_MARK "# Written by `entrepot setup"

#endif
