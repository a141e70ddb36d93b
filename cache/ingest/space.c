/* How much there is on its way, and how room is got for it: what ingests and imports have in common. */
#include "cache/ingest/private.h"

#include "base/assert.h"

void ingests_set_room(struct ingests *all, const struct ingest_room *room)
{
    all->room = room ? *room : (struct ingest_room){0};
}

void ingests_set_blob_max(struct ingests *all, int64_t bytes)
{
    atomic_store(&all->room.blob_max, bytes);
}

const struct ingest_room *ingests_room(const struct ingests *all)
{
    return &all->room;
}

bool ingests_ask_for_room(struct ingests *all, int64_t bytes, enum room_from from, void (*done)(void *arg, bool given),
                          void *arg, struct loop *loop)
{
    if (!all->room.ask)
        return false;
    all->room.ask(all->room.arg, bytes, from, done, arg, loop);
    return true;
}

void ingests_book_room(struct ingests *all, int64_t bytes)
{
    if (all->room.book && bytes > 0)
        all->room.book(all->room.arg, bytes);
}

void ingests_note_arriving(struct ingests *all, int64_t change)
{
    atomic_fetch_add(&all->arriving, change);
}

void ingests_note_parked(struct ingests *all, int64_t change)
{
    atomic_fetch_add(&all->parked, change);
}

void ingests_measure_parked(struct ingests *all)
{
    OFF_LOOPS;
    int64_t parts, part_bytes, arriving = atomic_load(&all->arriving);
    int64_t bytes = store_ingest_bytes(all->store, &parts, &part_bytes);

    atomic_store(&all->parked, MAX(bytes - arriving, 0));
    atomic_store(&all->partial, MAX(parts - (ingests_count(all) - atomic_load(&all->relays)), 0));
    atomic_store(&all->partial_bytes, MAX(part_bytes - arriving, 0));
}

void ingest_note_partial(struct ingests *all, int count, int64_t bytes)
{
    atomic_fetch_add(&all->partial, count);
    atomic_fetch_add(&all->partial_bytes, bytes);
    ingests_note_parked(all, bytes);
}

struct partial_stats ingests_partial(const struct ingests *all)
{
    return (struct partial_stats){MAX(atomic_load(&all->partial), 0), MAX(atomic_load(&all->partial_bytes), 0)};
}

int64_t ingests_arriving(const struct ingests *all)
{
    return atomic_load(&all->arriving);
}

int64_t ingests_parked(const struct ingests *all)
{
    return MAX(atomic_load(&all->parked), 0);
}

/* ---- of one ingest ---- */

void ingest_note_arrived(struct ingest *i, int64_t bytes)
{
    ON_LOOP(i->loop);
    i->arrived += bytes;
    ingests_note_arriving(i->all, bytes);
}

void ingest_book_room(struct ingest *i, enum ingest_state state)
{
    ON_LOOP(i->loop);
    ingests_book_room(i->all, i->room);
    ingests_note_arriving(i->all, -i->arrived);
    if (state == INGEST_PAUSED)
        ingest_note_partial(i->all, 1, i->received);
    i->room = i->arrived = 0;
}
