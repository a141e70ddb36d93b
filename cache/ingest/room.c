/* Room for what is on its way: the limits of the cache hold for every byte on the disk, also of what may never be
 * whole.
 */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    STEP = 16 << 20, /* bytes that a blob of unknown size takes at a time */
    AHEAD = 4 << 20, /* and has before they come: more than a source brings before it waits */
};

static void ingest_answered(void *arg, bool given)
{
    struct ingest *i = arg;
    struct err err = {0};

    ON_LOOP(i->loop);
    i->asking = false;
    ingest_note_wait(i, INGEST_WAIT_ROOM, i->asked_ms);
    i->asked_ms = 0;
    if (given && i->over) {
        ingests_book_room(i->all, i->asked);
    } else if (given) {
        i->room += i->asked;
        ingest_ask_for_room(i); /* more may be needed by now */
        if (!ingest_is_ahead(i))
            i->events.drained(i->events.arg);
    } else {
        err_set(&err, ERR_NO_SPACE,
                "there is no room for %lld of the blob's %lld bytes, or it is larger than cache.blob_max",
                (long long)i->need, (long long)i->size);
        err.of_limits = true;
        if (i->all->room.blob_max == 0 || i->size <= i->all->room.blob_max)
            ingest_note_denied(i, &err);
        ingest_stop(i, &err, false);
    }
    ingest_unref(i);
}

static void ingest_refuse_room(void *arg)
{
    ingest_answered(arg, false);
}

void ingest_ask_for_room(struct ingest *i)
{
    const struct ingest_room *room = &i->all->room;
    int64_t more = i->need - i->room;

    ON_LOOP(i->loop);
    if (i->relay || !room->take || more <= 0 || i->asking || i->over)
        return;
    if (room->blob_max > 0 && i->size > room->blob_max) {
        i->asking = true;
        loop_post(i->loop, ingest_refuse_room, ingest_ref(i));
        return;
    }
    if (room->take(room->arg, more)) {
        i->room += more;
        return;
    }
    i->asking = true;
    i->asked = more;
    i->asked_ms = clock_mono_ms();
    room->ask(room->arg, more, ROOM_MADE, ingest_answered, ingest_ref(i), i->loop);
}

/* ---- of unknown size ---- */

/* In steps, and where the limit is near in what is left of them. */
static bool take_step(struct ingest *i, int64_t least)
{
    const struct ingest_room *room = &i->all->room;

    ON_LOOP(i->loop);
    for (int64_t step = MAX((int64_t)STEP, least);; step = MAX(step / 2, least)) {
        if (room->take(room->arg, step)) {
            i->room += step;
            return true;
        }
        if (step == least)
            return false;
    }
}

static void ingest_answered_step(void *arg, bool given)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    i->asking = false;
    ingest_note_wait(i, INGEST_WAIT_ROOM, i->asked_ms);
    i->asked_ms = 0;
    if (given && i->over)
        ingests_book_room(i->all, AHEAD);
    else if (given)
        i->room += AHEAD;
    i->scarce = !given;
    if (!i->over && i->size > 0) /* it is known by now */
        ingest_ask_for_room(i);
    if (!i->over && !ingest_is_ahead(i))
        i->events.drained(i->events.arg);
    ingest_unref(i);
}

void ingest_ask_ahead(struct ingest *i)
{
    const struct ingest_room *room = &i->all->room;

    ON_LOOP(i->loop);
    if (i->relay || !room->take || i->size >= 0 || i->asking || i->scarce || i->room - i->prefix >= AHEAD)
        return;
    if (take_step(i, AHEAD))
        return;
    i->asking = true;
    i->asked_ms = clock_mono_ms();
    room->ask(room->arg, AHEAD, ROOM_FREE, ingest_answered_step, ingest_ref(i), i->loop);
}

static bool refuse_more(struct err *err)
{
    if (err)
        err->of_limits = true;
    return false;
}

bool ingest_extend_room(struct ingest *i, int64_t end, struct err *err)
{
    const struct ingest_room *room = &i->all->room;

    ON_LOOP(i->loop);
    if (i->relay || !room->take || end <= i->room)
        return true;
    if (room->blob_max > 0 && end > room->blob_max) {
        err_set(err, ERR_NO_SPACE,
                "upstream does not announce the blob's size, and it is larger than cache.blob_max, %lld bytes",
                (long long)room->blob_max);
        return refuse_more(err);
    }
    i->scarce = !take_step(i, end - i->room);
    if (!i->scarce)
        return true;
    err_set(err, ERR_NO_SPACE,
            "upstream does not announce the blob's size, and after %lld bytes there is no room for more of it; nothing "
            "is evicted for such a blob",
            (long long)i->room);
    return refuse_more(err);
}
