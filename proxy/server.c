#include "proxy/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/handlers.h"
#include "proxy/limits.h"
#include "proxy/pages.h"
#include "proxy/server_private.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { DRAIN_S = 30, FLUSH_S = 5 };

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

static bool may_see(const struct worker *w, const struct http_request *req, enum route_kind kind)
{
    return (kind != ROUTE_METRICS && kind != ROUTE_CATALOG) || !listener_is_loopback(http_listener(req)) ||
           pages_is_our_host(w->proxy->config, http_host(req));
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

void server_on_request(void *arg, struct http_request *req)
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
        if (error.retry_after > 0)
            http_reply_header(req, "Retry-After", "%d", error.retry_after);
        http_error(req, error.status, error.code, "%s", error.message);
        return;
    }
    http_note(req)->site = r.site ? site_ref(r.site) : NULL;
    bool own = r.kind >= ROUTE_METRICS;
    if ((own && !has_own_pages(w, req)) || (!own && w->proxy->metrics_listener == http_listener(req)))
        http_error(req, 404, "UNSUPPORTED", "no such page on this listener");
    else if (!may_see(w, req, r.kind))
        http_error(
            req, 403, "DENIED",
            "this page is for this node alone, and \"%.200s\" is not known as a name of it: ask by address, or add "
            "the name to clients.hosts",
            http_host(req));
    else
        answer_page(w, req, &r);
    site_unref(r.site); /* the request may be complete by now, and have given back its own */
}

void server_on_complete(void *arg, struct http_request *req)
{
    struct worker *w = arg;
    const struct site *site = http_note(req)->site;

    if (site)
        http_note(req)->upstream = (uint16_t)site->group;
    metrics_count(w->metrics, req);
    log_debug("%s %s %d %lld bytes %lld us", http_method_name(req), http_path(req), http_status(req),
              (long long)http_sent(req), (long long)http_micros(req));
    http_note(req)->site = NULL;
    site_unref(site);
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

void server_on_damage(void *arg)
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
    if (s->stopping) /* also of damage that is found while we stop */
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

    log_tell_left_out(false);
    limits_give_back_memory();
    use_flush(s->proxy.cache->use, s->proxy.cache->index, NULL, NULL, NULL);
}

void server_add_events(struct server *s)
{
    static const int stops[] = {SIGTERM, SIGINT};
    struct event_base *base = loop_base(s->loop);
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(stops); i++)
        s->signals[n++] = evsignal_new(base, stops[i], on_stop, s);
    s->signals[n++] = evsignal_new(base, SIGHUP, on_reload, s);
    for (int i = 0; i < n; i++)
        event_add(s->signals[i], NULL);
    s->deadline = event_new(base, -1, 0, on_deadline, s);
    s->flush = event_new(base, -1, EV_PERSIST, on_flush, s);
    event_add(s->flush, &(struct timeval){.tv_sec = FLUSH_S});
}

void server_free_events(struct server *s)
{
    struct event *const others[] = {s->deadline, s->flush};
    sigset_t stops;

    /* Without these events a signal would end the process as it does by default, in its last moment; there is no other
     * thread by now. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGHUP);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i])
            event_free(others[i]);
}

bool server_run(const struct config *config, const struct config_overrides *overrides, struct err *err)
{
    struct server *s = xcalloc(1, sizeof(*s));

    limits_raise();
    log_setup(config->log_level, config->log_format);
    s->proxy.config = config;
    s->overrides = overrides;
    s->proxy.started_s = clock_now_s();
    bool ok = stages_start(s, err);
    if (ok) {
        log_info("entrepot " ENTREPOT_VERSION " serves on %s with the cache in %s",
                 listener_address(s->proxy.listeners[0]), config->cache_path);
        sd_notify(0, "READY=1");
        loop_run(s->loop);
        log_tell_left_out(true);
    }
    stages_stop(s);
    if (ok)
        log_info("stopped");
    if (ok && s->damaged)
        ok = err_set(err, ERR_CORRUPT, "the index is damaged: start again, and it is rebuilt");
    free(s);
    return ok;
}
