/* `status`: what the daemon does and has done. */
#include "proxy/admin/pages.h"
#include "proxy/seen/engines.h"

#include "base/clock.h"
#include "base/visible.h"
#include "gc/gc.h"

static json_t *number_or_null(int64_t n)
{
    return n >= 0 ? json_integer(n) : json_null();
}

static void add_limit(void *arg, const struct budget_info *b)
{
    json_t *j = json_pack("{s:o, s:i, s:I, s:s}", "identity", visible_json(b->who), "endpoint", b->endpoint,
                          "held_seconds", (json_int_t)((b->held_ms + 999) / 1000), "source", b->source);

    json_object_set_new(j, "limit", number_or_null(b->limit));
    json_object_set_new(j, "remaining", number_or_null(b->remaining));
    json_object_set_new(j, "window_seconds", number_or_null(b->window_s));
    if (b->node[0])
        json_object_set_new(j, "node", visible_json(b->node));
    json_array_append_new(arg, j);
}

static json_t *list_upstreams(struct admin *a, uint64_t *received)
{
    _cleanup_sites_ struct site_list sites;
    json_t *list = json_array();
    struct upstream_stats st;

    sites_list(a->puller.sites, &sites);
    for (int i = 0; i < sites.count; i++) {
        const struct site *s = sites.list[i];
        upstream_get_stats(s->upstream, &st);
        *received += st.received_bytes;
        json_t *u = json_pack("{s:s, s:o, s:I, s:i}", "name", s->host, "up",
                              st.requests > 0 ? json_boolean(st.up) : json_null(), "requests", (json_int_t)st.requests,
                              "connections", st.connections);
        json_object_set_new(u, "ratelimit_remaining", number_or_null(st.ratelimit_remaining));
        json_object_set_new(u, "ratelimit_limit", number_or_null(st.ratelimit_limit));
        json_object_set_new(u, "held_seconds", json_integer((st.limited_ms + 999) / 1000));
        json_object_set_new(u, "credentials_refused", json_boolean(st.login_is_refused));
        json_t *limits = json_array();
        upstream_each_budget(s->upstream, add_limit, limits);
        json_object_set_new(u, "limits", limits);
        json_array_append_new(list, u);
    }
    return list;
}

static void status_add_problem(void *list, const struct problem *p)
{
    json_array_append_new(list, problem_json(p));
}

/* Of what was sent, where it came from; but from_upstream is what was received. */
static json_t *status_bytes(const struct admin_figures *f, uint64_t received)
{
    uint64_t sent = f->from_cache + f->from_peers + f->from_shared + f->from_upstream;

    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)sent, "from_cache", (json_int_t)f->from_cache,
                     "from_peers", (json_int_t)f->from_peers, "from_shared", (json_int_t)f->from_shared,
                     "from_upstream", (json_int_t)received);
}

void admin_status(struct admin_job *job)
{
    struct admin *a = job->admin;
    struct cache *cache = a->puller.cache;
    struct admin_figures f;
    struct totals totals;
    struct gc_stats g;

    a->figures(a->arg, &f);
    uint64_t received = f.gone_received;
    json_t *transfers = admin_transfers(a), *upstreams = list_upstreams(a, &received), *problems = json_array();
    a->problems(a->arg, status_add_problem, problems);
    cache_totals(cache, &totals);
    gc_get_stats(a->puller.gc, &g);
    job->answer = json_pack("{s:s, s:I, s:b, s:{s:I, s:I}, s:o, s:{s:o, s:I, s:I, s:I, s:I, s:I}, s:i, s:i, s:o, s:o}",
                            "version", ENTREPOT_VERSION, "uptime_seconds", (json_int_t)(clock_now_s() - a->started_s),
                            "offline", fetchers_is_offline(a->puller.fetchers), "requests", "total",
                            (json_int_t)f.requests, "hits", (json_int_t)f.hits, "bytes", status_bytes(&f, received),
                            "cache", "path", visible_json(a->config->cache_path), "bytes", (json_int_t)totals.bytes,
                            "limit_bytes", (json_int_t)g.limit_bytes, "blobs", (json_int_t)totals.blobs, "manifests",
                            (json_int_t)totals.manifests, "blob_max_bytes", (json_int_t)g.blob_max, "ingests",
                            ingests_count(cache_ingests(cache)), "connections", f.connections, "upstreams", upstreams,
                            "transfers", transfers);
    json_object_set_new(job->answer, "problems", problems);
    json_object_set_new(job->answer, "engines", seen_json(a->seen));
    if (a->last_reload)
        json_object_set_new(job->answer, "reload", a->last_reload(a->arg));
    json_object_set_new(job->answer, "certificates", a->certificates(a->arg));
}
