/* Clients' own requests to a registry. Nothing is learned from their answers but what was received: they say more about
 * the client than about the registry. */
#include "upstream/registry_private.h"

#include "base/url.h"

#include <string.h>

/* An endpoint at this host, or, for the registry's name, the last one, which speaks for the registry. NULL: none; it is
 * at its own name. An endpoint with a path of its own has other names for its repositories. */
static const struct endpoint *endpoint_at(const struct upstream *u, const char *host)
{
    const struct endpoint *last = &u->endpoints[u->endpoint_count - 1];
    char own[256];

    for (int i = u->endpoint_count - 1; i >= 0; i--)
        if (url_host(u->endpoints[i].url, own, sizeof(own)) && strcasecmp(own, host) == 0)
            return &u->endpoints[i];
    size_t len = strcspn(u->name, ":");
    bool is_name = strlen(host) == len && strncmp(u->name, host, len) == 0;
    return is_name && !last->url[url_origin_len(last->url)] ? last : NULL;
}

char *upstream_pass_origin(const struct upstream *u, const char *host)
{
    const struct endpoint *e = endpoint_at(u, host);

    return e ? xasprintf("%.*s", (int)url_origin_len(e->url), e->url) : xasprintf("https://%s", host);
}

static void leave_slots(struct upstream_slots *s)
{
    atomic_fetch_sub(&s->used, 1);
    atomic_fetch_sub(&s->passing, 1);
}

/* An upload lasts as long as its client likes: of all slots pulls always have half. */
bool upstream_pass_begin(struct upstream *u)
{
    struct upstream_slots *s = u->slots;
    int most = s ? atomic_load(&s->most) : 0;
    bool full = s && atomic_fetch_add(&s->passing, 1) >= MAX(most / 2, 1);

    full = (s && atomic_fetch_add(&s->used, 1) >= most) || full;
    if (most > 0 && full) {
        leave_slots(s);
        atomic_fetch_add(&u->turned_away, 1);
        return false;
    }
    atomic_fetch_add(&u->users, 1);
    atomic_fetch_add(&u->connections, 1);
    return true;
}

struct transfer *upstream_pass_start(struct upstream *u, struct transfer_engine *engine,
                                     const struct upstream_pass *pass)
{
    _cleanup_free_ char *origin = upstream_pass_origin(u, pass->host);
    _cleanup_free_ char *url = xasprintf("%s%s", origin, pass->target);

    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    return transfer_start(engine, &(struct transfer_request){.method = pass->method,
                                                             .url = url,
                                                             .headers = pass->headers,
                                                             .verbatim = &pass->body,
                                                             .range_first = -1,
                                                             .trust = &u->trust,
                                                             .isolated = pass->isolated,
                                                             .insecure = u->insecure,
                                                             .named = (const char *const *)u->named,
                                                             .connect_timeout_ms = u->connect_timeout_ms,
                                                             .users = &u->users,
                                                             .on_head = pass->on_head,
                                                             .on_data = pass->on_data,
                                                             .on_done = pass->on_done,
                                                             .arg = pass->arg});
}

void upstream_pass_end(struct upstream *u, int64_t received)
{
    atomic_fetch_add_explicit(&u->received, (uint_fast64_t)received, memory_order_relaxed);
    if (u->slots)
        leave_slots(u->slots);
    atomic_fetch_sub(&u->connections, 1);
    atomic_fetch_sub(&u->users, 1); /* the last look at it */
}
