#include "cluster/takers.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { TAKERS_BUCKETS = 256 };

struct taken_stripe {
    TAILQ_ENTRY(taken_stripe) age; /* the latest first */
    LIST_ENTRY(taken_stripe) chain;
    struct digest digest;
    int64_t first, used_ms; /* used_ms: monotonic */
    struct taker {
        struct peer *peer;
        int named; /* to how many others */
    } * list;
    int count, cap, begin; /* those before `begin` are not named any more */
};

struct takers {
    atomic_int sending;
    pthread_mutex_t lock; /* for the rest */
    TAILQ_HEAD(taken_ages, taken_stripe) ages;
    LIST_HEAD(, taken_stripe) buckets[TAKERS_BUCKETS];
    int count;
};

struct takers *takers_new(void)
{
    struct takers *t = xcalloc(1, sizeof(*t));

    pthread_mutex_init(&t->lock, NULL);
    TAILQ_INIT(&t->ages);
    return t;
}

static void forget_takers(struct taken_stripe *s)
{
    for (int i = 0; i < s->count; i++)
        peer_unref(s->list[i].peer);
    s->count = s->begin = 0;
}

static void forget_stripe(struct takers *t, struct taken_stripe *s)
{
    HOLDS(&t->lock);
    TAILQ_REMOVE(&t->ages, s, age);
    LIST_REMOVE(s, chain);
    t->count--;
    forget_takers(s);
    free(s->list);
    free(s);
}

void takers_free(struct takers *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    while (!TAILQ_EMPTY(&t->ages))
        forget_stripe(t, TAILQ_FIRST(&t->ages));
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct taken_stripe *find_stripe(struct takers *t, const struct digest *d, int64_t first)
{
    uint64_t bucket = (digest_hash(d) + (uint64_t)first / 4096) % TAKERS_BUCKETS;
    struct taken_stripe *s;

    HOLDS(&t->lock);
    LIST_FOREACH(s, &t->buckets[bucket], chain)
        if (s->first == first && digest_eq(&s->digest, d))
            break;
    if (!s) {
        while (t->count >= TAKERS_STRIPES)
            forget_stripe(t, TAILQ_LAST(&t->ages, taken_ages));
        s = xcalloc(1, sizeof(*s));
        s->digest = *d;
        s->first = first;
        LIST_INSERT_HEAD(&t->buckets[bucket], s, chain);
        t->count++;
    } else {
        TAILQ_REMOVE(&t->ages, s, age);
        if (clock_mono_ms() - s->used_ms > TAKERS_LIFE_MS)
            forget_takers(s);
    }
    TAILQ_INSERT_HEAD(&t->ages, s, age);
    s->used_ms = clock_mono_ms();
    return s;
}

/* A node that has been started again is another peer at the same address. */
static bool is_same_node(const struct peer *a, const struct peer *b)
{
    return a == b || strcmp(a->who.address, b->who.address) == 0;
}

/* Notes that it takes the stripe, too. */
static void add_taker(struct taken_stripe *s, struct peer *who)
{
    for (int i = 0; i < s->count; i++)
        if (is_same_node(s->list[i].peer, who)) {
            peer_ref(who);
            peer_unref(s->list[i].peer);
            s->list[i].peer = who;
            return;
        }
    if (s->count == TAKERS_NODES)
        return;
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->list = xrealloc(s->list, (size_t)s->cap * sizeof(*s->list));
    }
    s->list[s->count++] = (struct taker){peer_ref(who), 0};
}

static struct peer *name_taker(struct taken_stripe *s, const struct peer *who)
{
    while (s->begin < s->count && s->list[s->begin].named >= TAKERS_CHILDREN)
        s->begin++;
    for (int i = s->begin; i < s->count; i++) {
        struct taker *one = &s->list[i];
        if (is_same_node(one->peer, who) || one->named >= TAKERS_CHILDREN || peer_is_resting(one->peer))
            continue;
        one->named++;
        return peer_ref(one->peer);
    }
    return NULL;
}

struct peer *takers_choose(struct takers *t, const struct digest *d, int64_t first, struct peer *who, const char *bad)
{
    struct peer *named = NULL;

    pthread_mutex_lock(&t->lock);
    struct taken_stripe *s = find_stripe(t, d, first);
    for (int i = 0; bad && i < s->count; i++)
        if (strcmp(s->list[i].peer->who.address, bad) == 0)
            s->list[i].named = TAKERS_CHILDREN;
    if (!bad && atomic_load(&t->sending) >= TAKERS_BUSY)
        named = name_taker(s, who);
    add_taker(s, who);
    pthread_mutex_unlock(&t->lock);
    return named;
}

void takers_begin(struct takers *t)
{
    atomic_fetch_add(&t->sending, 1);
}

void takers_end(struct takers *t)
{
    atomic_fetch_sub(&t->sending, 1);
}
