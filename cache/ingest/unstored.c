/* Blobs that are passed on without being kept, and what is wrong with the disk. */
#include "cache/ingest/private.h"

#include "base/clock.h"

enum {
    LATELY_MS = 60000,
    STILL_FULL = 16 << 20, /* bytes that are left of a disk that is full still, though nobody writes */
};

const char *unstored_name(enum unstored reason)
{
    static const char *const names[UNSTORED_REASONS] = {"disk_full", "io_error", "no_room"};

    return names[reason];
}

static void note_trouble(struct ingests *all, enum unstored reason, const char *why)
{
    trouble_note(&all->troubles[reason], clock_mono_ms(), why);
}

void ingests_note_unstored(struct ingests *all, const struct err *why)
{
    enum unstored reason = why->code == ERR_IO ? UNSTORED_IO_ERROR
                           : why->of_limits    ? UNSTORED_NO_ROOM
                                               : UNSTORED_DISK_FULL;

    if (why->code != ERR_IO && why->code != ERR_NO_SPACE)
        return;
    atomic_fetch_add(&all->unstored[reason], 1);
    if (reason != UNSTORED_NO_ROOM) /* ingest_note_denied() has the others: a blob over a limit is no trouble */
        note_trouble(all, reason, why->msg);
}

void ingests_note_unreadable(struct ingests *all, const char *why)
{
    note_trouble(all, UNSTORED_IO_ERROR, why);
}

void ingest_note_denied(struct ingest *i, const struct err *why)
{
    note_trouble(i->all, UNSTORED_NO_ROOM, why->msg);
}

void ingest_note_stored(struct ingest *i)
{
    trouble_pass(&i->all->troubles[UNSTORED_DISK_FULL], i->started_ms);
    trouble_pass(&i->all->troubles[UNSTORED_IO_ERROR], i->started_ms);
}

uint64_t ingests_unstored(const struct ingests *all, enum unstored reason)
{
    return atomic_load(&all->unstored[reason]);
}

static bool unstored_disk_is_full(struct ingests *all)
{
    int64_t total, available;

    return store_space(all->store, &total, &available, NULL) && available < STILL_FULL;
}

bool ingests_trouble(struct ingests *all, enum unstored reason, struct trouble_seen *out)
{
    return trouble_look(&all->troubles[reason], out) && (clock_mono_ms() - out->last_ms <= LATELY_MS ||
                                                         (reason == UNSTORED_DISK_FULL && unstored_disk_is_full(all)));
}

/* ---- what blobs have waited for ---- */

void ingest_note_wait(struct ingest *i, enum ingest_wait what, int64_t since_ms)
{
    if (since_ms > 0)
        atomic_fetch_add(&i->all->waited_ms[what], (uint64_t)MAX(clock_mono_ms() - since_ms, (int64_t)0));
}

uint64_t ingests_waited_ms(const struct ingests *all, enum ingest_wait what)
{
    return atomic_load(&all->waited_ms[what]);
}
