#include "cache/importing.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/key_map.h"
#include "cache/index/rows.h"

#include <pthread.h>

struct importing {
    struct leases *leases;
    struct index *index;
    pthread_mutex_t writing; /* held while a batch is written, over all its waits for the disk */
    /* shared, under lock */
    pthread_mutex_t lock;
    int under_way;
    int64_t last_ms;     /* monotonic; when one was under way last */
    struct digest *held; /* each once, however often it is held */
    size_t count, cap;
    struct key_map known; /* of `held` */
};

struct importing *importing_new(struct leases *leases, struct index *index)
{
    struct importing *all = xcalloc(1, sizeof(*all));

    all->leases = leases;
    all->index = index;
    pthread_mutex_init(&all->writing, NULL);
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

static void importing_release(struct importing *all)
{
    for (size_t i = 0; i < all->count; i++)
        leases_release(all->leases, &all->held[i]);
    free(all->held);
    all->held = NULL;
    key_map_free(&all->known);
    all->count = all->cap = 0;
}

void importing_free(struct importing *all)
{
    if (!all)
        return;
    importing_release(all);
    pthread_mutex_destroy(&all->lock);
    pthread_mutex_destroy(&all->writing);
    free(all);
}

static void importing_note(struct importing *all, int change)
{
    pthread_mutex_lock(&all->lock);
    all->under_way += change;
    all->last_ms = clock_mono_ms();
    pthread_mutex_unlock(&all->lock);
}

void importing_begin(struct importing *all)
{
    importing_note(all, 1);
}

void importing_end(struct importing *all)
{
    importing_note(all, -1);
}

void importing_hold(struct importing *all, const struct digest *d)
{
    pthread_mutex_lock(&all->lock);
    if (!key_map_add(&all->known, digest_key(d), digest_key_len(d), 0)) {
        pthread_mutex_unlock(&all->lock);
        return;
    }
    leases_take(all->leases, d);
    *ARRAY_NEXT(all->held, all->count, all->cap) = *d;
    all->count++;
    pthread_mutex_unlock(&all->lock);
}

void importing_lock_writing(struct importing *all)
{
    OFF_LOOPS;
    pthread_mutex_lock(&all->writing);
}

void importing_unlock_writing(struct importing *all)
{
    pthread_mutex_unlock(&all->writing);
}

static void importing_read_entered(struct index_txn *t, void *arg)
{
    struct importing *all = arg;
    size_t kept = 0;

    key_map_free(&all->known);
    for (size_t i = 0; i < all->count; i++)
        if (rows_references(t, &all->held[i]) > 0)
            leases_release(all->leases, &all->held[i]);
        else if (key_map_add(&all->known, digest_key(&all->held[i]), digest_key_len(&all->held[i]), 0))
            all->held[kept++] = all->held[i];
    all->count = kept;
}

void importing_release_entered(struct importing *all)
{
    pthread_mutex_lock(&all->lock);
    index_read(all->index, importing_read_entered, all);
    pthread_mutex_unlock(&all->lock);
}

void importing_expire(struct importing *all)
{
    pthread_mutex_lock(&all->lock);
    if (all->under_way == 0 && clock_mono_ms() - all->last_ms > IMPORTING_IDLE_MS)
        importing_release(all);
    pthread_mutex_unlock(&all->lock);
}
