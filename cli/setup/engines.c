#include "cli/setup/engines.h"

#include "cli/setup/place.h"

#include <string.h>
#include <unistd.h>

const struct setup_engine *const SETUP_ENGINES[] = {
    &SETUP_CONTAINERD, &SETUP_DOCKER, &SETUP_PODMAN, &SETUP_CRIO, &SETUP_K3S, &SETUP_RKE2, &SETUP_BUILDKIT,
};
const size_t SETUP_ENGINES_COUNT = ARRAY_LEN(SETUP_ENGINES);

const struct setup_engine *setup_engine_find(const char *name)
{
    for (size_t i = 0; i < SETUP_ENGINES_COUNT; i++)
        if (strcmp(SETUP_ENGINES[i]->name, name) == 0)
            return SETUP_ENGINES[i];
    return NULL;
}

bool setup_engine_is_here(const struct setup_engine *e, const char *root)
{
    static const char *const folders[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin",
                                          "/sbin",    "/opt/bin",  "/opt/rke2/bin",  "/snap/bin"};

    for (const char *const *p = e->programs; *p; p++)
        for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
            _cleanup_free_ char *path = xasprintf("%s/%s", folders[i], *p);
            _cleanup_free_ char *full = place_resolve(root, path, NULL);
            if (full && access(full, F_OK) == 0)
                return true;
        }
    return false;
}
