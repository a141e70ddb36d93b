/* Room for what is imported: a worker asks the collector for it and waits. */
#include "proxy/admin/job.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "cache/cache.h"

enum {
    ROOM_WAIT_MS = 30000,
    LOOK_MS = 1000, /* between two looks whether the daemon stops */
};

/* Referred to by the worker that waits, and by the collector's answer, which may never come once the loops have
 * ended. */
struct room_wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int refs;
    bool answered, given, given_up;
    struct cache *cache;
    int64_t bytes;
};

/* With the lock held. */
static void room_wait_unref(struct room_wait *a)
{
    HOLDS(&a->lock);
    bool last = --a->refs == 0;

    pthread_mutex_unlock(&a->lock);
    if (!last)
        return;
    pthread_cond_destroy(&a->cond);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static void admin_room_answered(void *arg, bool given)
{
    struct room_wait *a = arg;

    pthread_mutex_lock(&a->lock);
    a->answered = true;
    a->given = given;
    if (given && a->given_up)
        ingests_book_room(cache_ingests(a->cache), a->bytes);
    pthread_cond_signal(&a->cond);
    room_wait_unref(a);
}

static bool room_refused(struct admin_job *job, const struct room_wait *a, int64_t bytes, struct err *err)
{
    if (a->answered)
        return err_set(err, ERR_NO_SPACE,
                       "there is no room for %lld bytes: cache.max_size or min_free does not allow it, and everything "
                       "in the cache is in use, pinned or younger than gc.grace",
                       (long long)bytes);
    if (!atomic_load(job->admin->puller.serving))
        return err_set(err, ERR_CANCELLED, "the cache is being stopped; importing again goes on from here");
    return err_set(err, ERR_NO_SPACE, "no room was made for %lld bytes within %d s", (long long)bytes,
                   ROOM_WAIT_MS / 1000);
}

static bool admin_wait_for_answer(struct room_wait *a)
{
    cond_wait_until(&a->cond, &a->lock, clock_mono_ms() + LOOK_MS);
    return a->answered;
}

/* Waits for the collector's answer about so many bytes; for a moment also while the daemon stops, since mostly it is on
 * its way already. */
static bool ask_for_room(struct admin_job *job, int64_t bytes, enum room_from from, struct err *err)
{
    struct room_wait *a = xcalloc(1, sizeof(*a));
    const int64_t until_ms = clock_mono_ms() + ROOM_WAIT_MS;

    OFF_LOOPS;
    a->refs = 2;
    a->cache = job->admin->puller.cache;
    a->bytes = from == ROOM_ON_DISK ? 0 : bytes;
    pthread_mutex_init(&a->lock, NULL);
    cond_init(&a->cond);
    if (!ingests_ask_for_room(cache_ingests(a->cache), bytes, from, admin_room_answered, a, job->loop))
        admin_room_answered(a, true); /* there is no limit */
    pthread_mutex_lock(&a->lock);
    while (!a->answered && (admin_wait_for_answer(a) || atomic_load(job->admin->puller.serving)) &&
           clock_mono_ms() < until_ms)
        ;
    bool given = a->answered && a->given;
    a->given_up = !a->answered;
    if (!given)
        room_refused(job, a, bytes, err);
    room_wait_unref(a);
    return given;
}

bool admin_reserve(struct admin_job *job, int64_t bytes, struct err *err)
{
    return ask_for_room(job, bytes, ROOM_MADE, err);
}

bool admin_free_disk(struct admin_job *job, int64_t bytes)
{
    return ask_for_room(job, bytes, ROOM_ON_DISK, NULL);
}
