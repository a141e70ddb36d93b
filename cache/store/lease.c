#include "cache/store/lease.h"

#include "base/assert.h"
#include "base/mem.h"

#include <pthread.h>
#include <sys/queue.h>

enum { BUCKETS = 1024 };

struct lease {
    LIST_ENTRY(lease) entry;
    struct digest digest;
    uint32_t count; /* never 0 */
};

LIST_HEAD(lease_bucket, lease);

struct leases {
    pthread_mutex_t lock;
    struct lease_bucket buckets[BUCKETS];
};

struct leases *leases_new(void)
{
    struct leases *all = xcalloc(1, sizeof(*all));

    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void leases_free(struct leases *all)
{
    if (!all)
        return;
    for (int i = 0; i < BUCKETS; i++)
        while (!LIST_EMPTY(&all->buckets[i])) {
            struct lease *l = LIST_FIRST(&all->buckets[i]);
            LIST_REMOVE(l, entry);
            free(l);
        }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static struct lease_bucket *lease_bucket_of(struct leases *all, const struct digest *d)
{
    return &all->buckets[digest_hash(d) % BUCKETS];
}

/* NULL: there is none. With the lock held. */
static struct lease *lease_find(struct leases *all, const struct digest *d)
{
    struct lease *l;

    HOLDS(&all->lock);
    LIST_FOREACH(l, lease_bucket_of(all, d), entry)
        if (digest_eq(&l->digest, d))
            return l;
    return NULL;
}

void leases_take(struct leases *all, const struct digest *d)
{
    pthread_mutex_lock(&all->lock);
    struct lease *l = lease_find(all, d);
    if (!l) {
        l = xcalloc(1, sizeof(*l));
        l->digest = *d;
        LIST_INSERT_HEAD(lease_bucket_of(all, d), l, entry);
    }
    l->count++;
    pthread_mutex_unlock(&all->lock);
}

void leases_release(struct leases *all, const struct digest *d)
{
    pthread_mutex_lock(&all->lock);
    struct lease *l = lease_find(all, d);
    IN_STATE(l != NULL);
    if (--l->count == 0) {
        LIST_REMOVE(l, entry);
        free(l);
    }
    pthread_mutex_unlock(&all->lock);
}

bool leases_has(struct leases *all, const struct digest *d)
{
    pthread_mutex_lock(&all->lock);
    bool has = lease_find(all, d) != NULL;
    pthread_mutex_unlock(&all->lock);
    return has;
}
