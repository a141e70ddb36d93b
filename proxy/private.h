/* private.h - the running daemon: shared by the files on top of proxy/, and by none below. stages.c starts and stops
 * its parts, signals.c is what happens to it meanwhile, reload.c another configuration, requests.c what its clients
 * ask, metrics.c what is counted and metrics_print.c how it is shown, health.c what is wrong, record.c what is written
 * down of requests, limits.c how much of the system it uses, watchdog.c whether its loops turn, dump.c what they do;
 * server.c runs it.
 *
 *     limits.c, record.c, metrics.c, listeners.c, watchdog.c, dump.c ◀ retired.c ◀ reload.c ◀ health.c ◀
 *     metrics_print.c ◀ hand_out.c ◀ signals.c, requests.c ◀ stages.c ◀ server.c
 *
 * A folder below gets what it needs of it (struct registry, struct admin): hand_out.c.
 */
#ifndef ENTREPOT_PROXY_PRIVATE_H
#define ENTREPOT_PROXY_PRIVATE_H

#include "proxy/admin/admin.h"
#include "proxy/intercept/forward.h"
#include "proxy/intercept/pass.h"
#include "proxy/fetch/site_view.h"
#include "proxy/http/listen.h"
#include "proxy/http/tls.h"
#include "proxy/metrics.h"
#include "proxy/page/status_page.h"
#include "proxy/pull/pull.h"
#include "proxy/registry/registry.h"
#include "proxy/seen/access_log.h"
#include "proxy/seen/feed.h"

#include <pthread.h>

struct event;
struct route;
struct watchdog;

enum { SERVE_LOOPS_MAX = 8, LISTENERS_MAX = CONFIG_LISTEN_MAX + 4 };

/* An address that is listened on. */
struct place {
    enum place_kind { PLACE_REGISTRY, PLACE_FORWARD, PLACE_METRICS, PLACE_CLUSTER, PLACE_ADMIN } kind;
    struct listener *listener;
    struct http_tls *tls; /* NULL: plain HTTP */
    char *says;           /* all that the configuration says about it; another text: another listener */
    bool inherited;       /* handed over (systemd) */
    bool by_name;         /* takes the place of registries (TLS by name) */
};

/* One serve loop. Once it runs, what can be another one later is its own. */
struct serve_loop {
    struct proxy *proxy;
    struct loop *loop;
    const struct config *config;             /* a reference */
    const struct listener *metrics_listener; /* NULL: metrics are on every listener */
    const struct listener *cluster_listener; /* for other nodes; NULL: none */
    struct site_view view;                   /* of the sites */
    struct registry registry;                /* what the pages get of all this */
    struct http_server *http;
    struct metrics *metrics;
    struct passer *passer;      /* NULL: nothing is intercepted */
    struct forward *forward;    /* the same */
    struct access_feed *access; /* to the access log */
    struct pull_feed *pulls;
};

/* When certificates end, under lock. */
struct certificates {
    pthread_mutex_t lock;
    struct certificate_end {
        char name[128];
        int64_t ends_s, noted_s; /* since 1970; of the second, when it was first seen */
        int64_t failed_s;        /* since when its changed files cannot be used; 0: they can */
        char why[200];
    } list[LISTENERS_MAX + 1];
    int count;
};

/* Set by stages.c on the main thread before the loops start; every thread may read it then. What is changed later
 * (reload.c) says so. */
struct proxy {
    const struct config *config; /* that it was started with: for what does not change without a restart */
    struct cache *cache;
    struct pool *pool;       /* io workers */
    struct pool *read_pool;  /* what clients wait for from the disk */
    struct pool *admin_pool; /* for the admin API */
    struct pool *long_pool;  /* for what takes long there */
    struct cred_workers *cred_workers;
    struct ledger *ledger; /* NULL: none */
    struct sites *sites;
    struct metrics_gone *gone;
    struct grants *grants;
    struct login *login;
    struct fetchers *fetchers;
    struct readahead *readahead;
    struct access_log *access_log;
    struct pulls *pulls;
    struct gc *gc;
    struct cluster *cluster; /* NULL: this node is alone, and there is no bucket */
    struct bucket_files bucket_files;
    struct peers *peers;   /* NULL: this node is alone */
    struct bucket *bucket; /* NULL: there is none */
    struct status_page *page;
    struct serve_loop serve_loops[SERVE_LOOPS_MAX];
    int serve_loop_count;
    struct place places[LISTENERS_MAX]; /* the main thread's; other loops read it when the daemon stops */
    int place_count;
    const struct listener *admin_listener;
    _Atomic(struct ca *) ca; /* NULL: nothing has been intercepted yet */
    struct certificates certificates;
    struct reloads *reloads;
    struct http_bounds *bounds, *cluster_bounds, *admin_bounds, *metrics_bounds;
    int connections_most; /* as the process's descriptors allow */
    int64_t started_s;
    atomic_bool ready;
    struct engines_seen seen; /* shared by the serve loops */
    struct admin admin;       /* what that folder gets of it */
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

/* ---- keep.c ---- */

enum { KEPT_MAX = LISTENERS_MAX * SERVE_LOOPS_MAX };

/* Sockets that systemd has kept while the daemon restarted (FileDescriptorStoreMax=). */
struct kept {
    int fds[KEPT_MAX];
    int count;
};

/* Sockets that were handed over: those of a socket unit go to `take`. */
int keep_read(struct kept *k, void (*take)(struct proxy *p, int fd), struct proxy *p);
/* Takes those at this address out; there is room for KEPT_MAX. How many there are. */
int keep_find(struct kept *k, const char *address, int *fds);
/* Those that are left, and not wanted: they are closed here and there. */
void keep_close(struct kept *k);
/* From now on systemd keeps its sockets, if it is the daemon's service manager; or no longer. Main thread. */
void keep_add(const struct listener *l);
void keep_remove(const struct listener *l);
/* All of them, from any thread: the process ends because something hangs, and so may the next one before it listens.
 * Clients that are refused go on to the registry; those in a queue would wait. Does nothing rather than wait. */
void keep_remove_all(void);
/* Whether a daemon comes after this one, which stops now: true also where that cannot be known. May take a second. */
bool keep_has_heir(void);

/* ---- listeners.c ---- */

/* Opens all addresses; the loops do not run yet. */
bool listeners_open(struct proxy *p, struct err *err);
/* After the servers' connections. */
void listeners_free(struct proxy *p);
/* No daemon comes after this one: nothing is kept for it. */
void listeners_give_up(struct proxy *p);
/* The listener of that kind; NULL: there is none. */
const struct listener *listeners_find(const struct place *places, int count, enum place_kind kind);

/* Other addresses: prepared first, which may fail, and then used. */
struct listeners_change {
    struct place next[LISTENERS_MAX]; /* what will be */
    int next_count;
    struct place gone[LISTENERS_MAX]; /* what will have been */
    int gone_count;
    struct listener *fresh[LISTENERS_MAX]; /* those of `next` that no loop knows yet */
    int fresh_count;
    bool handed_over; /* `listen` differs, and the sockets are systemd's: they stay */
};
bool listeners_prepare(struct proxy *p, const struct config *c, struct listeners_change *change, struct err *err);
void listeners_drop(struct listeners_change *change);
/* It is as prepared; `gone` is the caller's, to be freed once no connection is left. */
void listeners_commit(struct proxy *p, struct listeners_change *change);
void place_free(struct place *place);

/* ---- interception.c ---- */

/* The authority; nothing if the configuration intercepts nothing, or there is one already. Main thread. */
bool interception_open(struct proxy *p, const struct config *c, struct err *err);
/* The authority is for the hosts of this configuration from now on. Main thread. */
void interception_set_hosts(struct proxy *p, const struct config *c);
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

/* ---- retired.c ---- */

/* Listeners that are gone, and still have connections. Main thread. */
struct retired *retired_new(struct server *s);
void retired_free(struct retired *r); /* after the loops have ended */
bool retired_has_room(const struct retired *r);
void retired_add(struct retired *r, const struct listeners_change *change);
/* Frees those that their last connection has left. */
void retired_look(struct retired *r);

/* ---- reload.c ---- */

struct gc_options;
/* What the collector gets of the configuration. */
struct gc_options reload_gc_options(const struct config *c);

struct reloads *reloads_new(struct server *s);
void reloads_free(struct reloads *r);
/* The loops' own part of the configuration, as the daemon starts. */
void reload_begin(struct serve_loop *sl, const struct config *c);
/* Reads the configuration again and applies it, or refuses; the log has the result. */
void reload_now(struct server *s);
/* Looks at certificates and at listeners that are gone. Each second. */
void reload_look(struct server *s);
/* For the admin API (struct admin). */
bool reload_ask(void *proxy, json_t **result, struct err *err);
json_t *reload_describe(void *proxy);
json_t *reload_compare(void *proxy, struct err *err);
/* Whether the last configuration was refused, as a problem about its file. Any thread. */
void reload_each_problem(struct proxy *p, void (*fn)(void *arg, const struct problem *problem), void *arg);
/* Its metrics. Any thread. */
void reload_print(const struct proxy *p, struct buf *out);

/* ---- certificates.c ---- */

/* Looks at them. Main thread: at the start, each second, after a reload. */
void certificates_note(struct proxy *p);
/* When each of our certificates ends, and how clients' handshakes ended; nothing without TLS. Any thread. */
void certificates_print(struct proxy *p, struct buf *out);
/* For struct admin: the same, `proxy` is a struct proxy. */
json_t *certificates_json(void *proxy);

/* ---- dump.c ---- */

/* Adds lines of text: what each loop and pool does and waits for, connections, fetches, blobs on their way. A loop that
 * hangs is named. Blocks for some seconds at most; on a worker. */
void dump_print(struct proxy *p, struct buf *out);
/* Writes them to the log, from a worker. Main thread. */
void dump_log(struct server *s);

/* ---- hand_out.c ---- */

/* Gives each folder below what it works with, and begins the status page. When all of it is there, before the serve
 * loops run. */
void hand_out(struct server *s);

/* ---- signals.c ---- */

/* The events of the main loop: signals, clocks. */
void server_add_events(struct server *s);
/* Once the main loop has ended. */
void server_take_no_stops(struct server *s);
void server_free_events(struct server *s);
/* The index is damaged. Any thread, once the index is being opened. */
void server_on_damage(void *server);

/* ---- record.c ---- */

/* What the access log and the pulls are told of a request: that it begins, once it has its detail, and that it is
 * complete. On its loop. */
void record_begin(struct serve_loop *sl, struct http_request *req, bool blob);
void record_end(struct serve_loop *sl, struct http_request *req);
/* How long it waited for its upstream before its answer began; -1: it did not. */
int64_t record_waited_us(struct http_request *req);
/* The access log, and the pulls, which are recognised on the main loop. Once there are serve loops, before they run;
 * once these have ended; after all that refers to them. */
bool records_start(struct server *s, struct err *err);
void records_end(struct server *s);
void records_free(struct server *s);
/* Opens the access log as the configuration says, or again. Main thread. */
bool record_open(struct proxy *p, const struct config *c, struct err *err);

/* Its figures, for the page of metrics. Any thread. */
void record_print(const struct proxy *p, struct buf *out);

/* ---- health.c ---- */

/* Calls fn for each thing that is wrong; `proxy` is a struct proxy. Nothing is waited for. Any thread. */
void health_each(void *proxy, void (*fn)(void *arg, const struct problem *problem), void *arg);
/* Its figures, for the page of metrics. Any thread. */
void health_print(struct proxy *p, struct buf *out);

/* ---- cluster_print.c ---- */

/* Nothing, if there is none. */
void cluster_print(const struct proxy *p, struct buf *out);

/* ---- requests.c ---- */

/* A request, and its end; `serve_loop` is a struct serve_loop. */
void server_on_request(void *serve_loop, struct http_request *req);
void server_on_complete(void *serve_loop, struct http_request *req);

#endif
