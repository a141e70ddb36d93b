/* Manifests by way of the cluster: the home of a tag, or of a manifest, asks its registry for all nodes. What another
 * node does not answer, or answers late, is asked of the next on the way (stripes.h), and at its end of the registry:
 * the fetch does not notice. A digest is checked as ever; a tag is what its home says it is, for as long as that has
 * known it (Age). */
#include "proxy/fetch/private.h"
#include "proxy/fetch/stripes.h"

#include "base/assert.h"
#include "base/log.h"

#include <string.h>

enum { REFUSAL_MAX = 64 << 10, HOME_LACKED_MAX = 1 };

/* One call, which may be of several nodes in turn. */
struct home_call {
    struct peer_view *view;
    struct stripe_map map;
    uint8_t tried;
    int lacked, failed;
    /* the present one */
    char *method, *path, *accept;
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    struct stripe_choice choice;
    struct peer_ask *ask; /* NULL: none is under way */
    bool taken;           /* its answer is passed on */
    size_t refused;       /* bytes of one that is not */
};

static void home_clear_call(struct home_call *h)
{
    free(h->method);
    free(h->path);
    free(h->accept);
    h->method = h->path = h->accept = NULL;
}

void fetch_home_free(struct fetch *f)
{
    struct home_call *h = f->home;

    if (!h)
        return;
    if (h->ask)
        ask_cancel(h->ask);
    home_clear_call(h);
    stripes_clear(&h->map);
    peer_view_unref(h->view);
    free(h);
    f->home = NULL;
}

static struct home_call *home_new(const struct fetch *f)
{
    struct peer_view *v = peers_view(cluster_peers(f->fetcher->all->cluster));
    char text[DIGEST_TEXT_MAX];

    if (v->count < 2) {
        peer_view_unref(v);
        return NULL;
    }
    struct home_call *h = xcalloc(1, sizeof(*h));
    _cleanup_free_ char *key =
        xasprintf("%s %s", f->want.name, f->want.tag[0] ? f->want.tag : digest_format(&f->want.digest, text));
    h->view = v;
    stripes_make(&h->map, v->nodes, v->count, v->self, ring_hash(key, strlen(key)), -1);
    return h;
}

static bool home_rests(void *arg, int node)
{
    const struct home_call *h = arg;

    return peer_is_resting(h->view->list[node]);
}

static void home_next(struct fetch *f);

/* ---- its answer ---- */

static bool is_of_tag(const char *path)
{
    return !strchr(path, ':');
}

static bool home_is_by_tag(const struct home_call *h)
{
    return is_of_tag(h->path);
}

static bool home_is_good(const struct fetch *f, const struct transfer_response *r)
{
    bool by_tag = home_is_by_tag(f->home);

    return r->status == 200 && r->peer[0] && (!by_tag || (r->digest.alg != DIGEST_NONE && r->age >= 0)) &&
           r->age <= (MAX(f->tags.ttl_ms, (int64_t)1) - 1) / 1000 && r->content_length <= MANIFEST_SIZE_MAX;
}

static bool home_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;
    struct home_call *h = f->home;

    h->taken = home_is_good(f, r) && (!home_is_by_tag(h) || ask_is_vouched(h->ask, r));
    return !h->taken || !h->on_head || h->on_head(f, r);
}

static bool home_take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;
    struct home_call *h = f->home;

    if (h->taken)
        return !h->on_data || h->on_data(f, data, len);
    h->refused += len;
    return h->refused <= REFUSAL_MAX;
}

/* What a registry has answered to that node: another one would ask that registry again. */
static bool home_is_final(const struct home_call *h, const struct transfer_response *r, const struct err *err)
{
    return !err && r->status >= 400 && r->status < 500 && r->peer[0] && !strstr(r->peer, "refused=") &&
           h->choice.from == STRIPE_PEER;
}

static void home_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct home_call *h = f->home;

    h->ask = NULL;
    if (!err && h->taken) {
        f->by_node = true;
        f->age_s = home_is_by_tag(h) ? r->age : f->age_s;
        h->on_done(f, r, NULL);
        return;
    }
    log_debug("%s: the node %s did not have it: status %d, %s", f->key, h->view->list[h->choice.node]->who.address,
              r->status, err ? err->msg : "");
    h->tried = home_is_final(h, r, err) ? UINT8_MAX : (uint8_t)MAX(h->tried, h->choice.place + 1);
    h->lacked += h->choice.from == STRIPE_HAVE;
    h->failed += err != NULL;
    home_next(f);
}

/* ---- asking ---- */

static void home_ask(struct fetch *f)
{
    struct home_call *h = f->home;
    const struct client *c = f->want.is_private ? f->want.client : NULL;
    const struct ask ask = {
        .peer = h->view->list[h->choice.node],
        .engine = f->fetcher->engine,
        .loop = f->fetcher->loop,
        .method = h->method,
        .registry = f->want.site->host,
        .path = f->want.path,
        .object = h->path,
        .accept = h->accept,
        .authorization = c ? c->authorization : NULL,
        .identity = c && client_is_for(c, f->want.site) ? &c->id : NULL,
        .range_first = -1,
        .hops = h->choice.from == STRIPE_HAVE ? ASK_HOPS_MAX : h->choice.hops,
        .have = h->choice.from == STRIPE_HAVE,
        .hurry = h->failed > 0,
        .on_head = home_take_head,
        .on_data = home_take_data,
        .on_done = home_take_end,
        .arg = f,
    };

    h->taken = false;
    h->refused = 0;
    h->ask = ask_start(f->fetcher->all->cluster, &ask);
}

static void home_next(struct fetch *f)
{
    struct home_call *h = f->home;
    const struct stripe_now now = {
        .hops = f->want.hops, .tried = h->tried, .have = h->lacked < HOME_LACKED_MAX, .rests = home_rests, .arg = h};

    buf_clear(&f->received);
    f->by_node = false;
    f->age_s = home_is_by_tag(h) ? 0 : f->age_s;
    h->choice = stripes_choose(&h->map, &now);
    if (h->choice.from == STRIPE_REGISTRY)
        fetch_call_registry(f, h->method, h->path, h->accept, h->on_head, h->on_data, h->on_done);
    else
        home_ask(f);
}

bool fetch_has_home(const struct fetch *f)
{
    struct cluster *c = f->fetcher->all->cluster;

    if (!c || !cluster_asks(c, TIER_PEERS) || f->no_nodes || (f->want.is_private && !cluster_is_encrypted(c)))
        return false;
    struct peer_view *v = peers_view(cluster_peers(c));
    bool others = v->count > 1;
    peer_view_unref(v);
    return others;
}

static bool fetch_ask_home(struct fetch *f, const char *method, const char *path, const char *accept,
                           bool (*on_head)(void *arg, const struct transfer_response *r),
                           bool (*on_data)(void *arg, const void *data, size_t len),
                           void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err))
{
    bool by_tag = is_of_tag(path);

    ON_LOOP(f->fetcher->loop);
    f->by_node = false;
    if ((f->want.kind != FETCH_MANIFEST && f->want.kind != FETCH_MANIFEST_HEAD) ||
        (by_tag && f->want.force && !f->want.refresh) || !fetch_has_home(f))
        return false;
    if (!f->home && !(f->home = home_new(f)))
        return false;
    struct home_call *h = f->home;
    home_clear_call(h);
    h->method = xstrdup(method);
    h->path = xstrdup(path);
    h->accept = accept ? xstrdup(accept) : NULL;
    h->on_head = on_head;
    h->on_data = on_data;
    h->on_done = on_done;
    home_next(f);
    return true;
}

bool fetch_leave_home(struct fetch *f, int hops)
{
    struct home_call *h = f->home;

    ON_LOOP(f->fetcher->loop);
    f->want.hops = MAX(f->want.hops, hops);
    if (!h || !h->ask || h->choice.from != STRIPE_PEER || h->choice.hops > hops)
        return false;
    ask_cancel(h->ask);
    h->ask = NULL;
    home_next(f);
    return true;
}

bool fetch_is_calling(const struct fetch *f)
{
    return f->call || (f->home && f->home->ask);
}

void fetch_cancel_call(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    if (f->call)
        upstream_cancel(f->call);
    if (f->home && f->home->ask)
        ask_cancel(f->home->ask);
    f->call = NULL;
    if (f->home)
        f->home->ask = NULL;
}

void fetch_call(struct fetch *f, const char *method, const char *path, const char *accept,
                bool (*on_head)(void *arg, const struct transfer_response *r),
                bool (*on_data)(void *arg, const void *data, size_t len),
                void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err))
{
    if (!fetch_ask_home(f, method, path, accept, on_head, on_data, on_done))
        fetch_call_registry(f, method, path, accept, on_head, on_data, on_done);
}
