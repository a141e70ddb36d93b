/* What the page shows, as JSON. */
#include "proxy/page/private.h"

#include "base/clock.h"
#include "base/visible.h"
#include "gc/gc.h"
#include "proxy/admin/image_page.h"
#include "proxy/admin/image_describe.h"
#include "proxy/admin/pages.h"
#include "proxy/seen/pull_print.h"

#include <string.h>

static json_t *known_or_null(int64_t n)
{
    return n >= 0 ? json_integer(n) : json_null();
}

/* ---- pulls and downloads ---- */

struct pull_list {
    struct cache *cache;
    json_t *list;
};

/* Who may not read a private repository may not learn its name here, nor its digests, nor from an error's words. */
static json_t *pull_for_page(const struct pull_list *l, const struct pull_seen *s)
{
    _cleanup_buf_ struct buf image = {0};
    bool is_shown = cache_is_public(l->cache, s->name); /* not what nobody has been able to pull, either */

    if (is_shown)
        pull_print_image(&image, s);
    json_t *j = json_pack(
        "{s:b, s:o, s:o, s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:i, s:i, s:I}", "private", !is_shown, "image",
        is_shown ? visible_json(image.data) : json_null(), "client", visible_json(s->client), "engine",
        seen_engine_name(s->engine), "platform", s->platform, "result", pulled_result_name(s->result), "ended",
        (json_int_t)(s->ended_ms / 1000), "seconds", (double)(s->ended_ms - s->begun_ms) / 1000, "from_cache",
        (json_int_t)s->from[PULL_FROM_CACHE], "from_peers", (json_int_t)s->from[PULL_FROM_PEERS], "from_shared",
        (json_int_t)s->from[PULL_FROM_SHARED], "from_upstream", (json_int_t)s->from[PULL_FROM_UPSTREAM], "blobs",
        s->blobs, "blobs_done", s->blobs_done, "size", (json_int_t)s->size);

    json_object_set_new(j, "cause", s->cause && is_shown ? visible_json(s->cause) : json_null());
    return j;
}

static void add_pull(void *arg, const struct pull_seen *s)
{
    const struct pull_list *l = arg;

    json_array_append_new(l->list, pull_for_page(l, s));
}

/* Those that ended come in the order of their ends; the page has the latest first. */
static void add_recent(void *arg, const struct pull_seen *s)
{
    const struct pull_list *l = arg;

    json_array_insert_new(l->list, 0, pull_for_page(l, s));
    if (json_array_size(l->list) > PAGE_RECENT)
        json_array_remove(l->list, PAGE_RECENT);
}

static void add_transfer(void *list, const struct ingest_info *i)
{
    char text[DIGEST_TEXT_MAX];

    json_array_append_new(list, json_pack("{s:s, s:o, s:I, s:i}", "digest",
                                          i->is_public ? digest_format(&i->digest, text) : "(private)", "size",
                                          known_or_null(i->size), "received", (json_int_t)i->received, "followers",
                                          i->followers));
}

/* ---- registries ---- */

/* The limit with the least left; whose it is has no place here. */
static void note_limit(void *arg, const struct budget_info *b)
{
    json_t *u = arg;
    const json_t *before = json_object_get(u, "remaining");

    if (b->limit < 0 || b->remaining < 0 || (before && json_integer_value(before) <= b->remaining))
        return;
    json_object_set_new(u, "limit", json_integer(b->limit));
    json_object_set_new(u, "remaining", json_integer(b->remaining));
    json_object_set_new(u, "reset", json_integer(b->remaining < b->limit ? b->window_s : 0));
}

/* The first is what matters most; the list of problems has them all. */
static void note_trouble_for_page(void *arg, const struct upstream_trouble *t)
{
    json_t *u = arg;

    if (json_object_get(u, "why"))
        return;
    json_object_set_new(u, "why", visible_json(t->why));
    if (t->since_ms > 0)
        json_object_set_new(u, "since", json_integer(clock_wall_s(t->since_ms)));
}

/* Of hosts that a client has named, those that were asked for something. */
static json_t *upstream_for_page(const struct site *s, uint64_t *received)
{
    struct upstream_stats st;

    upstream_get_stats(s->upstream, &st);
    *received += st.received_bytes;
    if (st.requests == 0 && s->lent)
        return NULL;
    json_t *u =
        json_pack("{s:s, s:s, s:I, s:I}", "name", s->host, "state",
                  st.requests == 0 ? "unknown"
                  : st.up          ? "up"
                                   : "down",
                  "held", (json_int_t)((st.limited_ms + 999) / 1000), "received", (json_int_t)st.received_bytes);
    upstream_each_trouble(s->upstream, note_trouble_for_page, u);
    upstream_each_budget(s->upstream, note_limit, u);
    return u;
}

/* Their hosts are in /metrics, too. */
static json_t *upstreams_for_page(const struct page_view *v)
{
    _cleanup_sites_ struct site_list sites;
    json_t *list = json_array(), *u;
    uint64_t received = 0;

    sites_list(v->admin->puller.sites, &sites);
    for (int i = 0; i < sites.count; i++) {
        u = sites.list[i]->upstream ? upstream_for_page(sites.list[i], &received) : NULL;
        if (u)
            json_array_append_new(list, u);
    }
    return list;
}

/* ---- the rest ---- */

static void add_problem(void *list, const struct problem *p)
{
    json_array_append_new(list, problem_json(p));
}

static json_t *cache_for_page(const struct page_view *v)
{
    const struct config *c = v->admin->config;
    struct config_disk disk = {-1, -1, -1};
    struct totals totals;
    struct gc_stats g;

    cache_totals(v->admin->puller.cache, &totals);
    gc_get_stats(v->admin->puller.gc, &g);
    config_look_at_disk(c->cache_path, &disk);
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I}", "bytes", (json_int_t)totals.bytes, "limit",
                     (json_int_t)g.limit_bytes, "blobs", (json_int_t)totals.blobs, "manifests",
                     (json_int_t)totals.manifests, "high", g.high / 100, "low", g.low / 100, "disk_size",
                     (json_int_t)disk.total, "disk_free", (json_int_t)disk.available);
}

void figures_sums(const struct page_view *v, struct history_sums *out)
{
    _cleanup_sites_ struct site_list sites;
    struct admin_figures f;
    struct upstream_stats st;

    v->admin->figures(v->admin->arg, &f);
    *out = (struct history_sums){
        .requests = f.requests,
        .hits = f.hits,
        .from_cache = f.from_cache,
        .from_peers = f.from_peers,
        .from_shared = f.from_shared,
        .from_upstream = f.from_upstream,
        .fetched = f.gone_received,
    };
    sites_list(v->admin->puller.sites, &sites);
    for (int i = 0; i < sites.count; i++) {
        if (!sites.list[i]->upstream)
            continue;
        upstream_get_stats(sites.list[i]->upstream, &st);
        out->fetched += st.received_bytes;
    }
}

json_t *figures_json(const struct page_view *v, const struct history *h)
{
    json_t *pulls = json_array(), *recent = json_array(), *transfers = json_array(), *problems = json_array();
    struct admin_figures f;

    v->admin->figures(v->admin->arg, &f);
    pulls_each(v->pulls, add_pull, &(struct pull_list){v->admin->puller.cache, pulls});
    pulls_since(v->pulls, 0, 0, PULLS_KEPT, add_recent, &(struct pull_list){v->admin->puller.cache, recent});
    ingests_each(cache_ingests(v->admin->puller.cache), add_transfer, transfers);
    v->admin->problems(v->admin->arg, add_problem, problems);
    return json_pack("{s:s, s:I, s:I, s:b, s:i, s:o, s:{s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
                     ENTREPOT_VERSION, "now", (json_int_t)clock_now_s(), "uptime_seconds",
                     (json_int_t)(clock_now_s() - v->admin->started_s), "offline",
                     fetchers_is_offline(v->admin->puller.fetchers), "connections", f.connections, "cache",
                     cache_for_page(v), "history", "hour", history_json(&h->hour), "day", history_json(&h->day),
                     "pulls", pulls, "transfers", transfers, "recent", recent, "upstreams", upstreams_for_page(v),
                     "problems", problems, "cluster", admin_cluster(v->admin, PAGE_PEERS_MAX));
}

/* ---- images ---- */

static json_t *image_for_page(struct cache *c, struct cached_image *i)
{
    json_t *row = image_describe(c, i);
    json_t *j = json_pack("{s:O, s:O, s:O, s:O, s:O}", "reference", json_object_get(row, "reference"), "size",
                          json_object_get(row, "size"), "shared", json_object_get(row, "shared_size"), "last_used",
                          json_object_get(row, "last_used"), "pinned", json_object_get(row, "pinned"));

    json_decref(row);
    return j;
}

json_t *figures_images(const struct page_view *v, int *private_images)
{
    struct cache *c = v->admin->puller.cache;
    struct image_page *page = image_page_new("", "", NULL);
    json_t *list = json_array();

    *private_images = 0;
    do {
        image_page_read(c, page);
        for (size_t i = 0; page->read && i < page->count; i++)
            if (page->list[i].is_private)
                ++*private_images;
            else if (json_array_size(list) < PAGE_IMAGES_MAX)
                json_array_append_new(list, image_for_page(c, &page->list[i]));
    } while (page->read && page->more && json_array_size(list) < PAGE_IMAGES_MAX);
    image_page_free(page);
    return list;
}
