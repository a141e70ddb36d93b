#include "proxy/seen/pull_private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

enum { CLOCK_S = 1, UNDER_WAY_MAX_MS = 3600 * 1000 /* without any request of a pull that seems to have some */ };

/* ---- requests ---- */

/* A later success heals what has failed before. */
static void note_failure(char **to, struct pull_request *r, bool ok)
{
    if (!ok && !r->failure && r->status < 400)
        return;
    free(*to);
    *to = NULL;
    if (ok)
        return;
    *to = r->failure ? r->failure : xasprintf("answered %d", r->status);
    r->failure = NULL;
}

static void note_times(struct pull_going *g, const struct pull_request *r)
{
    struct pull_seen *s = &g->seen;

    s->begun_ms = MIN(s->begun_ms, r->at_ms);
    s->ended_ms = MAX(s->ended_ms, r->at_ms + r->duration_ms);
    s->requests += MAX(r->count, 1);
    if (r->waited_ms > s->waited_ms) {
        s->waited_ms = r->waited_ms;
        s->waited_for = r->blob ? r->asked : (struct digest){0};
    }
    if (r->blob && r->duration_ms >= s->slowest_ms) {
        s->slowest_ms = r->duration_ms;
        s->slowest = r->asked;
    }
}

static void pulls_take_manifest(struct pull_going *g, struct pull_request *r)
{
    bool ok = r->status == 200 || r->status == 304;

    note_failure(&g->failure, r, ok && r->whole);
    g->got = g->got || !r->head;
    g->seen.from[r->from] += r->bytes;
    if (!ok || r->digest.alg == DIGEST_NONE)
        return;
    if (r->tag[0])
        g->seen.digest = r->digest;
    for (int i = 0; i < g->image_count; i++)
        if (digest_eq(&g->images[i], &r->digest))
            return;
    g->reads = r->digest;
    g->unread = !r->head || !r->tag[0];
}

/* Adds fetched bytes, by the shares of the blob's sources. What rounding leaves is the largest's. */
static void add_shares(int64_t to[PULL_FROMS], int64_t bytes, const int64_t shares[PULL_FROMS])
{
    int64_t sum = shares[PULL_FROM_UPSTREAM] + shares[PULL_FROM_PEERS] + shares[PULL_FROM_SHARED], rest = bytes;
    int largest = PULL_FROM_UPSTREAM;

    for (int k = PULL_FROM_UPSTREAM; k < PULL_FROMS; k++) {
        int64_t n = sum > 0 ? (int64_t)((double)bytes * ((double)shares[k] / (double)sum)) : 0;
        largest = shares[k] > shares[largest] ? k : largest;
        to[k] += n;
        rest -= n;
    }
    to[largest] += rest;
}

/* What the blob's fetch has brought from where; else all is from the source that answered the request. */
static void find_shares(const struct pulls *p, const struct pull_request *r, int64_t shares[PULL_FROMS])
{
    bool found = !r->begins && !r->relayed && p->o.came && p->o.came(p->o.arg, &r->asked, shares);

    if (found)
        return;
    memset(shares, 0, PULL_FROMS * sizeof(*shares));
    shares[r->from == PULL_FROM_CACHE ? PULL_FROM_UPSTREAM : r->from] = 1;
}

static void take_bytes(struct pulls *p, struct pull_going *g, struct pull_layer *l, const struct pull_request *r,
                       const int64_t shares[PULL_FROMS])
{
    bool fetched = r->from != PULL_FROM_CACHE || (l && l->fetched && !l->done);

    if (!fetched && l && l->known && !l->here && !l->done && r->bytes > 0)
        fetched = !going_is_counted(p, g, &l->digest);
    if (l && r->bytes > 0)
        l->fetched = l->fetched || fetched;
    if (fetched)
        add_shares(g->seen.from, r->bytes, shares);
    else
        g->seen.from[PULL_FROM_CACHE] += r->bytes;
}

static void take_blob(struct pulls *p, struct pull_going *g, struct pull_request *r, const int64_t shares[PULL_FROMS])
{
    struct pull_layer *l = going_layer(g, &r->asked);
    bool ok = r->status == 200 || r->status == 206;

    g->got = true;
    if (r->begins) {
        g->under_way++;
        if (l)
            l->under_way++;
        return;
    }
    if (!r->head) {
        g->under_way = MAX(g->under_way - 1, 0);
        if (l)
            l->under_way = MAX(l->under_way - 1, 0);
    }
    take_bytes(p, g, l, r, shares);
    if (!l)
        return;
    bool was_done = l->done;
    l->sent += ok ? r->bytes : 0;
    l->done = l->done || (ok && !r->head && r->whole && r->status == 200) || (l->size >= 0 && ok && l->sent >= l->size);
    l->cut = !l->done && ((ok && !r->whole) || (l->cut && !ok));
    note_failure(&l->failure, r, l->done || (ok && r->whole));
    if (l->done && !was_done && l->known)
        g->seen.blobs_done++;
}

/* What its manifest consists of may be in the index only a moment after it was served. */
static void pull_read(struct pulls *p, struct pull_going *g)
{
    struct pull_parts parts = {0};

    if (!g->unread)
        return;
    bool known = p->o.look(p->o.arg, g->seen.name, &g->reads, &parts);
    pthread_mutex_lock(&p->lock);
    g->seen.is_private = parts.is_private;
    g->unread = !known;
    if (known)
        going_add_parts(g, &g->reads, &parts);
    pthread_mutex_unlock(&p->lock);
    pull_parts_clear(&parts);
}

/* Its reference is requested again: the tag has changed, or all of it was sent before. */
static bool begins_again(const struct pull_going *g, const struct pull_request *r)
{
    if (r->blob || (r->tag[0] ? false : g->seen.tag[0] || !digest_eq(&g->seen.digest, &r->asked)))
        return false;
    return going_is_done(g) || (r->tag[0] && r->digest.alg != DIGEST_NONE && g->seen.digest.alg != DIGEST_NONE &&
                                !digest_eq(&g->seen.digest, &r->digest));
}

static struct pull_going *pull_of(struct pulls *p, const struct pull_request *r, bool *begins)
{
    struct pull_going *g = going_find(p, r);

    if (g && begins_again(g, r)) {
        going_end(p, g);
        g = NULL;
    }
    *begins = !g;
    while (!g && p->count >= (p->o.most > 0 ? p->o.most : (int)PULLS_MAX))
        going_end(p, TAILQ_LAST(&p->going, pulls_going));
    if (!g) {
        pthread_mutex_lock(&p->lock);
        g = going_begin(p, r);
        pthread_mutex_unlock(&p->lock);
    }
    return g;
}

void pulls_take(struct pulls *p, struct pull_request *r)
{
    int64_t shares[PULL_FROMS];
    bool begins;

    ON_LOOP(p->loop);
    struct pull_going *g = pull_of(p, r, &begins);
    if (r->blob) {
        pull_read(p, g);
        find_shares(p, r, shares);
    }
    pthread_mutex_lock(&p->lock);
    going_touch(p, g, r->ended_ms);
    if (!r->begins)
        note_times(g, r);
    if (r->blob)
        take_blob(p, g, r, shares);
    else
        pulls_take_manifest(g, r);
    pthread_mutex_unlock(&p->lock);
    if (!r->blob)
        pull_read(p, g);
    free(r->failure);
    r->failure = NULL;
    if (g->got)
        going_publish(p, begins ? PULL_BEGINS : PULL_GOES_ON, &g->seen);
}

/* ---- the clock ---- */

static int64_t patience(const struct pulls *p, const struct pull_going *g)
{
    if (g->under_way > 0)
        return UNDER_WAY_MAX_MS;
    if (going_is_done(g))
        return p->o.done_ms;
    return g->failure && !g->seen.blobs ? p->o.failed_ms : p->o.quiet_ms;
}

void pulls_look(struct pulls *p, int64_t now_ms)
{
    ON_LOOP(p->loop);
    for (struct pull_going *g = TAILQ_FIRST(&p->going), *next; g; g = next) {
        next = TAILQ_NEXT(g, entry);
        if (now_ms - g->last_ms >= patience(p, g))
            going_end(p, g);
    }
}

static void pulls_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    pulls_look(arg, clock_mono_ms());
}

/* ---- its life ---- */

struct pulls *pulls_new(const struct pulls_options *o, struct loop *loop)
{
    struct pulls *p = xcalloc(1, sizeof(*p));

    p->o = *o;
    p->o.quiet_ms = o->quiet_ms > 0 ? o->quiet_ms : PULL_QUIET_MS;
    p->o.failed_ms = o->failed_ms > 0 ? o->failed_ms : PULL_FAILED_MS;
    p->o.done_ms = o->done_ms > 0 ? o->done_ms : PULL_DONE_MS;
    p->loop = loop;
    pthread_mutex_init(&p->lock, NULL);
    TAILQ_INIT(&p->going);
    p->clock = event_new(loop_base(loop), -1, EV_PERSIST, pulls_tick, p);
    event_add(p->clock, &(struct timeval){.tv_sec = CLOCK_S});
    return p;
}

void pulls_stop(struct pulls *p)
{
    ON_LOOP(p->loop);
    event_del(p->clock);
    while (!TAILQ_EMPTY(&p->going))
        going_end(p, TAILQ_LAST(&p->going, pulls_going));
}

void pulls_free(struct pulls *p)
{
    if (!p)
        return;
    while (!TAILQ_EMPTY(&p->going))
        going_free(p, TAILQ_FIRST(&p->going));
    for (int i = 0; i < PULLS_KEPT && p->ring[i]; i++) {
        free(p->ring[i]->seen.cause);
        free(p->ring[i]);
    }
    event_free(p->clock);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

bool pulls_subscribe(struct pulls *p, void (*fn)(void *arg, enum pull_event event, const struct pull_seen *pull),
                     void *arg)
{
    ON_LOOP(p->loop);
    if (p->subscriber_count == PULLS_SUBSCRIBERS)
        return false;
    p->subscribers[p->subscriber_count].fn = fn;
    p->subscribers[p->subscriber_count++].arg = arg;
    return true;
}

/* ---- readers ---- */

static void give_copies(struct pull_seen *list, int count, void (*fn)(void *arg, const struct pull_seen *pull),
                        void *arg)
{
    for (int i = 0; i < count; i++) {
        fn(arg, &list[i]);
        free(list[i].cause);
    }
    free(list);
}

static struct pull_seen copy_of(const struct pull_seen *s)
{
    struct pull_seen copy = *s;

    copy.cause = s->cause ? xstrdup(s->cause) : NULL;
    return copy;
}

void pulls_each(struct pulls *p, void (*fn)(void *arg, const struct pull_seen *pull), void *arg)
{
    const struct pull_going *g;
    int count = 0;

    pthread_mutex_lock(&p->lock);
    struct pull_seen *list = xcalloc((size_t)p->count + 1, sizeof(*list));
    TAILQ_FOREACH(g, &p->going, entry)
        if (g->got)
            list[count++] = copy_of(&g->seen);
    pthread_mutex_unlock(&p->lock);
    give_copies(list, count, fn, arg);
}

uint64_t pulls_since(struct pulls *p, uint64_t number, int64_t since_ms, int most,
                     void (*fn)(void *arg, const struct pull_seen *pull), void *arg)
{
    struct pull_seen *list = xcalloc((size_t)most + 1, sizeof(*list));
    int count = 0;

    pthread_mutex_lock(&p->lock);
    uint64_t oldest = p->numbers > PULLS_KEPT ? p->numbers - PULLS_KEPT : 0;
    for (number = MAX(number, oldest); number < p->numbers && count < most; number++) {
        const struct pull_seen *s = &p->ring[number % PULLS_KEPT]->seen;
        if (s->ended_ms >= since_ms)
            list[count++] = copy_of(s);
    }
    pthread_mutex_unlock(&p->lock);
    give_copies(list, count, fn, arg);
    return number;
}

bool pulls_find(struct pulls *p, const struct digest *blob, struct pull_seen *out, int *nth)
{
    const struct pull_going *g, *found = NULL;
    const struct pull_layer *l = NULL;

    pthread_mutex_lock(&p->lock);
    TAILQ_FOREACH(g, &p->going, entry) {
        const struct pull_layer *own = going_layer_find(g, blob);
        if (!own || (l && l->under_way >= own->under_way))
            continue;
        l = own;
        found = g;
    }
    if (found) {
        *out = found->seen;
        out->cause = NULL;
        *nth = l->known ? (int)(l - found->layers) + 1 : 0;
    }
    pthread_mutex_unlock(&p->lock);
    return found != NULL;
}

uint64_t pulls_count(const struct pulls *p, enum pulled_result r)
{
    return atomic_load_explicit(&p->counts[r], memory_order_relaxed);
}
