/* Which page a request is for. */
#include "proxy/pages.h"
#include "proxy/registry/handlers.h"
#include "proxy/registry/peer.h"
#include "proxy/registry/policy.h"
#include "proxy/private.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/visible.h"

#include <string.h>
#include <time.h>

static void answer_metrics(struct serve_loop *sl, struct http_request *req)
{
    _cleanup_buf_ struct buf page = {0};

    metrics_print(sl->proxy, &page);
    http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", page.data, page.len);
}

/* The daemon's own pages are on the metrics listener if there is one, else on every listener. */
static bool has_own_pages(const struct serve_loop *sl, const struct http_request *req)
{
    return !sl->metrics_listener || sl->metrics_listener == http_listener(req);
}

/* What is in the cache, and who pulls it, is for this node: a web page must not get at it by a name of its own. */
static bool is_for_node(enum route_kind kind)
{
    return kind == ROUTE_CATALOG || kind == ROUTE_METRICS || kind == ROUTE_PAGE || kind == ROUTE_FIGURES ||
           kind == ROUTE_EVENTS;
}

static bool may_see(const struct serve_loop *sl, const struct http_request *req, enum route_kind kind)
{
    return !is_for_node(kind) || !listener_is_loopback(http_listener(req)) ||
           pages_is_our_host(sl->config, http_host(req));
}

static void add_ready_line(void *arg, const struct problem *p)
{
    _cleanup_free_ char *title = problem_title(p);
    char since[32] = "";
    time_t at = (time_t)p->since_s;
    struct tm tm;

    if (p->since_s > 0)
        strftime(since, sizeof(since), ", since %Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
    _cleanup_free_ char *line = xasprintf("%s%s: %s", title, since, p->why), *visible = visible_line(line);
    buf_addf(arg, "%s\n", visible);
}

/* A problem is no reason to send clients elsewhere: what is cached is served. Lines say what there is, to those who may
 * see metrics. */
static void answer_ready(struct serve_loop *sl, struct http_request *req)
{
    _cleanup_buf_ struct buf text = {0};
    bool ready = atomic_load(&sl->proxy->ready);

    buf_adds(&text, ready ? "ready\n" : "stopping\n");
    if (ready && may_see(sl, req, ROUTE_METRICS))
        health_each(sl->proxy, add_ready_line, &text);
    http_reply(req, ready ? 200 : 503, "text/plain; charset=utf-8", text.data, text.len);
}

static void answer_own_page(struct serve_loop *sl, struct http_request *req, enum route_kind kind)
{
    if (kind == ROUTE_METRICS)
        answer_metrics(sl, req);
    else if (kind == ROUTE_HEALTH)
        http_reply(req, 200, "text/plain", "ok\n", 3);
    else if (kind == ROUTE_READY)
        answer_ready(sl, req);
    else if (kind == ROUTE_PAGE)
        status_page_answer(sl->proxy->page, req);
    else if (kind == ROUTE_FIGURES)
        status_page_answer_json(sl->proxy->page, req);
    else if (kind == ROUTE_EVENTS)
        status_page_answer_events(sl->proxy->page, req);
    else
        http_error(req, 404, "UNSUPPORTED", "no such page");
}

/* By its route, which it does not release. */
static void answer_page(struct serve_loop *sl, struct http_request *req, const struct route *r)
{
    static void (*const pages[])(struct registry * reg, struct http_request * req, const struct route *r) = {
        [ROUTE_BASE] = handle_base,       [ROUTE_TOKEN] = handle_token, [ROUTE_MANIFEST] = handle_manifest,
        [ROUTE_BLOB] = handle_blob,       [ROUTE_TAGS] = handle_tags,   [ROUTE_REFERRERS] = handle_referrers,
        [ROUTE_CATALOG] = handle_catalog,
    };

    if (r->site && note_of(req)->hops > 0) { /* another node: its clients are not this one's */
        if (!policy_admit(&sl->registry, req, r))
            return;
    } else if (r->site) {
        seen_note(&sl->proxy->seen, http_header(req, "user-agent"));
        note_of(req)->detail = seen_detail_new(r->name, r->path, r->tag, &r->digest);
        record_begin(sl, req, r->kind == ROUTE_BLOB);
        if (!policy_admit(&sl->registry, req, r))
            return;
    }
    if ((size_t)r->kind < ARRAY_LEN(pages) && pages[r->kind])
        pages[r->kind](&sl->registry, req, r);
    else
        answer_own_page(sl, req, r->kind);
}

void server_on_request(void *arg, struct http_request *req)
{
    struct serve_loop *sl = arg;
    struct route_error error;
    struct route r;

    ON_LOOP(sl->loop);
    if (http_listener(req) == sl->proxy->admin_listener) {
        admin_handle(&sl->proxy->admin, req);
        return;
    }
    bool node = sl->cluster_listener && http_listener(req) == sl->cluster_listener;
    if (node && (!peer_admit(&sl->registry, req) || peer_answer_life(&sl->registry, req)))
        return;
    if (!node && interception_take(sl, req, answer_page))
        return;
    if (http_method(req) != HTTP_METHOD_GET && http_method(req) != HTTP_METHOD_HEAD) {
        http_reply_header(req, "Allow", "GET, HEAD");
        http_error(req, 405, "UNSUPPORTED", "%s: this is a cache, push to the registry itself", http_method_name(req));
        return;
    }
    if (!route_parse(&r, req, &sl->view, listener_label(http_listener(req)), &error)) {
        if (error.status == 404 && strcmp(error.code, "NAME_UNKNOWN") == 0)
            log_limited(LOG_LEVEL_INFO, "unknown", "%s %s: %s; add it under upstreams if it should be one",
                        http_method_name(req), http_path(req), error.message);
        if (error.retry_after > 0)
            http_reply_header(req, "Retry-After", "%d", error.retry_after);
        http_error(req, error.status, error.code, "%s", error.message);
        return;
    }
    note_of(req)->site = r.site ? site_ref(r.site) : NULL;
    bool own = r.kind >= ROUTE_METRICS;
    bool for_node = r.kind == ROUTE_MANIFEST || r.kind == ROUTE_BLOB;
    if ((own && !has_own_pages(sl, req)) || (!own && sl->metrics_listener == http_listener(req)) || (node && !for_node))
        http_error(req, 404, "UNSUPPORTED", "no such page on this listener");
    else if (!may_see(sl, req, r.kind))
        http_error(
            req, 403, "DENIED",
            "this page is for this node alone, and \"%.200s\" is not known as a name of it: use an address, or add "
            "the name to clients.hosts",
            http_host(req));
    else
        answer_page(sl, req, &r);
    site_unref(r.site); /* the request may have completed and released its own reference */
}

void server_on_complete(void *arg, struct http_request *req)
{
    struct serve_loop *sl = arg;
    const struct site *site = note_of(req)->site;

    ON_LOOP(sl->loop);
    if (site)
        note_of(req)->upstream = (uint16_t)site->group;
    if (note_of(req)->hops == 0) /* other nodes count for their own clients */
        metrics_count(sl->metrics, req);
    if (sl->proxy->cluster)
        peer_note_sent(&sl->registry, req);
    record_end(sl, req);
    log_debug("%s %s %d %lld bytes %lld us", http_method_name(req), http_path(req), http_status(req),
              (long long)http_sent(req), (long long)http_micros(req));
    seen_detail_free(note_of(req)->detail);
    note_of(req)->detail = NULL;
    note_of(req)->site = NULL;
    site_unref(site);
}
