/* How the daemon starts and stops: one list of stages.
 *
 *     start    from the first stage to the last. Each needs only what is above it.
 *     end      from the last to the first: the stage begins nothing by itself any more; its threads have ended or do
 *              only what others hand them. Its requests are answered, finished or cancelled.
 *     settle   the parts still hold messages for one another: a commit calls back to a loop, which hands the next step
 *              to an io worker, which queues a change of the index. They are delivered, round after round, until one
 *              has found nothing in any mailbox or queue. Since every stage has ended, nothing new can come then.
 *     free     from the last to the first. No message points to what is freed.
 *
 * A stage whose start has failed is stopped, too; it takes back what there is of it.
 */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/writable.h"
#include "base/size.h"
#include "cluster/cluster.h"
#include "gc/gc.h"
#include "proxy/limits.h"
#include "proxy/registry/handlers.h"
#include "proxy/registry/readahead.h"
#include "proxy/watchdog.h"

#include <string.h>

enum { IO_THREADS = 4, READ_THREADS = 8, ADMIN_THREADS = 2, LONG_THREADS = 4, CRED_THREADS = 4 };

/* ---- main loop ---- */

static bool start_main_loop(struct server *s, struct err *err)
{
    s->loop = loop_new("main", err);
    return s->loop != NULL;
}

static bool settle_main_loop(struct server *s)
{
    return s->loop && loop_settle(s->loop);
}

static void free_main_loop(struct server *s)
{
    server_free_events(s);
    loop_free(s->loop);
}

/* ---- io workers ---- */

static bool start_io_workers(struct server *s, struct err *err)
{
    s->proxy.pool = pool_new("io", IO_THREADS, err);
    return s->proxy.pool != NULL;
}

static bool settle_io_workers(struct server *s)
{
    return s->proxy.pool && pool_settle(s->proxy.pool);
}

static void free_io_workers(struct server *s)
{
    pool_free(s->proxy.pool);
}

/* ---- readers: what clients wait for from the disk ---- */

static bool start_readers(struct server *s, struct err *err)
{
    s->proxy.read_pool = pool_new("read", READ_THREADS, err);
    return s->proxy.read_pool != NULL;
}

static bool settle_readers(struct server *s)
{
    return s->proxy.read_pool && pool_settle(s->proxy.read_pool);
}

static void free_readers(struct server *s)
{
    pool_free(s->proxy.read_pool);
}

/* ---- cache ---- */

static bool start_cache(struct server *s, struct err *err)
{
    const struct index_watcher watcher = {server_on_damage, s};
    const char *path = s->proxy.config->cache_path;

    s->proxy.cache = cache_open(path, s->proxy.pool, &watcher, err);
    return s->proxy.cache || writable_explain(path, err);
}

static bool settle_cache(struct server *s)
{
    return s->proxy.cache && cache_wait_written(s->proxy.cache);
}

static void free_cache(struct server *s)
{
    cache_close(s->proxy.cache);
}

/* ---- admin workers ---- */

static bool start_admin_workers(struct server *s, struct err *err)
{
    s->proxy.admin_pool = pool_new("admin", ADMIN_THREADS, err);
    s->proxy.long_pool = s->proxy.admin_pool ? pool_new("admin-long", LONG_THREADS, err) : NULL;
    return s->proxy.long_pool != NULL;
}

static bool settle_admin_workers(struct server *s)
{
    bool any = s->proxy.admin_pool && pool_settle(s->proxy.admin_pool);

    return (s->proxy.long_pool && pool_settle(s->proxy.long_pool)) || any;
}

static void free_admin_workers(struct server *s)
{
    pool_free(s->proxy.long_pool);
    pool_free(s->proxy.admin_pool);
}

/* ---- credentials ---- */

static bool start_credentials(struct server *s, struct err *err)
{
    s->proxy.cred_workers = cred_workers_new(CRED_THREADS, err);
    return s->proxy.cred_workers != NULL;
}

static void end_credentials(struct server *s)
{
    cred_workers_stop(s->proxy.cred_workers);
}

static void free_credentials(struct server *s)
{
    cred_workers_free(s->proxy.cred_workers);
}

/* ---- upstreams, and grants of clients ---- */

static bool start_upstreams(struct server *s, struct err *err UNUSED)
{
    struct proxy *p = &s->proxy;

    p->grants = grants_new(p->config->grant_ttl_ms);
    p->login = login_new(p->config->login_for, LOGIN_LIFE_S * 1000, p->config->cache_path);
    p->ledger = p->config->cluster.etcd[0] ? ledger_new() : NULL;
    p->sites = sites_new(p->config, p->cred_workers, p->cache, p->ledger);
    p->gone = metrics_gone_new();
    sites_on_leave(p->sites, metrics_take_over, p);
    return true;
}

static void free_upstreams(struct server *s)
{
    limits_free(&s->proxy);
    sites_free(s->proxy.sites);
    ledger_free(s->proxy.ledger);
    metrics_gone_free(s->proxy.gone);
    grants_free(s->proxy.grants);
    login_free(s->proxy.login);
}

/* ---- other nodes ---- */

/* For the bucket, on its loop. */
static int open_for_bucket(void *arg, const struct digest *d, int64_t *size)
{
    int fd = cache_open_blob(arg, d, size, NULL);

    if (fd >= 0)
        cache_release(arg, d); /* what is open stays, whatever becomes of its name */
    return fd;
}

static bool start_cluster(struct server *s, struct err *err)
{
    struct proxy *p = &s->proxy;
    const struct config_cluster *c = &p->config->cluster;

    if (!c->advertise && !c->shared.s3)
        return true;
    p->bucket_files = (struct bucket_files){open_for_bucket, p->cache};
    p->cluster = cluster_new(c, p->ledger, err);
    if (!p->cluster || !cluster_start(p->cluster, p->cred_workers, &p->bucket_files, err))
        return false;
    p->peers = c->advertise ? cluster_peers(p->cluster) : NULL;
    p->bucket = cluster_bucket(p->cluster);
    return true;
}

static void end_cluster(struct server *s)
{
    if (s->proxy.cluster)
        cluster_stop(s->proxy.cluster);
}

static void free_cluster(struct server *s)
{
    cluster_free(s->proxy.cluster);
}

/* ---- serve loops ---- */

static bool start_serve_loops(struct server *s, struct err *err)
{
    struct proxy *p = &s->proxy;
    char name[16];

    for (int i = 0; i < MIN(p->config->workers, (int)SERVE_LOOPS_MAX); i++) {
        struct serve_loop *sl = &p->serve_loops[i];
        snprintf(name, sizeof(name), "serve-%d", i);
        sl->proxy = p;
        sl->loop = loop_new(name, err);
        if (!sl->loop)
            return false;
        sl->metrics = metrics_new();
        sl->http = http_server_new(sl->loop, &HTTP_LIMITS_DEFAULT, server_on_request, server_on_complete, sl);
        http_server_set_errors(sl->http, reply_format_error);
        http_server_set_readers(sl->http, p->read_pool);
        p->serve_loop_count = i + 1;
    }
    return true;
}

static bool settle_serve_loops(struct server *s)
{
    bool any = false;

    for (int i = 0; i < s->proxy.serve_loop_count; i++)
        any = loop_settle(s->proxy.serve_loops[i].loop) || any;
    return any;
}

static void free_serve_loops(struct server *s)
{
    for (int i = 0; i < s->proxy.serve_loop_count; i++) {
        struct serve_loop *sl = &s->proxy.serve_loops[i];
        http_server_free(sl->http);
        loop_free(sl->loop);
        metrics_free(sl->metrics);
    }
    interception_close(&s->proxy);
}

/* ---- listeners ---- */

static bool start_listeners(struct server *s, struct err *err)
{
    return listeners_open(&s->proxy, err);
}

static void free_listeners(struct server *s)
{
    listeners_free(&s->proxy);
}

/* ---- fetch loops ---- */

static bool start_fetch_loops(struct server *s, struct err *err)
{
    struct proxy *p = &s->proxy;

    p->fetchers = fetchers_new(p->cache, p->config, p->cluster, p->config->fetchers, err);
    if (p->fetchers)
        p->readahead = readahead_new(p->cache, p->fetchers, s->loop);
    return p->fetchers != NULL;
}

static void end_fetch_loops(struct server *s)
{
    if (!s->proxy.fetchers)
        return;
    readahead_stop(s->proxy.readahead);
    fetchers_stop(s->proxy.fetchers);
}

static bool settle_fetch_loops(struct server *s)
{
    return s->proxy.fetchers && fetchers_settle(s->proxy.fetchers);
}

static void free_fetch_loops(struct server *s)
{
    readahead_free(s->proxy.readahead);
    fetchers_free(s->proxy.fetchers);
}

/* ---- interception ---- */

static bool start_interception(struct server *s, struct err *err)
{
    return interception_start(&s->proxy, err);
}

static void free_interception(struct server *s)
{
    interception_stop(&s->proxy);
}

/* ---- collector ---- */

static void warn_limit(void *arg UNUSED, const char *text)
{
    log_warn("%s", text);
}

static void log_limits(struct proxy *p)
{
    struct gc_space space;
    struct gc_stats stats;
    char limit[SIZE_TEXT];

    gc_get_space(p->gc, &space);
    gc_get_stats(p->gc, &stats);
    if (space.total > 0)
        config_check_limits(p->config, &(struct config_disk){space.total, space.available, space.used}, warn_limit,
                            NULL);
    log_info("the cache holds %s at most", size_text(stats.limit_bytes, limit));
}

static bool start_collector(struct server *s, struct err *err)
{
    struct proxy *p = &s->proxy;
    const struct gc_options options = reload_gc_options(p->config);

    p->gc = gc_new(p->cache, &options, err);
    if (p->gc)
        log_limits(p);
    return p->gc != NULL;
}

static void end_collector(struct server *s)
{
    gc_stop(s->proxy.gc);
}

static void free_collector(struct server *s)
{
    gc_free(s->proxy.gc);
}

/* ---- service: clients are accepted, signals are taken ---- */

static bool start_service(struct server *s, struct err *err)
{
    s->proxy.reloads = reloads_new(s);
    limits_apply(&s->proxy);
    hand_out(s);
    server_add_events(s); /* before this, SIGTERM ends the process at once */
    atomic_store(&s->proxy.ready, true);
    for (int i = 0; i < s->proxy.serve_loop_count; i++)
        if (!loop_start(s->proxy.serve_loops[i].loop, err))
            return false;
    return true;
}

/* Long admin requests look at this. */
static void end_service(struct server *s)
{
    atomic_store(&s->proxy.ready, false);
    status_page_stop(s->proxy.page);
}

static void free_service(struct server *s)
{
    status_page_free(s->proxy.page);
    reloads_free(s->proxy.reloads);
}

static void cut_serve_loop(void *arg)
{
    struct serve_loop *sl = arg;

    ON_LOOP(sl->loop);
    interception_end(sl);
    for (int i = 0; i < sl->proxy->place_count; i++)
        listener_stop(sl->proxy->places[i].listener, sl->loop);
    http_server_cut(sl->http);
}

/* After the fetch loops: requests that waited for them have been answered. */
static void end_serve_loops(struct server *s)
{
    struct proxy *p = &s->proxy;

    for (int i = 0; i < p->serve_loop_count; i++) {
        loop_post(p->serve_loops[i].loop, cut_serve_loop, &p->serve_loops[i]);
        loop_stop(p->serve_loops[i].loop);
    }
    for (int i = 0; i < p->serve_loop_count; i++)
        loop_join(p->serve_loops[i].loop);
    limits_close(p);
    records_end(s);
    free_listeners(s);
}

/* ---- watchdog ---- */

static bool start_watchdog(struct server *s, struct err *err)
{
    s->watchdog = watchdog_new(WATCHDOG_LIMIT_MS, NULL, NULL);
    watchdog_add(s->watchdog, s->loop);
    for (int i = 0; i < s->proxy.serve_loop_count; i++)
        watchdog_add(s->watchdog, s->proxy.serve_loops[i].loop);
    fetchers_each_loop(s->proxy.fetchers, watchdog_add, s->watchdog);
    return watchdog_start(s->watchdog, err);
}

static void end_watchdog(struct server *s)
{
    watchdog_stop(s->watchdog);
}

static void free_watchdog(struct server *s)
{
    watchdog_free(s->watchdog);
}

/* ---- the list ---- */

/* clang-format off */
static const struct stage {
    const char *name;
    bool (*start)(struct server *s, struct err *err);
    void (*end)(struct server *s);    /* NULL: it begins nothing by itself */
    bool (*settle)(struct server *s); /* whether there was anything to deliver; NULL: nothing is handed to it */
    void (*free)(struct server *s);
} STAGES[] = {
    /* name           start                end              settle                free */
    {"main loop",     start_main_loop,     NULL,            settle_main_loop,     free_main_loop},
    {"io workers",    start_io_workers,    NULL,            settle_io_workers,    free_io_workers},
    {"readers",       start_readers,       NULL,            settle_readers,       free_readers},
    {"cache",         start_cache,         NULL,            settle_cache,         free_cache},
    {"admin workers", start_admin_workers, NULL,            settle_admin_workers, free_admin_workers},
    {"credentials",   start_credentials,   end_credentials, NULL,                 free_credentials},
    {"upstreams",     start_upstreams,     NULL,            NULL,                 free_upstreams},
    {"cluster",       start_cluster,        end_cluster,     NULL,                 free_cluster},
    {"serve loops",   start_serve_loops,   end_serve_loops, settle_serve_loops,   free_serve_loops},
    {"records",       records_start,       NULL,            NULL,                 records_free},
    {"listeners",     start_listeners,     NULL,            NULL,                 free_listeners},
    {"fetch loops",   start_fetch_loops,   end_fetch_loops, settle_fetch_loops,   free_fetch_loops},
    {"interception",  start_interception,  NULL,            NULL,                 free_interception},
    {"collector",     start_collector,     end_collector,   NULL,                 free_collector},
    {"service",       start_service,       end_service,     NULL,                 free_service},
    {"watchdog",      start_watchdog,      end_watchdog,    NULL,                 free_watchdog},
};
/* clang-format on */

bool stages_start(struct server *s, struct err *err)
{
    for (const struct stage *stage = STAGES; stage < STAGES + ARRAY_LEN(STAGES); stage++) {
        log_debug("start: %s", stage->name);
        s->started++;
        if (!stage->start(s, err))
            return false;
    }
    return true;
}

static bool settle_round(struct server *s)
{
    bool any = false;

    for (int i = s->started - 1; i >= 0; i--)
        if (STAGES[i].settle)
            any = STAGES[i].settle(s) || any;
    return any;
}

void stages_stop(struct server *s)
{
    s->stopping = true;
    for (int i = s->started - 1; i >= 0; i--) {
        if (!STAGES[i].end)
            continue;
        log_debug("stop: %s", STAGES[i].name);
        STAGES[i].end(s);
    }
    while (settle_round(s))
        ;
    for (int i = s->started - 1; i >= 0; i--)
        if (STAGES[i].free)
            STAGES[i].free(s);
    s->started = 0;
}
