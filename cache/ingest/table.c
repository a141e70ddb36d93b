/* The table of what is on its way in. */
#include "cache/ingest/private.h"

#include "base/assert.h"

#include <limits.h>

struct ingests *ingests_new(struct index *index, struct store *store, struct leases *leases, struct pool *pool)
{
    struct ingests *all = xcalloc(1, sizeof(*all));

    all->index = index;
    all->store = store;
    all->leases = leases;
    all->pool = pool;
    all->relays_max = INT_MAX;
    pthread_mutex_init(&all->lock, NULL);
    TAILQ_INIT(&all->list);
    for (int i = 0; i < UNSTORED_REASONS; i++)
        trouble_init(&all->troubles[i]);
    return all;
}

void ingests_free(struct ingests *all)
{
    if (!all)
        return;
    pthread_mutex_destroy(&all->lock);
    for (int i = 0; i < UNSTORED_REASONS; i++)
        trouble_destroy(&all->troubles[i]);
    free(all->came);
    free(all);
}

int ingests_count(struct ingests *all)
{
    pthread_mutex_lock(&all->lock);
    int n = all->count;
    pthread_mutex_unlock(&all->lock);
    return n;
}

/* `fn` may block, on a client that does not read; fetch loops must not wait for that. */
void ingests_each(struct ingests *all, void (*fn)(void *arg, const struct ingest_info *info), void *arg)
{
    struct ingest *i;
    size_t count = 0;

    pthread_mutex_lock(&all->lock);
    _cleanup_free_ struct ingest_info *infos = xcalloc((size_t)all->count, sizeof(*infos));
    TAILQ_FOREACH(i, &all->list, entry) {
        pthread_mutex_lock(&i->lock);
        infos[count++] = (struct ingest_info){i->digest, i->size, i->received, i->follower_count, i->is_public};
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    for (size_t k = 0; k < count; k++)
        fn(arg, &infos[k]);
}

void ingest_list(struct ingest *i)
{
    struct ingests *all = i->all;

    pthread_mutex_lock(&all->lock);
    TAILQ_INSERT_TAIL(&all->list, i, entry);
    all->count++;
    pthread_mutex_unlock(&all->lock);
}

void ingest_unlist(struct ingest *i)
{
    struct ingests *all = i->all;

    pthread_mutex_lock(&all->lock);
    TAILQ_REMOVE(&all->list, i, entry);
    all->count--;
    ingest_keep_came(i);
    pthread_mutex_unlock(&all->lock);
}

uint64_t ingests_verified(struct ingests *all)
{
    pthread_mutex_lock(&all->lock);
    uint64_t n = all->verified;
    pthread_mutex_unlock(&all->lock);
    return n;
}

bool ingests_ended(struct ingests *all, uint64_t verified)
{
    bool ended = true;
    struct ingest *i;

    pthread_mutex_lock(&all->lock);
    TAILQ_FOREACH(i, &all->list, entry) {
        pthread_mutex_lock(&i->lock);
        ended = ended && (i->state != INGEST_VERIFIED || i->verified > verified);
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return ended;
}

bool ingests_has_byte(struct ingests *all, const struct digest *d, int64_t at, int64_t *received)
{
    bool has = false;
    struct ingest *i;

    pthread_mutex_lock(&all->lock);
    TAILQ_FOREACH(i, &all->list, entry) {
        if (i->relay || !digest_eq(&i->digest, d))
            continue;
        pthread_mutex_lock(&i->lock);
        has = has || (i->size > at && ingest_present(i, at) > 0);
        *received = i->received;
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return has;
}

static bool apply_forgotten(struct index_txn *t, void *arg, struct err *err)
{
    return rows_drop_ingest(t, arg, err);
}

bool ingests_are_freeing(struct ingests *all)
{
    bool freeing = false;
    struct ingest *i;

    pthread_mutex_lock(&all->lock);
    TAILQ_FOREACH(i, &all->list, entry) {
        pthread_mutex_lock(&i->lock);
        freeing = freeing || (i->state == INGEST_FAILED && !i->relay);
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return freeing;
}

bool ingests_forget(struct ingests *all, const struct digest *d, struct err *err)
{
    struct ingest *i;
    bool ok = true;

    OFF_LOOPS;
    pthread_mutex_lock(&all->lock); /* no ingest can begin meanwhile */
    TAILQ_FOREACH(i, &all->list, entry)
        if (digest_eq(&i->digest, d))
            break;
    if (!i)
        ok = store_remove_part(all->store, d, err);
    pthread_mutex_unlock(&all->lock);
    /* Should one have begun since, it loses no more than the means to resume. */
    return ok && (i || index_write_wait(all->index, apply_forgotten, (void *)d, err));
}

/* ---- relays: how many there may be ---- */

void ingests_set_relays_max(struct ingests *all, int most)
{
    all->relays_max = most;
}

struct relay_stats ingests_relays(const struct ingests *all)
{
    return (struct relay_stats){atomic_load(&all->relays), atomic_load(&all->relays_refused)};
}

bool ingest_enter_relays(struct ingest *i, struct err *err)
{
    struct ingests *all = i->all;

    i->has_relay_slot = atomic_fetch_add(&all->relays, 1) < all->relays_max;
    if (i->has_relay_slot)
        return true;
    atomic_fetch_sub(&all->relays, 1);
    atomic_fetch_add(&all->relays_refused, 1);
    return err_set(
        err, ERR_BUSY,
        "the disk has no room for it, and %d blobs are being relayed without caching already (limits.relays)",
        all->relays_max);
}

void ingest_leave_relays(struct ingest *i)
{
    if (i->has_relay_slot)
        atomic_fetch_sub(&i->all->relays, 1);
    i->has_relay_slot = false;
}
