/* private.h - the running daemon: shared by the files on top of proxy/, and by none below. stages.c starts and stops
 * its parts, signals.c is what happens to it meanwhile, requests.c what its clients ask, metrics.c what is counted,
 * record.c what is written down of requests, limits.c how much of the system it uses, watchdog.c whether its loops
 * turn, dump.c what they do; server.c runs it.
 *
 *     limits.c, record.c ◀ metrics.c; listeners.c, watchdog.c, dump.c ◀ signals.c, requests.c ◀ stages.c ◀ server.c
 *
 * A folder below gets what it needs of it (struct registry, struct admin): stages.c hands that out.
 */
#ifndef ENTREPOT_PROXY_PRIVATE_H
#define ENTREPOT_PROXY_PRIVATE_H

#include "proxy/admin/admin.h"
#include "proxy/intercept/forward.h"
#include "proxy/intercept/pass.h"
#include "proxy/http/listen.h"
#include "proxy/http/tls.h"
#include "proxy/metrics.h"
#include "proxy/pull/pull.h"
#include "proxy/registry/registry.h"
#include "proxy/seen/access_log.h"
#include "proxy/seen/feed.h"

struct event;
struct route;
struct watchdog;

enum { SERVE_LOOPS_MAX = 8, LISTENERS_MAX = CONFIG_LISTEN_MAX + 3 };

/* One serve loop. */
struct serve_loop {
    struct proxy *proxy;
    struct loop *loop;
    struct http_server *http;
    struct metrics *metrics;
    struct passer *passer;      /* NULL: nothing is intercepted */
    struct forward *forward;    /* the same */
    struct access_feed *access; /* to the access log */
    struct pull_feed *pulls;
};

/* Set by stages.c on the main thread before the loops start; every thread may read it then. */
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
    struct readahead *readahead;
    struct access_log *access_log;
    struct pulls *pulls;
    struct gc *gc;
    struct serve_loop serve_loops[SERVE_LOOPS_MAX];
    int serve_loop_count;
    struct listener *listeners[LISTENERS_MAX];
    int listener_count;
    struct http_tls *tls[CONFIG_LISTEN_MAX]; /* of those that speak TLS; looked after by the main thread */
    int tls_count;
    const struct listener *metrics_listener; /* NULL: metrics are on every listener */
    const struct listener *admin_listener;
    const struct listener *forward_listener; /* NULL: there is no forward proxy */
    struct ca *ca;                           /* NULL: nothing is intercepted */
    struct http_bounds *bounds, *admin_bounds, *metrics_bounds;
    int64_t started_s;
    atomic_bool ready;
    struct engines_seen seen; /* shared by the serve loops */
    /* what the folders below get of it */
    struct registry registry;
    struct admin admin;
};

/* The main thread's own: signals and timers. */
struct server {
    struct proxy proxy;
    const struct config_overrides *overrides;
    struct loop *loop;
    struct watchdog *watchdog;
    struct event *signals[4], *flush, *look, *deadline;
    int started;  /* stages that have to be stopped */
    bool damaged; /* the index: a restart rebuilds it */
    int draining; /* serve loops that have not finished yet */
    bool stopping;
};

/* ---- stages.c ---- */

/* Starts every part, in order. Errors: what kept one from starting; stages_stop() stops the others. */
bool stages_start(struct server *s, struct err *err);
/* Stops what was started, in the opposite order. Main thread, whose loop has ended. */
void stages_stop(struct server *s);

/* ---- listeners.c ---- */

/* Opens all addresses; the loops do not run yet. */
bool listeners_open(struct proxy *p, struct err *err);
/* After the servers' connections. */
void listeners_free(struct proxy *p);

/* ---- interception.c ---- */

/* The authority; nothing if the configuration intercepts nothing. */
bool interception_open(struct proxy *p, struct err *err);
/* What each serve loop needs. Before they start. */
bool interception_start(struct proxy *p, struct err *err);
/* On the loop, when it ends: requests that are passed on are answered with an error. */
void interception_end(struct serve_loop *sl);
void interception_stop(struct proxy *p);
/* After all connections. */
void interception_close(struct proxy *p);
/* Answers a request of an opened connection, or of a client of the forward proxy: a pull by `pull`. False: it is
 * neither. */
bool interception_take(struct serve_loop *sl, struct http_request *req,
                       void (*pull)(struct serve_loop *sl, struct http_request *req, const struct route *r));
/* Its figures, for the page of metrics; nothing if nothing is intercepted. Any thread. */
void interception_print(const struct proxy *p, struct buf *out);

/* ---- dump.c ---- */

/* Adds lines of text: what each loop and pool does and waits for, connections, fetches, blobs on their way. A loop that
 * hangs is named. Blocks for some seconds at most; on a worker. */
void dump_print(struct proxy *p, struct buf *out);
/* Writes them to the log, from a worker. Main thread. */
void dump_log(struct server *s);

/* ---- signals.c ---- */

/* The events of the main loop: signals, clocks. */
void server_add_events(struct server *s);
void server_free_events(struct server *s);
/* The index is damaged. Any thread, once the index is being opened. */
void server_on_damage(void *server);

/* ---- record.c ---- */

/* What the access log and the pulls are told of a request: that it begins, once it has its detail, and that it is
 * complete. On its loop. */
void record_begin(struct serve_loop *sl, struct http_request *req);
void record_end(struct serve_loop *sl, struct http_request *req);
/* The access log, and the pulls, which are recognised on the main loop. Once there are serve loops, and before they
 * run; once these have ended; after all that refers to them. */
bool records_start(struct server *s, struct err *err);
void records_end(struct server *s);
void records_free(struct server *s);
/* Opens the access log as the configuration says, or again. Main thread. */
bool record_open(struct proxy *p, const struct config *c, struct err *err);

/* Its figures, for the page of metrics. Any thread. */
void record_print(const struct proxy *p, struct buf *out);

/* ---- requests.c ---- */

/* A request, and its end; `serve_loop` is a struct serve_loop. */
void server_on_request(void *serve_loop, struct http_request *req);
void server_on_complete(void *serve_loop, struct http_request *req);

#endif
