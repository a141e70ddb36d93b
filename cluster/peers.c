#include "cluster/peers.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct peers {
    struct member self;
    pthread_mutex_t lock;
    struct peer_view *view; /* under lock */
    struct peer **gone;     /* not in the view any more: still in use, or not summed up yet; under lock */
    int gone_count;
    uint64_t gone_received, gone_sent; /* of those that are summed up; under lock */
    struct peers_source source;        /* under lock */
};

struct peer *peer_ref(struct peer *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void peer_unref(struct peer *p)
{
    if (p && atomic_fetch_sub(&p->refs, 1) == 1)
        free(p);
}

static struct peer *peer_new(const struct member *who, bool is_self)
{
    struct peer *p = xcalloc(1, sizeof(*p));

    p->who = *who;
    p->is_self = is_self;
    atomic_init(&p->refs, 1);
    return p;
}

struct peer_view *peer_view_ref(struct peer_view *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void peer_view_unref(struct peer_view *v)
{
    if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
        return;
    for (int i = 0; i < v->count; i++)
        peer_unref(v->list[i]);
    free(v->list);
    free(v->nodes);
    free(v);
}

static int compare_addresses(const void *key, const void *entry)
{
    const struct peer *const *p = entry;

    return strcmp(key, (*p)->who.address);
}

struct peer *peer_view_find(const struct peer_view *v, const char *address)
{
    struct peer **found = bsearch(address, v->list, (size_t)v->count, sizeof(*v->list), compare_addresses);

    return found ? *found : NULL;
}

static int compare_members(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->address, ((const struct member *)b)->address);
}

/* The same number for the same zone. */
static int zone_number(const char *zone)
{
    return (int)(ring_hash(zone, strlen(zone)) & INT_MAX);
}

/* The peer of the old view, if the node still says the same of itself. */
static struct peer *keep_peer(const struct peer_view *old, const struct member *who, bool is_self)
{
    struct peer *p = old ? peer_view_find(old, who->address) : NULL;

    if (p && strcmp(p->who.zone, who->zone) == 0 && strcmp(p->who.version, who->version) == 0 &&
        p->who.since_s == who->since_s)
        return peer_ref(p);
    return peer_new(who, is_self);
}

/* `list` is in order. */
static struct peer_view *make_view(const struct peers *all, const struct peer_view *old, const struct member *list,
                                   int count)
{
    struct peer_view *v = xcalloc(1, sizeof(*v));

    atomic_init(&v->refs, 1);
    v->list = xcalloc((size_t)count, sizeof(struct peer *));
    v->nodes = xcalloc((size_t)count, sizeof(*v->nodes));
    for (int i = 0; i < count; i++) {
        if (i > 0 && strcmp(list[i].address, list[i - 1].address) == 0)
            continue;
        bool is_self = strcmp(list[i].address, all->self.address) == 0;
        int n = v->count++;
        v->list[n] = keep_peer(old, is_self ? &all->self : &list[i], is_self);
        v->nodes[n] = (struct ring_node){.key = ring_hash(list[i].address, strlen(list[i].address))};
        v->nodes[n].zone = zone_number(v->list[n]->who.zone);
        if (is_self)
            v->self = n;
    }
    return v;
}

/* ---- bytes, also of those that have left ---- */

static void peers_note_gone(struct peers *all, const struct peer_view *old)
{
    int room = all->gone_count + old->count;

    HOLDS(&all->lock);
    all->gone = xrealloc(all->gone, (size_t)room * sizeof(struct peer *));
    for (int i = 0; i < old->count; i++)
        if (peer_view_find(all->view, old->list[i]->who.address) != old->list[i])
            all->gone[all->gone_count++] = peer_ref(old->list[i]);
}

/* Those whose figures cannot change any more. */
static void peers_settle(struct peers *all)
{
    int left = 0;

    HOLDS(&all->lock);
    for (int i = 0; i < all->gone_count; i++) {
        struct peer *p = all->gone[i];
        if (atomic_load(&p->refs) > 1) {
            all->gone[left++] = p;
            continue;
        }
        all->gone_received += atomic_load(&p->received);
        all->gone_sent += atomic_load(&p->sent);
        peer_unref(p);
    }
    all->gone_count = left;
}

void peers_sum(struct peers *all, uint64_t *received, uint64_t *sent)
{
    pthread_mutex_lock(&all->lock);
    peers_settle(all);
    *received = all->gone_received;
    *sent = all->gone_sent;
    for (int i = 0; i < all->gone_count + all->view->count; i++) {
        const struct peer *p = i < all->gone_count ? all->gone[i] : all->view->list[i - all->gone_count];
        *received += atomic_load(&p->received);
        *sent += atomic_load(&p->sent);
    }
    pthread_mutex_unlock(&all->lock);
}

/* ---- who comes and who leaves ---- */

enum { PEERS_NAMED = 3 }; /* in a line of the log */

/* Those in `of` that are not in `than`: a few of them, and how many more. False: there are none. */
static bool peers_name_new(const struct peer_view *of, const struct peer_view *than, const char *verb, struct buf *out)
{
    int count = 0;

    for (int i = 0; i < of->count; i++)
        if (!peer_view_find(than, of->list[i]->who.address) && count++ < PEERS_NAMED)
            buf_addf(out, "%s%s", count > 1 ? ", " : out->len > 0 ? "; " : "", of->list[i]->who.address);
    if (count > PEERS_NAMED)
        buf_addf(out, " and %d more", count - PEERS_NAMED);
    if (count > 0)
        buf_addf(out, count == 1 ? " has %s" : " have %s", verb);
    return count > 0;
}

static void peers_log_change(const struct peer_view *old, const struct peer_view *now)
{
    _cleanup_buf_ struct buf who = {0};
    bool came = peers_name_new(now, old, "come", &who), left = peers_name_new(old, now, "left", &who);

    if (came || left)
        log_info("the cluster has %d node%s: %s", now->count, now->count == 1 ? "" : "s", who.data);
}

void peers_set(struct peers *all, const struct member *list, int count)
{
    _cleanup_free_ struct member *sorted = xcalloc((size_t)count + 1, sizeof(*sorted));

    count = MIN(count, (int)PEERS_MAX - 1);
    if (count > 0)
        memcpy(sorted, list, (size_t)count * sizeof(*sorted));
    sorted[count] = all->self;
    qsort(sorted, (size_t)count + 1, sizeof(*sorted), compare_members);
    pthread_mutex_lock(&all->lock);
    struct peer_view *old = all->view;
    all->view = make_view(all, old, sorted, count + 1);
    if (old)
        peers_note_gone(all, old);
    peers_settle(all);
    struct peer_view *now = peer_view_ref(all->view);
    pthread_mutex_unlock(&all->lock);
    if (old)
        peers_log_change(old, now);
    peer_view_unref(now);
    peer_view_unref(old);
}

struct peers *peers_new(const struct member *self)
{
    struct peers *all = xcalloc(1, sizeof(*all));

    all->self = *self;
    pthread_mutex_init(&all->lock, NULL);
    peers_set(all, NULL, 0);
    return all;
}

void peers_free(struct peers *all)
{
    if (!all)
        return;
    peer_view_unref(all->view);
    for (int i = 0; i < all->gone_count; i++)
        peer_unref(all->gone[i]);
    free(all->gone);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

struct peer_view *peers_view(struct peers *all)
{
    pthread_mutex_lock(&all->lock);
    struct peer_view *v = peer_view_ref(all->view);
    pthread_mutex_unlock(&all->lock);
    return v;
}

bool peers_has_others(struct peers *all)
{
    pthread_mutex_lock(&all->lock);
    bool others = all->view->count > 1;
    pthread_mutex_unlock(&all->lock);
    return others;
}

/* ---- how they do ---- */

static void peer_rest(struct peer *p, int64_t ms, const char *why)
{
    atomic_store(&p->failed_ms, clock_mono_ms());
    atomic_store(&p->why, why);
    atomic_store(&p->resting_until_ms, clock_mono_ms() + ms);
}

void peer_note_failure(struct peer *p, const char *why)
{
    int shift;

    atomic_fetch_add(&p->failed, 1);
    if (peer_is_resting(p)) /* of the same moment */
        return;
    shift = MIN(atomic_fetch_add(&p->failures, 1), 5);
    peer_rest(p, MIN((int64_t)PEER_REST_MS << shift, (int64_t)PEER_REST_MAX_MS), why);
    log_limited_about(LOG_LEVEL_INFO, "peer", p->who.address, "the node %s is passed over for a while: %s",
                      p->who.address, why);
}

void peer_note_refusal(struct peer *p, const char *why)
{
    atomic_fetch_add(&p->refused, 1);
    if (peer_is_resting(p))
        return;
    peer_rest(p, PEER_REST_MAX_MS, why);
    log_limited_about(LOG_LEVEL_WARN, "peer refuses", p->who.address, "the node %s refuses this one: %s",
                      p->who.address, why);
}

void peer_note_answer(struct peer *p, int64_t since_ms)
{
    int failures = atomic_load(&p->failures);

    atomic_fetch_add(&p->answered, 1);
    if (since_ms <= atomic_load(&p->failed_ms)) /* of before: it says nothing about now */
        return;
    if (failures > 0)
        atomic_compare_exchange_strong(&p->failures, &failures, failures - 1);
    atomic_store(&p->resting_until_ms, 0);
    atomic_store(&p->why, NULL);
}

bool peer_is_resting(const struct peer *p)
{
    return atomic_load(&p->resting_until_ms) > clock_mono_ms();
}

const char *peer_failing(const struct peer *p, int64_t *ago_ms)
{
    *ago_ms = clock_mono_ms() - atomic_load(&p->failed_ms);
    return atomic_load(&p->why);
}

/* ---- where the list is from ---- */

void peers_note_source(struct peers *all, const char *from, bool ok, const char *why)
{
    pthread_mutex_lock(&all->lock);
    struct peers_source *s = &all->source;
    if (s->since_s == 0 || s->ok != ok)
        s->since_s = clock_now_ms() / 1000;
    s->ok = ok;
    snprintf(s->from, sizeof(s->from), "%s", from);
    snprintf(s->why, sizeof(s->why), "%s", why ? why : "");
    pthread_mutex_unlock(&all->lock);
}

void peers_get_source(struct peers *all, struct peers_source *out)
{
    pthread_mutex_lock(&all->lock);
    *out = all->source;
    pthread_mutex_unlock(&all->lock);
}
