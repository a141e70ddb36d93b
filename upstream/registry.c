#include "upstream/registry_private.h"

#include "base/log.h"

#include <string.h>

const char *const METHODS[METHOD_COUNT] = {"GET", "HEAD"};

struct upstream *upstream_new(const struct upstream_options *o)
{
    static const struct cred_options nobody;
    struct upstream *u = xcalloc(1, sizeof(*u));
    struct token_options t = {.ca_file = o->ca_file,
                              .insecure = o->insecure,
                              .connect_timeout_ms = o->connect_timeout_ms,
                              .stall_timeout_ms = o->stall_timeout_ms};

    u->name = xstrdup(o->name);
    u->ca_file = o->ca_file ? xstrdup(o->ca_file) : NULL;
    for (int i = 0; i < NAMED_MAX && o->named && o->named[i]; i++)
        u->named[i] = xstrdup(o->named[i]);
    t.named = (const char *const *)u->named;
    u->insecure = o->insecure;
    u->connect_timeout_ms = o->connect_timeout_ms;
    u->stall_timeout_ms = o->stall_timeout_ms;
    for (; o->endpoints[u->endpoint_count] && u->endpoint_count < ENDPOINTS_MAX; u->endpoint_count++) {
        char *url = u->endpoints[u->endpoint_count].url = xstrdup(o->endpoints[u->endpoint_count]);
        while (*url && url[strlen(url) - 1] == '/')
            url[strlen(url) - 1] = '\0';
    }
    u->cred = cred_new(o->credentials ? o->credentials : &nobody, o->name, o->workers);
    u->tokens = tokens_new(&t);
    pthread_mutex_init(&u->lock, NULL);
    atomic_init(&u->up, true);
    atomic_init(&u->ratelimit_remaining, -1);
    return u;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    tokens_free(u->tokens);
    cred_free(u->cred);
    for (int i = 0; i < u->endpoint_count; i++)
        free(u->endpoints[i].url);
    for (int i = 0; i < NAMED_MAX; i++)
        free(u->named[i]);
    free(u->ca_file);
    free(u->name);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

const char *upstream_name(const struct upstream *u)
{
    return u->name;
}

void upstream_get_stats(struct upstream *u, struct upstream_stats *out)
{
    out->up = atomic_load(&u->up);
    out->ratelimit_remaining = atomic_load(&u->ratelimit_remaining);
    out->received_bytes = atomic_load(&u->received);
    out->requests = atomic_load(&u->requests);
}

void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg)
{
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++) {
            uint64_t n = atomic_load_explicit(&u->codes[m][code], memory_order_relaxed);
            if (n > 0)
                fn(arg, METHODS[m], code, n);
        }
}
