#include "cache/ingest/private.h"

#include "base/assert.h"

struct follower {
    /* set once, before it is published */
    struct ingest *ingest;
    struct loop *loop;
    void (*ready)(void *arg);
    void *arg;
    /* owned by `loop` */
    int64_t position, end; /* end: one past the last byte wanted; both are written under ingest->lock */
    bool left;
    int refs; /* the caller's, and one for a ready() that is posted */
    /* shared, under ingest->lock */
    bool waiting; /* for ready() */
    TAILQ_ENTRY(follower) entry;
};

static void follower_unref(struct follower *f)
{
    ON_LOOP(f->loop);
    if (--f->refs == 0) {
        ingest_unref(f->ingest);
        free(f);
    }
}

/* On the follower's loop. */
static void follower_tell(void *arg)
{
    struct follower *f = arg;

    ON_LOOP(f->loop);
    if (!f->left)
        f->ready(f->arg);
    follower_unref(f);
}

struct follower *ingest_follow(struct ingest *i, struct loop *loop, int64_t first, int64_t last,
                               void (*ready)(void *arg), void *arg)
{
    struct follower *f = xcalloc(1, sizeof(*f));

    *f = (struct follower){.ingest = ingest_ref(i), .loop = loop, .position = first, .end = last + 1, .refs = 1};
    f->ready = ready;
    f->arg = arg;
    pthread_mutex_lock(&i->lock);
    TAILQ_INSERT_TAIL(&i->followers, f, entry);
    i->follower_count++;
    if (i->relay) {
        i->taken = first;
        ingest_give_back(i);
    }
    pthread_mutex_unlock(&i->lock);
    return f;
}

/* Bytes readable at `at`. With the lock held. */
static int64_t readable(const struct ingest *i, int64_t at, int64_t end)
{
    int64_t limit = end, to = at;

    HOLDS(&i->lock);
    if (ingest_is_verified(i->state))
        return MIN(end, i->size) - at;
    if (i->size < 0 && !i->relay)
        return 0; /* it may have to begin again, as a relay */
    limit = MIN(limit, ingest_withheld(i));
    while (to < limit) {
        int64_t segment = to / INGEST_SEGMENT;
        if (ingest_has_segment(i, segment)) {
            to = (segment + 1) * INGEST_SEGMENT;
            continue;
        }
        if (i->frontier / INGEST_SEGMENT == segment && i->front > to)
            to = i->front;
        break;
    }
    return MAX(MIN(to, limit) - at, 0);
}

/* Nothing yet: 0, and ready() is called when there is something. Nothing ever: -1, and why. With the lock held. */
static int wait_or_fail(struct follower *f, bool never, struct err *err)
{
    HOLDS(&f->ingest->lock);
    if (never && err)
        *err = f->ingest->err;
    if (never)
        return -1;
    if (!f->waiting) {
        f->waiting = true;
        f->refs++; /* for the ready() that will come */
    }
    return 0;
}

static bool has_broken_off(const struct ingest *i)
{
    return i->state == INGEST_FAILED || i->state == INGEST_PAUSED;
}

int64_t follower_available(struct follower *f, struct err *err)
{
    struct ingest *i = f->ingest;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    int64_t n = readable(i, f->position, f->end);
    if (n == 0)
        n = wait_or_fail(f, has_broken_off(i), err);
    pthread_mutex_unlock(&i->lock);
    return n;
}

int follower_may_begin(struct follower *f, struct err *err)
{
    struct ingest *i = f->ingest;
    int may = 1;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    if (!ingest_is_verified(i->state) && readable(i, f->position, f->end) == 0)
        may = wait_or_fail(f, has_broken_off(i), err);
    pthread_mutex_unlock(&i->lock);
    return may;
}

int follower_is_kept(struct follower *f, struct err *err)
{
    struct ingest *i = f->ingest;
    int kept = 1;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    if (i->state != INGEST_STORED)
        kept = wait_or_fail(f, i->state == INGEST_NOT_STORED || has_broken_off(i), err);
    pthread_mutex_unlock(&i->lock);
    return kept;
}

void ingest_wake(struct ingest *i)
{
    bool ended = i->state != INGEST_RECEIVING;
    struct follower *f;

    HOLDS(&i->lock);
    TAILQ_FOREACH(f, &i->followers, entry) {
        if (!f->waiting || (!ended && readable(i, f->position, f->end) == 0))
            continue;
        f->waiting = false;
        loop_post(f->loop, follower_tell, f);
    }
}

int64_t follower_size(struct follower *f)
{
    struct ingest *i = f->ingest;

    pthread_mutex_lock(&i->lock);
    int64_t size = ingest_is_verified(i->state) ? i->size : -1;
    pthread_mutex_unlock(&i->lock);
    return size;
}

int64_t follower_position(const struct follower *f)
{
    ON_LOOP(f->loop);
    return f->position;
}

int follower_fd(const struct follower *f)
{
    return f->ingest->fd;
}

bool follower_is_of_relay(const struct follower *f)
{
    return f->ingest->relay;
}

void follower_advance(struct follower *f, int64_t bytes)
{
    struct ingest *i = f->ingest;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    f->position += bytes;
    if (i->relay) {
        i->taken = f->position;
        ingest_give_back(i);
    }
    pthread_mutex_unlock(&i->lock);
}

void follower_move(struct follower *f, int64_t first, int64_t last)
{
    struct ingest *i = f->ingest;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    IN_STATE(!i->relay || first >= f->position);
    f->position = first;
    f->end = last + 1;
    if (i->relay) {
        i->taken = first;
        ingest_give_back(i);
    }
    pthread_mutex_unlock(&i->lock);
}

static void say_deserted(void *arg)
{
    struct ingest *i = arg;

    ON_LOOP(i->owner);
    if (!i->over && ingest_followers(i) == 0)
        i->deserted(i->arg);
    ingest_unref(i);
}

/* With the lock held, after the count went down: the owner is notified when it was the last. */
static bool note_desertion(struct ingest *i)
{
    bool deserted = i->follower_count == 0 && i->state == INGEST_RECEIVING;

    HOLDS(&i->lock);
    if (deserted)
        i->refs++; /* for the closure that is posted */
    return deserted;
}

void follower_leave(struct follower *f)
{
    struct ingest *i = f->ingest;

    ON_LOOP(f->loop);
    IN_STATE(!f->left);
    f->left = true;
    pthread_mutex_lock(&i->lock);
    TAILQ_REMOVE(&i->followers, f, entry);
    i->follower_count--;
    bool deserted = note_desertion(i);
    bool waiting = f->waiting;
    f->waiting = false;
    pthread_mutex_unlock(&i->lock);
    if (waiting)
        f->refs--; /* ready() will not come */
    if (deserted)
        loop_post(i->owner, say_deserted, i);
    follower_unref(f);
}

void ingest_hold(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    i->refs++;
    i->follower_count++;
    pthread_mutex_unlock(&i->lock);
}

void ingest_release(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    i->follower_count--;
    bool deserted = note_desertion(i);
    pthread_mutex_unlock(&i->lock);
    if (deserted)
        loop_post(i->owner, say_deserted, i);
    ingest_unref(i);
}
