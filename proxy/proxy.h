/* proxy.h - the parts of a running daemon, for the files of this room.
 *
 * Made by server.c on the main thread before the loops start; set once, so that every thread may read it.
 */
#ifndef ENTREPOT_PROXY_PROXY_H
#define ENTREPOT_PROXY_PROXY_H

#include "proxy/admin/admin.h"
#include "proxy/http/listen.h"
#include "proxy/metrics.h"
#include "proxy/pull/pull.h"
#include "proxy/registry/registry.h"

enum { WORKERS_MAX = 8, LISTENERS_MAX = CONFIG_LISTEN_MAX + 2 };

/* One serve loop. */
struct worker {
    struct proxy *proxy;
    struct loop *loop;
    struct http_server *http;
    struct metrics *metrics;
};

struct proxy {
    const struct config *config;
    struct cache *cache;
    struct pool *pool;       /* io workers */
    struct pool *read_pool;  /* what clients wait for from the disk */
    struct pool *admin_pool; /* for the admin API */
    struct pool *long_pool;  /* for what takes long there */
    struct cred_workers *cred_workers;
    struct sites *sites;
    struct metrics_gone *gone;
    struct grants *grants;
    struct login *login;
    struct fetchers *fetchers;
    struct gc *gc;
    struct worker workers[WORKERS_MAX];
    int worker_count;
    struct listener *listeners[LISTENERS_MAX];
    int listener_count;
    const struct listener *metrics_listener; /* NULL: metrics are on every listener */
    const struct listener *admin_listener;
    struct http_bounds *bounds, *admin_bounds, *metrics_bounds;
    int64_t started_s;
    atomic_bool ready;
    /* what the rooms below get of all this */
    struct registry registry;
    struct admin admin;
};

#endif
