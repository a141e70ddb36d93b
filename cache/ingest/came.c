/* Where the bytes of a blob have come from. Of one that has ended it is kept for a while, in memory: what is read ahead
 * is requested later. */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/lookup.h"

#include <string.h>

enum { CAME_KEPT = 2048 };

struct came {
    struct digest digest;
    int64_t from[INGEST_FROMS];
};

static int64_t came_sum(const int64_t from[INGEST_FROMS])
{
    return from[INGEST_FROM_REGISTRY] + from[INGEST_FROM_NODES] + from[INGEST_FROM_BUCKET];
}

/* Its place among those that have ended; a later one of the same place replaces it. */
static struct came *came_place(struct ingests *all, const struct digest *d)
{
    HOLDS(&all->lock);
    if (!all->came)
        all->came = xcalloc(CAME_KEPT, sizeof(*all->came));
    return &all->came[lookup_hash_digest(d) % CAME_KEPT];
}

void ingest_note_from(struct ingest *i, enum ingest_from from)
{
    ON_LOOP(i->loop);
    i->from = from;
    if (from != INGEST_FROM_REGISTRY && !atomic_load_explicit(&i->all->has_come, memory_order_relaxed))
        atomic_store_explicit(&i->all->has_come, true, memory_order_relaxed);
}

void ingest_count_came(struct ingest *i, int64_t len)
{
    HOLDS(&i->lock);
    i->came[i->from] += len;
}

void ingest_keep_came(struct ingest *i)
{
    struct ingests *all = i->all;

    HOLDS(&all->lock);
    if (i->relay || i->state == INGEST_FAILED || came_sum(i->came) == 0 ||
        !atomic_load_explicit(&all->has_come, memory_order_relaxed))
        return;
    struct came *c = came_place(all, &i->digest);
    c->digest = i->digest;
    memcpy(c->from, i->came, sizeof(c->from));
}

void ingest_recall_came(struct ingest *i)
{
    int64_t from[INGEST_FROMS];

    if (!ingests_came(i->all, &i->digest, from))
        return;
    pthread_mutex_lock(&i->lock);
    memcpy(i->came, from, sizeof(i->came));
    pthread_mutex_unlock(&i->lock);
}

bool ingests_came(struct ingests *all, const struct digest *d, int64_t from[INGEST_FROMS])
{
    struct ingest *i;
    bool found = false;

    if (!atomic_load_explicit(&all->has_come, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&all->lock);
    const struct came *c = came_place(all, d);
    if (digest_eq(&c->digest, d)) {
        memcpy(from, c->from, sizeof(c->from));
        found = true;
    }
    TAILQ_FOREACH(i, &all->list, entry) { /* the latest counts */
        if (i->relay || !digest_eq(&i->digest, d))
            continue;
        pthread_mutex_lock(&i->lock);
        if (came_sum(i->came) > 0) {
            memcpy(from, i->came, sizeof(i->came));
            found = true;
        }
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}
