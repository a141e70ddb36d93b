/* hosts.h - containerd's folders of registries. One thread. */
#ifndef ENTREPOT_CLI_SETUP_HOSTS_H
#define ENTREPOT_CLI_SETUP_HOSTS_H

#include "cli/setup/setup.h"

/* Says in the view that `folder` (config_path) should lead the registries to entrepot. */
bool hosts_plan(struct setup_view *v, const char *folder, const struct setup_target *t, struct err *err);

#endif
