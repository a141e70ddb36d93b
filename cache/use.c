#include "cache/use.h"

#include "base/clock.h"
#include "cache/index/rows.h"

#include <pthread.h>
#include <sys/queue.h>

enum { BUCKETS = 1024 };

struct used {
    LIST_ENTRY(used) chain;
    struct digest digest;
    int64_t last; /* seconds since 1970 */
    bool touched;
    uint32_t leases;
};

LIST_HEAD(chain, used);

struct use {
    pthread_mutex_t lock;
    size_t touched; /* entries with touches */
    struct chain buckets[BUCKETS];
};

struct touch {
    struct digest digest;
    int64_t last;
};

struct touches {
    size_t count;
    struct touch list[];
};

struct use *use_new(void)
{
    struct use *u = xcalloc(1, sizeof(*u));

    pthread_mutex_init(&u->lock, NULL);
    return u;
}

void use_free(struct use *u)
{
    if (!u)
        return;
    for (int i = 0; i < BUCKETS; i++)
        while (!LIST_EMPTY(&u->buckets[i])) {
            struct used *e = LIST_FIRST(&u->buckets[i]);
            LIST_REMOVE(e, chain);
            free(e);
        }
    pthread_mutex_destroy(&u->lock);
    free(u);
}

static struct used *find(struct use *u, const struct digest *d, bool create)
{
    struct chain *bucket = &u->buckets[digest_hash(d) % BUCKETS];
    struct used *e;

    LIST_FOREACH(e, bucket, chain)
        if (digest_eq(&e->digest, d))
            return e;
    if (!create)
        return NULL;
    e = xcalloc(1, sizeof(*e));
    e->digest = *d;
    LIST_INSERT_HEAD(bucket, e, chain);
    return e;
}

void use_touch(struct use *u, const struct digest *d)
{
    int64_t now = clock_now_s();

    pthread_mutex_lock(&u->lock);
    struct used *e = find(u, d, true);
    u->touched += !e->touched;
    e->touched = true;
    e->last = now;
    pthread_mutex_unlock(&u->lock);
}

void use_lease(struct use *u, const struct digest *d)
{
    pthread_mutex_lock(&u->lock);
    find(u, d, true)->leases++;
    pthread_mutex_unlock(&u->lock);
}

void use_release(struct use *u, const struct digest *d)
{
    pthread_mutex_lock(&u->lock);
    struct used *e = find(u, d, false);
    if (e && --e->leases == 0 && !e->touched) {
        LIST_REMOVE(e, chain);
        free(e);
    }
    pthread_mutex_unlock(&u->lock);
}

bool use_is_leased(struct use *u, const struct digest *d)
{
    pthread_mutex_lock(&u->lock);
    struct used *e = find(u, d, false);
    bool leased = e && (e->leases > 0 || e->touched);
    pthread_mutex_unlock(&u->lock);
    return leased;
}

/* Takes the touches out, so that they can be written without the lock. */
static struct touches *gather(struct use *u)
{
    pthread_mutex_lock(&u->lock);
    struct touches *t = xmalloc(sizeof(*t) + u->touched * sizeof(t->list[0]));
    t->count = 0;
    for (int i = 0; i < BUCKETS && u->touched > 0; i++) {
        struct used *e = LIST_FIRST(&u->buckets[i]), *next;
        for (; e; e = next) {
            next = LIST_NEXT(e, chain);
            if (!e->touched)
                continue;
            t->list[t->count++] = (struct touch){e->digest, e->last};
            e->touched = false;
            u->touched--;
            if (e->leases == 0) {
                LIST_REMOVE(e, chain);
                free(e);
            }
        }
    }
    pthread_mutex_unlock(&u->lock);
    return t;
}

static bool write_touches(struct index_txn *txn, const struct touches *t, struct err *err)
{
    for (size_t i = 0; i < t->count; i++)
        if (!rows_use_blob(txn, &t->list[i].digest, t->list[i].last, err))
            return false;
    return true;
}

struct flush {
    struct touches *touches;
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

static bool apply_flush(struct index_txn *txn, void *arg, struct err *err)
{
    return write_touches(txn, ((struct flush *)arg)->touches, err);
}

static void end_flush(void *arg, const struct err *err)
{
    struct flush *f = arg;

    if (f->done)
        f->done(f->arg, err);
    free(f->touches);
    free(f);
}

void use_flush(struct use *u, struct index *index, void (*done)(void *arg, const struct err *err), void *arg,
               struct loop *loop)
{
    struct touches *t = gather(u);

    if (t->count == 0 && !done) {
        free(t);
        return;
    }
    struct flush *f = xcalloc(1, sizeof(*f));
    *f = (struct flush){t, done, arg};
    index_write(index, apply_flush, end_flush, f, loop);
}
