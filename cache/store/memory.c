#include "cache/store/memory.h"

#include "base/assert.h"

#include <pthread.h>
#include <sys/queue.h>

enum { SHARDS = 16, BUCKETS = 256 };

struct memory_entry {
    LIST_ENTRY(memory_entry) chain;
    TAILQ_ENTRY(memory_entry) order; /* the most recently used first */
    struct digest digest;
    struct body *body;
};

struct shard {
    pthread_mutex_t lock;
    LIST_HEAD(chains, memory_entry) buckets[BUCKETS];
    TAILQ_HEAD(entries, memory_entry) order;
    size_t used;
};

struct memory {
    size_t shard_bytes;
    struct shard shards[SHARDS];
};

struct body *body_new(size_t len)
{
    struct body *b = xmalloc(sizeof(*b) + len + 1);

    atomic_init(&b->refs, 1);
    b->len = len;
    b->data[len] = '\0';
    return b;
}

struct body *body_ref(struct body *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void body_unref(struct body *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

struct memory *memory_new(size_t bytes)
{
    struct memory *m = xcalloc(1, sizeof(*m));

    m->shard_bytes = bytes / SHARDS;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&m->shards[i].lock, NULL);
        TAILQ_INIT(&m->shards[i].order);
    }
    return m;
}

static void memory_forget(struct shard *s, struct memory_entry *e)
{
    LIST_REMOVE(e, chain);
    TAILQ_REMOVE(&s->order, e, order);
    s->used -= e->body->len;
    body_unref(e->body);
    free(e);
}

void memory_free(struct memory *m)
{
    if (!m)
        return;
    for (int i = 0; i < SHARDS; i++) {
        while (!TAILQ_EMPTY(&m->shards[i].order))
            memory_forget(&m->shards[i], TAILQ_FIRST(&m->shards[i].order));
        pthread_mutex_destroy(&m->shards[i].lock);
    }
    free(m);
}

static struct shard *shard_of(struct memory *m, const struct digest *d)
{
    return &m->shards[digest_hash(d) % SHARDS];
}

static struct chains *memory_bucket_of(struct shard *s, const struct digest *d)
{
    return &s->buckets[digest_hash(d) / SHARDS % BUCKETS];
}

static struct memory_entry *memory_find(struct shard *s, const struct digest *d)
{
    struct memory_entry *e;

    HOLDS(&s->lock);
    LIST_FOREACH(e, memory_bucket_of(s, d), chain)
        if (digest_eq(&e->digest, d))
            return e;
    return NULL;
}

struct body *memory_get(struct memory *m, const struct digest *d)
{
    struct shard *s = shard_of(m, d);
    struct body *b = NULL;

    pthread_mutex_lock(&s->lock);
    struct memory_entry *e = memory_find(s, d);
    if (e) {
        TAILQ_REMOVE(&s->order, e, order);
        TAILQ_INSERT_HEAD(&s->order, e, order);
        b = body_ref(e->body);
    }
    pthread_mutex_unlock(&s->lock);
    return b;
}

void memory_put(struct memory *m, const struct digest *d, struct body *b)
{
    struct shard *s = shard_of(m, d);

    if (b->len > m->shard_bytes / 8)
        return;
    pthread_mutex_lock(&s->lock);
    if (!memory_find(s, d)) {
        struct memory_entry *e = xcalloc(1, sizeof(*e));
        e->digest = *d;
        e->body = body_ref(b);
        s->used += b->len;
        LIST_INSERT_HEAD(memory_bucket_of(s, d), e, chain);
        TAILQ_INSERT_HEAD(&s->order, e, order);
    }
    while (s->used > m->shard_bytes)
        memory_forget(s, TAILQ_LAST(&s->order, entries));
    pthread_mutex_unlock(&s->lock);
}

void memory_drop(struct memory *m, const struct digest *d)
{
    struct shard *s = shard_of(m, d);

    pthread_mutex_lock(&s->lock);
    struct memory_entry *e = memory_find(s, d);
    if (e)
        memory_forget(s, e);
    pthread_mutex_unlock(&s->lock);
}
