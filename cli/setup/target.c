#include "cli/setup/setup.h"

#include "base/array.h"
#include "config/config.h"

#include <string.h>

bool setup_target_has(const struct setup_target *t, const char *registry)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->registries[i], registry) == 0)
            return true;
    return false;
}

void setup_target_add(struct setup_target *t, const char *registry)
{
    if (setup_target_has(t, registry))
        return;
    *ARRAY_NEXT(t->registries, t->count, t->cap) = xstrdup(registry);
    t->count++;
}

void setup_target_add_all(struct setup_target *t, const struct config *c)
{
    t->any = true;
    for (int i = 0; i < c->upstream_count; i++)
        if (!strchr(c->upstreams[i].name, '*'))
            setup_target_add(t, c->upstreams[i].name);
}

void setup_target_add_opened(struct setup_target *t, const struct config *c)
{
    char **hosts = config_intercept_hosts(c);

    for (char **h = hosts; *h; h++)
        if (!strchr(*h, '*'))
            setup_target_add(t, *h);
    config_free_hosts(hosts);
}

void setup_target_clear(struct setup_target *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->registries[i]);
    free(t->registries);
}

/* An engine reaches a listener of all addresses at loopback. */
char *setup_address_of(const char *listen)
{
    if (strncmp(listen, "unix:", 5) == 0)
        return NULL;
    const char *colon = strrchr(listen, ':');
    if (colon && (strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0 || colon == listen))
        return xasprintf("127.0.0.1%s", colon);
    return xstrdup(listen);
}

char *setup_address(const struct config *c)
{
    char *address = NULL;

    for (int i = 0; !address && c->listen[i]; i++)
        if (!c->listen_upstream[i] && !c->listen_tls[i].cert && !c->listen_intercept[i])
            address = setup_address_of(c->listen[i]);
    return address;
}
