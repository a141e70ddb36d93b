#include "cli/setup/setup.h"

#include <string.h>

bool setup_target_has(const struct setup_target *t, const char *registry)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->registries[i], registry) == 0)
            return true;
    return false;
}

const char *setup_server_of(const char *registry)
{
    return strcmp(registry, "docker.io") == 0 ? "registry-1.docker.io" : registry;
}
