#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"

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
    bool whole;                /* it would have the whole blob: the last MiB waits for the digest */
    bool for_node;             /* for another node of the cluster; set once */
    bool waiting;              /* for ready() */
    bool for_end;              /* it waits for the blob to be stored, for no bytes */
    bool told;                 /* the fetch knows that it wants what is at its position, and behind */
    struct ingest_span *later; /* what it will want after that */
    size_t later_count;
    TAILQ_ENTRY(follower) entry;
};

static void follower_unref(struct follower *f)
{
    ON_LOOP(f->loop);
    if (--f->refs == 0) {
        ingest_unref(f->ingest);
        free(f->later);
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

static struct follower *follow(struct ingest *i, struct loop *loop, int64_t first, int64_t last, bool for_node,
                               void (*ready)(void *arg), void *arg)
{
    struct follower *f = xcalloc(1, sizeof(*f));

    *f = (struct follower){.ingest = ingest_ref(i), .loop = loop, .position = first, .end = last + 1, .refs = 1};
    f->ready = ready;
    f->arg = arg;
    pthread_mutex_lock(&i->lock);
    /* Behind a relay that takes over, what counts is where the answer began. */
    int64_t from = i->relay && i->sent.fd >= 0 ? MIN(i->sent.first, first) : first;
    bool most = i->size < 0 || f->end - from > i->size / 2;
    f->for_node = for_node;
    f->whole = !for_node && most && (i->size < 0 || f->end >= i->size);
    i->whole = i->whole || (i->relay || for_node ? f->whole : most);
    TAILQ_INSERT_TAIL(&i->followers, f, entry);
    i->follower_count++;
    if (i->relay) {
        i->taken = first;
        ingest_give_back(i);
    }
    pthread_mutex_unlock(&i->lock);
    return f;
}

struct follower *ingest_follow(struct ingest *i, struct loop *loop, int64_t first, int64_t last,
                               void (*ready)(void *arg), void *arg)
{
    return follow(i, loop, first, last, false, ready, arg);
}

struct follower *ingest_follow_for_node(struct ingest *i, struct loop *loop, int64_t first, int64_t last,
                                        void (*ready)(void *arg), void *arg)
{
    return follow(i, loop, first, last, true, ready, arg);
}

/* It gets nothing before the digest is verified. With the lock held. */
static bool is_held_back(const struct follower *f)
{
    const struct ingest *i = f->ingest;

    return i->unvouched && !f->for_node && (i->size <= INGEST_HELD_MAX || !i->sized) &&
           clock_mono_ms() - i->unvouched_ms < INGEST_HELD_MS;
}

/* Bytes that may be read at its position. A piece cannot be verified before the whole is here: its client checks it.
 * With the lock held. */
static int64_t readable(const struct follower *f)
{
    const struct ingest *i = f->ingest;
    int64_t at = f->position;

    HOLDS(&i->lock);
    if (ingest_is_verified(i->state))
        return MIN(f->end, i->size) - at;
    if (i->size < 0 && !i->relay)
        return 0; /* it may have to begin again, as a relay */
    if (is_held_back(f))
        return 0;
    int64_t limit = f->whole ? MIN(f->end, ingest_withheld(i)) : f->end;
    return MAX(MIN(at + ingest_present(i, at), limit) - at, 0);
}

static void tell_wanted(void *arg)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    i->wanting = false;
    pthread_mutex_unlock(&i->lock);
    if (!i->over)
        i->events.wanted(i->events.arg);
    ingest_unref(i);
}

/* Once for each place where it begins to read: a source that comes near goes on, and its end is known to the sources.
 * With the lock held. */
static void note_wanted(struct follower *f)
{
    struct ingest *i = f->ingest;

    HOLDS(&i->lock);
    bool tell = !f->told && !i->wanting && i->state == INGEST_RECEIVING;
    f->told = true;
    if (!tell)
        return;
    i->wanting = true;
    i->refs++; /* for the closure that is posted */
    loop_post(i->loop, tell_wanted, i);
}

/* Nothing yet: 0, and ready() is called when there is something. Nothing ever: -1, and why. With the lock held. */
static int wait_or_fail(struct follower *f, bool for_end, bool never, struct err *err)
{
    HOLDS(&f->ingest->lock);
    if (never && err)
        *err = f->ingest->err;
    if (never)
        return -1;
    f->for_end = for_end && (f->for_end || !f->waiting);
    if (!f->waiting) {
        f->waiting = true;
        f->refs++; /* for the ready() that will come */
    }
    if (!for_end)
        note_wanted(f);
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
    int64_t n = readable(f);
    if (n == 0)
        n = wait_or_fail(f, false, has_broken_off(i), err);
    pthread_mutex_unlock(&i->lock);
    return n;
}

int follower_may_begin(struct follower *f, struct err *err)
{
    struct ingest *i = f->ingest;
    int may = 1;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    if (!ingest_is_verified(i->state) && readable(f) == 0)
        may = wait_or_fail(f, false, has_broken_off(i), err);
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
        kept = wait_or_fail(f, true, i->state == INGEST_NOT_STORED || has_broken_off(i), err);
    pthread_mutex_unlock(&i->lock);
    return kept;
}

void ingest_wake(struct ingest *i)
{
    bool ended = i->state != INGEST_RECEIVING;
    struct follower *f;

    HOLDS(&i->lock);
    TAILQ_FOREACH(f, &i->followers, entry) {
        if (!f->waiting || (!ended && readable(f) == 0))
            continue;
        f->waiting = false;
        loop_post(f->loop, follower_tell, f);
    }
}

/* It reads what is here, and something behind that is missing. */
static bool reads_up_to_a_gap(const struct follower *f)
{
    const struct ingest *i = f->ingest;
    int64_t from = MAX(f->position, i->prefix);

    HOLDS(&i->lock);
    return !f->waiting && from + ingest_present(i, from) < f->end;
}

size_t ingest_waiting(struct ingest *i, struct ingest_span *spans, size_t max, size_t *reading)
{
    struct follower *f;
    size_t count = 0, waiting;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    TAILQ_FOREACH(f, &i->followers, entry)
        if (f->waiting && !f->for_end && !is_held_back(f) && count < max && f->position < f->end)
            spans[count++] = (struct ingest_span){f->position, f->end};
    TAILQ_FOREACH(f, &i->followers, entry)
        for (size_t k = 0; k < f->later_count && count < max; k++)
            if (f->later[k].first + ingest_present(i, f->later[k].first) < f->later[k].end)
                spans[count++] = f->later[k];
    waiting = count;
    if (reading)
        TAILQ_FOREACH(f, &i->followers, entry)
            if (count < max && reads_up_to_a_gap(f))
                spans[count++] = (struct ingest_span){f->position, f->end};
    pthread_mutex_unlock(&i->lock);
    if (reading)
        *reading = count - waiting;
    return count;
}

void ingest_listen(struct ingest *i)
{
    struct follower *f;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    TAILQ_FOREACH(f, &i->followers, entry)
        f->told = false;
    pthread_mutex_unlock(&i->lock);
}

bool ingest_is_wanted_whole(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    bool whole = i->whole;
    pthread_mutex_unlock(&i->lock);
    return whole;
}

bool ingest_is_unvouched(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    bool unvouched = i->unvouched;
    pthread_mutex_unlock(&i->lock);
    return unvouched;
}

bool ingest_holds_back(struct ingest *i)
{
    const struct follower *f;
    bool any = false;

    pthread_mutex_lock(&i->lock);
    TAILQ_FOREACH(f, &i->followers, entry)
        any = any || is_held_back(f);
    pthread_mutex_unlock(&i->lock);
    return any;
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

bool follower_is_unvouched(struct follower *f)
{
    return ingest_is_unvouched(f->ingest);
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

void follower_expect(struct follower *f, const struct ingest_span *spans, size_t count)
{
    struct ingest_span *copy = xcalloc(count, sizeof(*copy));

    ON_LOOP(f->loop);
    memcpy(copy, spans, count * sizeof(*copy));
    pthread_mutex_lock(&f->ingest->lock);
    free(f->later);
    f->later = copy;
    f->later_count = count;
    pthread_mutex_unlock(&f->ingest->lock);
}

void follower_move(struct follower *f, int64_t first, int64_t last)
{
    struct ingest *i = f->ingest;

    ON_LOOP(f->loop);
    pthread_mutex_lock(&i->lock);
    IN_STATE(!i->relay || first >= f->position);
    f->position = first;
    f->end = last + 1;
    f->told = false;
    if (i->relay) {
        i->taken = first;
        ingest_give_back(i);
    }
    pthread_mutex_unlock(&i->lock);
}

static void say_deserted(void *arg)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    if (!i->over && ingest_followers(i) == 0)
        i->events.deserted(i->events.arg);
    ingest_unref(i);
}

/* With the lock held, after the count went down: the fetch is notified when it was the last. */
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
        loop_post(i->loop, say_deserted, i);
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
        loop_post(i->loop, say_deserted, i);
    ingest_unref(i);
}
