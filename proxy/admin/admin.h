/* admin.h - the admin API: HTTP and JSON on a unix socket (mode 0660).
 *
 * A request becomes a job (job.h) for a worker of the admin pool, since it may read many manifests or wait for a
 * collection; what may take long has a pool of its own, so that it keeps nothing else waiting. The answer goes back to
 * the loop of the connection. A page that lists images waits a moment first: what clients have just been served is not
 * in the index yet (ingests_ended()).
 *
 *     job.c ◀ stream.c, room.c, pulls.c ◀ the pages (pages.h) ◀ admin.c, which has the table of pages
 */
#ifndef ENTREPOT_PROXY_ADMIN_ADMIN_H
#define ENTREPOT_PROXY_ADMIN_ADMIN_H

#include "base/buf.h"
#include "cluster/bucket.h"
#include "cluster/peers.h"
#include "config/config.h"
#include "proxy/http/http.h"
#include "proxy/pull/prefetch.h"
#include "proxy/seen/problem.h"
#include "proxy/seen/pulls.h"

#include <jansson.h>

/* Figures of the daemon, for `status`. */
struct admin_figures {
    int connections;                                    /* of clients, now */
    uint64_t requests, hits, from_cache, from_upstream; /* bytes sent */
    uint64_t from_peers, from_shared;                   /* the same: from other nodes; from the bucket */
    uint64_t gone_received;                             /* bytes received from upstreams that are not in use any more */
};

/* What of the daemon is administered. Set by proxy/stages.c before the loops start; everything is borrowed. */
struct admin {
    const struct config *config; /* at the start: for what a reload does not change */
    struct puller puller;
    struct pool *admin_pool, *long_pool; /* short work; what takes long */
    int64_t started_s;
    const struct engines_seen *seen;
    struct peers *peers;                                   /* NULL: this node is alone */
    struct bucket *bucket;                                 /* NULL: there is none */
    struct pulls *pulls;                                   /* what clients pull (proxy/seen/pulls.h) */
    void (*figures)(void *arg, struct admin_figures *out); /* any thread */
    /* Calls fn for each thing that is wrong; any thread */
    void (*problems)(void *arg, void (*fn)(void *fn_arg, const struct problem *p), void *fn_arg);
    /* Reads the configuration again; waits until it is in use. On a worker. The result is the caller's. Errors:
     * ERR_INVALID and others, why it is refused; ERR_CANCELLED, the daemon stops. */
    bool (*reload)(void *arg, json_t **result, struct err *err);
    json_t *(*last_reload)(void *arg); /* any thread */
    /* What is in use, where it comes from, and what the file has that is not. On a worker. */
    json_t *(*configuration)(void *arg, struct err *err);
    json_t *(*certificates)(void *arg);                /* any thread: a list of {name, expires} */
    void (*print_metrics)(void *arg, struct buf *out); /* any thread */
    void (*print_dump)(void *arg, struct buf *out);    /* what everything waits for; blocks, on a worker */
    void *arg;
};

/* Answers a request to the admin socket, now or later. On its loop. */
void admin_handle(struct admin *a, struct http_request *req);

#endif
