#include "proxy/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/place.h"
#include "base/size.h"
#include "gc/gc.h"
#include "proxy/handlers.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

enum { IO_THREADS = 4, READ_THREADS = 8, ADMIN_THREADS = 4, CRED_THREADS = 4, DRAIN_S = 30, FLUSH_S = 5 };

/* The main thread's own: signals and the clockwork. */
struct server {
    struct proxy proxy;
    const struct config_overrides *overrides;
    struct loop *loop;
    struct event *signals[4], *flush, *deadline;
    bool damaged; /* the index: a restart makes it anew */
    int draining; /* workers that have not finished yet */
    bool stopping;
};

/* ---- requests ---- */

static void answer_metrics(struct worker *w, struct http_request *req)
{
    _cleanup_buf_ struct buf page = {0};

    metrics_print(w->proxy, &page);
    http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", page.data, page.len);
}

static void answer_ready(struct worker *w, struct http_request *req)
{
    bool ready = atomic_load(&w->proxy->ready);

    http_reply(req, ready ? 200 : 503, "text/plain", ready ? "ready\n" : "stopping\n", ready ? 6 : 9);
}

/* The daemon's own pages are on the metrics listener if there is one, else on every listener. */
static bool has_own_pages(const struct worker *w, const struct http_request *req)
{
    return !w->proxy->metrics_listener || w->proxy->metrics_listener == http_listener(req);
}

static void answer_page(struct worker *w, struct http_request *req, const struct route *r)
{
    switch (r->kind) {
    case ROUTE_BASE:
        handle_base(w, req, r);
        break;
    case ROUTE_TOKEN:
        handle_token(w, req, r);
        break;
    case ROUTE_MANIFEST:
        handle_manifest(w, req, r);
        break;
    case ROUTE_BLOB:
        handle_blob(w, req, r);
        break;
    case ROUTE_TAGS:
        handle_tags(w, req, r);
        break;
    case ROUTE_REFERRERS:
        handle_referrers(w, req, r);
        break;
    case ROUTE_CATALOG:
        handle_catalog(w, req, r);
        break;
    case ROUTE_METRICS:
        answer_metrics(w, req);
        break;
    case ROUTE_HEALTH:
        http_reply(req, 200, "text/plain", "ok\n", 3);
        break;
    case ROUTE_READY:
        answer_ready(w, req);
        break;
    default:
        http_error(req, 404, "UNSUPPORTED", "no such page");
    }
}

static void on_request(void *arg, struct http_request *req)
{
    struct worker *w = arg;
    struct route_error error;
    struct route r;

    if (http_listener(req) == w->proxy->admin_listener) {
        handle_admin(w, req);
        return;
    }
    if (http_method(req) != HTTP_METHOD_GET && http_method(req) != HTTP_METHOD_HEAD) {
        http_reply_header(req, "Allow", "GET, HEAD");
        http_error(req, 405, "UNSUPPORTED", "%s: this is a cache, push to the registry itself", http_method_name(req));
        return;
    }
    if (!route_parse(&r, req, w->proxy->sites, listener_upstream(http_listener(req)), &error)) {
        if (error.status == 404 && strcmp(error.code, "NAME_UNKNOWN") == 0)
            log_limited(LOG_LEVEL_INFO, "unknown", "%s %s: %s; add it under upstreams if it should be one",
                        http_method_name(req), http_path(req), error.message);
        http_error(req, error.status, error.code, "%s", error.message);
        return;
    }
    bool own = r.kind >= ROUTE_METRICS;
    if ((own && !has_own_pages(w, req)) || (!own && w->proxy->metrics_listener == http_listener(req)))
        http_error(req, 404, "UNSUPPORTED", "no such page on this listener");
    else
        answer_page(w, req, &r);
}

static void on_complete(void *arg, struct http_request *req)
{
    struct worker *w = arg;

    metrics_count(w->metrics, req);
    log_debug("%s %s %d %lld bytes %lld us", http_method_name(req), http_path(req), http_status(req),
              (long long)http_sent(req), (long long)http_micros(req));
}

/* ---- stopping ---- */

static void all_drained(struct server *s)
{
    loop_stop(s->loop);
}

static void one_drained(void *arg)
{
    struct server *s = arg;

    if (--s->draining == 0)
        all_drained(s);
}

static void worker_drained(void *arg)
{
    struct worker *w = arg;
    struct server *s = (struct server *)((char *)w->proxy - offsetof(struct server, proxy));

    loop_post(s->loop, one_drained, s);
}

static void drain_worker(void *arg)
{
    struct worker *w = arg;

    for (int i = 0; i < w->proxy->listener_count; i++)
        listener_stop(w->proxy->listeners[i], w->loop);
    http_server_drain(w->http, worker_drained, w);
}

static void begin_to_stop(struct server *s, const char *why);

/* Pulls go on past the cache meanwhile; whoever looks after the service starts it again. */
static void stop_damaged(void *arg)
{
    struct server *s = arg;

    s->damaged = true;
    begin_to_stop(s, "the index is damaged");
}

static void on_damage(void *arg)
{
    struct server *s = arg;

    loop_post(s->loop, stop_damaged, s);
}

static void on_deadline(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    log_warn("some requests did not end within %d s and are cut off", (int)DRAIN_S);
    all_drained(arg);
}

static void on_stop(evutil_socket_t sig, short what UNUSED, void *arg)
{
    struct server *s = arg;

    if (s->stopping)
        all_drained(s); /* asked twice: now */
    else
        begin_to_stop(s, strsignal((int)sig));
}

static void begin_to_stop(struct server *s, const char *why)
{
    if (s->stopping)
        return;
    s->stopping = true;
    log_info("%s: draining", why);
    sd_notify(0, "STOPPING=1");
    atomic_store(&s->proxy.ready, false);
    s->draining = s->proxy.worker_count;
    for (int i = 0; i < s->proxy.worker_count; i++)
        loop_post(s->proxy.workers[i].loop, drain_worker, &s->proxy.workers[i]);
    event_add(s->deadline, &(struct timeval){.tv_sec = DRAIN_S});
}

/* What can change while we run: the log, `offline`, clients.login_for. Everything else is said to need a restart, if it
 * changed. */
static void on_reload(evutil_socket_t sig UNUSED, short what UNUSED, void *arg)
{
    struct server *s = arg;
    struct config fresh;
    struct err err;
    _cleanup_buf_ struct buf before = {0}, after = {0};

    sd_notify(0, "RELOADING=1");
    if (!config_load(&fresh, s->overrides, &err)) {
        log_error("the configuration stays as it is: %s", err.msg);
    } else {
        log_setup(fresh.log_level, fresh.log_format);
        fetchers_set_offline(s->proxy.fetchers, fresh.offline);
        login_set_for(s->proxy.login, fresh.login_for);
        struct config same = *s->proxy.config;
        same.log_level = fresh.log_level;
        same.log_format = fresh.log_format;
        same.offline = fresh.offline;
        same.login_for = fresh.login_for;
        config_print(&same, &before);
        config_print(&fresh, &after);
        bool all = strcmp(before.data, after.data) == 0;
        log_info("configuration read anew%s",
                 all ? "" : "; changes other than log:, offline: and clients.login_for take a restart");
        config_free(&fresh);
    }
    sd_notify(0, "READY=1");
}

static void on_flush(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct server *s = arg;

    use_flush(s->proxy.cache->use, s->proxy.cache->index, NULL, NULL, NULL);
}

/* ---- starting ---- */

/* Whether the nth address of the configuration is among the sockets that were handed over, which take the place of the
 * list. What is for one upstream is there as well if they have it not: nothing else could stand in for it. */
static bool is_inherited(struct proxy *p, int inherited, int nth)
{
    const char *only = p->config->listen_upstream[nth];

    for (int i = 0; only && i < inherited && i < p->listener_count; i++)
        if (listener_is_at(p->listeners[i], p->config->listen[nth])) {
            listener_set_upstream(p->listeners[i], only);
            return true;
        }
    return inherited > 0 && !only;
}

static bool open_listeners(struct proxy *p, struct err *err)
{
    const struct config *c = p->config;
    int inherited = sd_listen_fds(1);

    for (int i = 0; i < inherited && p->listener_count < CONFIG_LISTEN_MAX; i++)
        p->listeners[p->listener_count++] = listener_from_fd(SD_LISTEN_FDS_START + i);
    for (int i = 0; c->listen[i]; i++) {
        if (is_inherited(p, inherited, i))
            continue;
        if (p->listener_count == CONFIG_LISTEN_MAX)
            return err_set(err, ERR_INVALID, "more than %d addresses to listen on", (int)CONFIG_LISTEN_MAX);
        struct listener *l = listener_open(c->listen[i], 0666, err);
        if (!l)
            return false;
        listener_set_upstream(l, c->listen_upstream[i]);
        if (c->listen_upstream[i])
            log_info("%s alone is served on %s", c->listen_upstream[i], c->listen[i]);
        p->listeners[p->listener_count++] = l;
    }
    if (c->metrics_address) {
        struct listener *l = listener_open(c->metrics_address, 0666, err);
        if (!l)
            return false;
        p->metrics_listener = p->listeners[p->listener_count++] = l;
    }
    _cleanup_free_ char *admin = xasprintf("unix:%s", c->admin_socket), *dir = xstrdup(c->admin_socket);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        mkdir(dir, 0755);
    }
    struct listener *l = listener_open(admin, 0660, err);
    if (!l)
        return err_wrap(err, "the admin socket");
    p->admin_listener = p->listeners[p->listener_count++] = l;
    return true;
}

static bool start_worker(struct proxy *p, int n, struct err *err)
{
    struct worker *w = &p->workers[n];
    char name[16];

    snprintf(name, sizeof(name), "serve-%d", n);
    w->proxy = p;
    w->loop = loop_new(name, err);
    if (!w->loop)
        return false;
    w->metrics = metrics_new();
    w->http = http_server_new(w->loop, &HTTP_LIMITS_DEFAULT, on_request, on_complete, w);
    http_server_set_readers(w->http, p->read_pool);
    p->worker_count = n + 1;
    for (int i = 0; i < p->listener_count; i++)
        if (!listener_add(p->listeners[i], w->loop, w->http, err))
            return false;
    return true;
}

static void warn_limit(void *arg UNUSED, const char *text)
{
    log_warn("%s", text);
}

static void say_limits(struct proxy *p)
{
    struct gc_space space;
    struct gc_stats stats;
    char limit[SIZE_TEXT];

    gc_get_space(p->gc, &space);
    gc_get_stats(p->gc, &stats);
    if (space.total > 0)
        config_check_limits(p->config, &(struct config_disk){space.total, space.available, space.used}, warn_limit,
                            NULL);
    config_say_unused(p->config, warn_limit, NULL);
    log_info("the cache holds %s at most", size_text(stats.limit_bytes, limit));
}

static bool open_parts(struct proxy *p, struct err *err)
{
    const struct config *c = p->config;
    const struct gc_options gc = {
        .max_bytes = c->max_size.bytes,
        .max_percent = c->max_size.percent,
        .min_free_bytes = c->min_free.bytes,
        .min_free_percent = c->min_free.percent,
        .high = c->gc_high,
        .low = c->gc_low,
        .grace_ms = c->gc_grace_ms,
        .interval_ms = c->gc_interval_ms,
        .policy = c->gc_lru ? &POLICY_LRU : &POLICY_GDSF,
    };

    p->pool = pool_new("io", IO_THREADS, err);
    p->read_pool = p->pool ? pool_new("read", READ_THREADS, err) : NULL;
    p->admin_pool = p->read_pool ? pool_new("admin", ADMIN_THREADS, err) : NULL;
    p->cache = p->admin_pool ? cache_open(c->cache_path, p->pool, err) : NULL;
    if (!p->cache)
        return p->admin_pool && place_explain(c->cache_path, err);
    p->cred_workers = cred_workers_new(CRED_THREADS, err);
    if (!p->cred_workers)
        return false;
    p->grants = grants_new(c->grant_ttl_ms);
    p->login = login_new(c->login_for);
    p->sites = sites_new(c, p->cred_workers, p->cache);
    p->fetchers = fetchers_new(p->cache, c, c->fetchers, err);
    p->gc = p->fetchers ? gc_new(p->cache, &gc, err) : NULL;
    if (p->gc)
        say_limits(p);
    return p->gc != NULL;
}

static bool start(struct server *s, struct err *err)
{
    static const int stops[] = {SIGTERM, SIGINT};
    struct proxy *p = &s->proxy;
    int n = 0;

    p->started_s = clock_now_s();
    s->loop = loop_new("main", err);
    if (!s->loop || !open_parts(p, err) || !open_listeners(p, err))
        return false;
    for (int i = 0; i < MIN(p->config->workers, (int)WORKERS_MAX); i++)
        if (!start_worker(p, i, err))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(stops); i++)
        s->signals[n++] = evsignal_new(loop_base(s->loop), stops[i], on_stop, s);
    s->signals[n++] = evsignal_new(loop_base(s->loop), SIGHUP, on_reload, s);
    for (int i = 0; i < n; i++)
        event_add(s->signals[i], NULL);
    s->deadline = event_new(loop_base(s->loop), -1, 0, on_deadline, s);
    s->flush = event_new(loop_base(s->loop), -1, EV_PERSIST, on_flush, s);
    event_add(s->flush, &(struct timeval){.tv_sec = FLUSH_S});
    index_on_damage(p->cache->index, on_damage, s);
    atomic_store(&p->ready, true);
    for (int i = 0; i < p->worker_count; i++)
        if (!loop_start(p->workers[i].loop, err))
            return false;
    return true;
}

/* ---- ending ---- */

static void finish(struct server *s)
{
    struct proxy *p = &s->proxy;

    /* Fetch loops first: their waiters are told, so that no answer is owed when the serve loops end. */
    cred_workers_stop(p->cred_workers);
    if (p->fetchers)
        fetchers_stop(p->fetchers);
    for (int i = 0; i < p->worker_count; i++)
        loop_stop(p->workers[i].loop);
    for (int i = 0; i < p->worker_count; i++)
        loop_join(p->workers[i].loop);
    for (int i = 0; i < p->worker_count; i++)
        http_server_free(p->workers[i].http);
    for (int i = 0; i < p->listener_count; i++)
        listener_free(p->listeners[i]);
    if (p->read_pool)
        pool_free(p->read_pool); /* as above: its answers are over */
    gc_stop(p->gc);
    if (p->admin_pool)
        pool_free(p->admin_pool);
    if (p->pool)
        pool_free(p->pool); /* admin jobs end here; their answers find no loop, and are run by loop_join() below */
    gc_free(p->gc);
    for (int i = 0; i < p->worker_count; i++) {
        loop_join(p->workers[i].loop);
        loop_free(p->workers[i].loop);
        metrics_free(p->workers[i].metrics);
    }
    cache_close(p->cache);
    fetchers_free(p->fetchers);
    sites_free(p->sites);
    grants_free(p->grants);
    login_free(p->login);
    cred_workers_free(p->cred_workers);
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    if (s->deadline)
        event_free(s->deadline);
    if (s->flush)
        event_free(s->flush);
    loop_free(s->loop);
}

static void raise_limits(void)
{
    struct rlimit fds;

    if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && fds.rlim_cur < fds.rlim_max) {
        fds.rlim_cur = fds.rlim_max;
        setrlimit(RLIMIT_NOFILE, &fds);
    }
    /* A core file would hold passwords and tokens. The hard limit stays, for who wants one (prlimit(1)). */
    if (getrlimit(RLIMIT_CORE, &fds) == 0) {
        fds.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &fds);
    }
    signal(SIGPIPE, SIG_IGN);
}

bool server_run(const struct config *config, const struct config_overrides *overrides, struct err *err)
{
    struct server *s = xcalloc(1, sizeof(*s));

    raise_limits();
    log_setup(config->log_level, config->log_format);
    s->proxy.config = config;
    s->overrides = overrides;
    bool ok = start(s, err);
    if (ok) {
        log_info("entrepot " ENTREPOT_VERSION " serves on %s with the cache in %s",
                 listener_address(s->proxy.listeners[0]), config->cache_path);
        sd_notify(0, "READY=1");
        loop_run(s->loop);
        log_info("stopped");
        if (s->damaged)
            ok = err_set(err, ERR_CORRUPT, "the index is damaged: start again, and it is made anew");
    }
    finish(s);
    free(s);
    return ok;
}
