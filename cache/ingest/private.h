/* private.h - shared by the files of this folder, each of which calls those before it:
 *
 *     table.c, space.c  the table of ingests; bytes on their way, and the callbacks that give room
 *     part.c            parts at rest, as the index knows them
 *     state.c           what an ingest is made of: references, how far it is
 *     came.c            where its bytes have come from
 *     segments.c        which bytes are here: the bitmap of whole segments, the fronts of those that are arriving
 *     unstored.c        what is not kept, and what blobs have waited for
 *     relay.c           a part that is a window in memory
 *     follow.c          followers, and what they wait for
 *     finish.c          hashing behind the prefix, checkpoints, the end
 *     room.c            room before the bytes come
 *     ingest.c          the side of the fetch: begin, describe, write
 *
 * What always holds, of the fields below:
 *
 *     A bit is set when the last byte of its segment has been written, and its front is dropped; it stays set.
 *     A front is inside its segment, behind its first byte.
 *     `prefix` is what is here from the beginning without a gap, `received` all that is here, both with the fronts.
 *     hashed <= prefix <= received <= size (once that is known; then it does not change).
 *     The state only goes forward (ingest.h). `over` is set before it leaves RECEIVING: nothing is written any more.
 */
#ifndef ENTREPOT_CACHE_INGEST_PRIVATE_H
#define ENTREPOT_CACHE_INGEST_PRIVATE_H

#include "base/pool.h"
#include "cache/index/rows.h"
#include "cache/ingest/ingest.h"
#include "cache/store/lease.h"
#include "cache/store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

enum { INGEST_PRESENT_MAX = 4 << 20 /* bytes that are looked at, at a time */ };

/* What stands before the validator in a row of `ingest`: the origin, in hex. */
enum { ORIGIN_LEN = 8 };

struct repo_name {
    SLIST_ENTRY(repo_name) entry;
    char *name;
    enum proof proof;
    bool is_private;
};

/* The end of what is here of a segment that is not whole. */
struct front {
    int64_t segment, end;
};

struct ingest {
    /* set once */
    struct ingests *all;
    struct digest digest;
    struct loop *loop;
    struct ingest_events events;
    bool relay;              /* the part is in memory */
    bool has_relay_slot;     /* among the slots for relays */
    struct sent_before sent; /* relays */
    char *window;            /* relays: the part, mapped; NULL until its size is known */
    int fd;
    uint32_t origin;                              /* a hash of the registry's host */
    int64_t started_ms;                           /* monotonic */
    int64_t resumed;                              /* bytes that an earlier ingest left */
    struct ingest_repo earlier[INGEST_REPOS_MAX]; /* for which repositories it was fetched then */
    size_t earlier_count;

    /* its loop's; of these two while `hashing_file` the io worker's */
    struct hasher *hasher;
    int64_t hashed; /* bytes of the contiguous prefix that went through the hasher */

    /* its loop's; from `over` on also of the io workers and the writer that end the ingest, one after the other */
    enum ingest_from from; /* what is written next */
    bool checkpointing;
    bool pausing;             /* the next checkpoint is the last one */
    int64_t since_checkpoint; /* bytes */
    int64_t whole_ms;         /* monotonic: when its last byte came; 0: not yet */
    int64_t checkpoint_ms;    /* monotonic */
    SLIST_HEAD(, repo_name) repos;
    char validator[VALIDATOR_MAX + 1];
    struct err worker_err;
    struct digest computed;
    struct file_info published;
    int64_t need;          /* bytes that room is needed for; of unknown size: 0 */
    int64_t room;          /* bytes that were given to it by the collector */
    int64_t asked;         /* bytes that were asked for, while `asking` */
    int64_t asked_ms;      /* since when (monotonic) */
    int64_t arrived;       /* and how many of them are on the disk */
    bool asking;           /* a request for room is pending: the source waits */
    bool clearing;         /* the row of an earlier part is being removed: the source waits */
    bool scarce;           /* of unknown size: when it asked there was none; it takes what there is as it needs it */
    atomic_bool is_public; /* a repository that everybody may read has it */

    /* any thread */
    atomic_bool over;     /* `finished` was called, or will be by what is under way; written on its loop alone */
    atomic_bool unsynced; /* a sync failed, which the kernel reports once: what was written may be lost */
    atomic_bool dropped;  /* the part was removed, or is published: no row about it any more */

    /* shared, under lock */
    pthread_mutex_t lock;
    int refs;
    enum ingest_state state;
    uint64_t verified; /* its place in the order of verification, from 1; 0: it is not verified yet */
    struct err err;
    int64_t size;    /* -1 not known */
    int64_t segment; /* bytes of one */
    uint8_t *bitmap;
    size_t bitmap_len; /* bytes */
    struct front *fronts;
    size_t front_count, front_cap;
    int64_t prefix;       /* bytes from the beginning that are here */
    int64_t received;     /* bytes in whole segments and up to the fronts */
    bool unvouched;       /* bytes have come from elsewhere than its registry */
    int64_t unvouched_ms; /* since when; monotonic */
    bool sized;           /* its registry has told the size, too */
    bool whole;           /* a follower has asked for more than half of it */
    bool wanting;         /* events.wanted() is posted */
    /* bytes by where they have come from, since it began, or before if that is remembered */
    int64_t came[INGEST_FROMS];
    int follower_count;
    int64_t taken;      /* relays: bytes the follower has taken; -1: there was none yet */
    int64_t punched;    /* relays: bytes at the beginning that were given back */
    int64_t written_to; /* one past the last byte that has come */
    bool ahead;         /* relays: the source waits for the follower */
    bool hashing_file;  /* an io worker hashes what is in the file, from hashing_from on; written on its loop alone */
    int64_t hashing_from;
    TAILQ_HEAD(followers, follower) followers;

    /* under ingests->lock */
    TAILQ_ENTRY(ingest) entry;
};

struct ingests {
    /* set once; borrowed */
    struct index *index;
    struct store *store;
    struct leases *leases;
    struct pool *pool; /* io workers */
    /* set before there is traffic */
    struct ingest_room room;
    int relays_max;
    /* any thread */
    atomic_int relays;
    atomic_uint_fast64_t relays_refused, unstored[UNSTORED_REASONS], waited_ms[INGEST_WAITS];
    struct trouble troubles[UNSTORED_REASONS];
    atomic_bool has_come; /* anything from elsewhere than a registry */
    /* bytes in the ingest folder: of blobs that room was given for; and of all others: parts that wait to be resumed,
     * and imports. The latter is measured again now and then */
    atomic_int_fast64_t arriving, parked;
    atomic_int_fast64_t partial, partial_bytes; /* of the latter: blobs of which a part is here */
    /* shared, under lock */
    pthread_mutex_t lock;
    int count;
    uint64_t verified; /* ingests so far */
    TAILQ_HEAD(, ingest) list;
    struct came *came; /* came.c; NULL: nothing has come from elsewhere than a registry */
};

/* ---- table.c ---- */

void ingest_list(struct ingest *i);
void ingest_unlist(struct ingest *i);
/* Takes one of the slots for relays. Errors: ERR_BUSY. */
bool ingest_enter_relays(struct ingest *i, struct err *err);
/* Gives it back, if it has one. */
void ingest_leave_relays(struct ingest *i);

/* ---- space.c, the ingest's loop ---- */

/* A part is at rest (1), or is taken up again (-1). Any thread. */
void ingest_note_partial(struct ingests *all, int count, int64_t bytes);
/* So many bytes more of it are on the disk. */
void ingest_note_arrived(struct ingest *i, int64_t bytes);
/* It is in the index now, or gone, or paused. */
void ingest_book_room(struct ingest *i, enum ingest_state state);

/* ---- state.c ---- */

/* An ingest with nothing in it, and one reference. */
struct ingest *ingest_new(struct ingests *all, const struct digest *digest, struct loop *loop);
/* Whether a repository has proved to contain it: a part that is nobody's is not kept. The ingest's loop. */
static inline bool ingest_is_somebodys(const struct ingest *i)
{
    return i->is_public || i->earlier_count > 0 || !SLIST_EMPTY(&i->repos);
}
/* Whether all bytes may be read. */
static inline bool ingest_is_verified(enum ingest_state state)
{
    return state == INGEST_VERIFIED || state == INGEST_STORED || state == INGEST_NOT_STORED;
}
/* From where on followers have to wait for the digest: the last MiB, or of a blob of unknown size as much, since
 * its end may have come. With the lock held. */
static inline int64_t ingest_withheld(const struct ingest *i)
{
    return i->size < 0 ? MAX(i->prefix - INGEST_WITHHELD, (int64_t)0)
                       : MAX(i->size - 1, (int64_t)0) / INGEST_WITHHELD * INGEST_WITHHELD;
}

/* ---- came.c ---- */

/* So much has been written. With the lock held. */
void ingest_count_came(struct ingest *i, int64_t len);
/* It ends; with the lock of the table held. */
void ingest_keep_came(struct ingest *i);
/* It continues an earlier one: what that had, if it is known. */
void ingest_recall_came(struct ingest *i);

/* ---- segments.c, with the ingest's lock held ---- */

bool ingest_has_segment(const struct ingest *i, int64_t segment);
/* One past the segment's last byte. */
int64_t ingest_segment_end(const struct ingest *i, int64_t segment);
/* Bytes that are here from `at` on; of more than INGEST_PRESENT_MAX at least as many. */
int64_t ingest_present(const struct ingest *i, int64_t at);
/* Counts `received` and `prefix` again. */
void ingest_count_received(struct ingest *i);
/* Of [offset, offset + len) the first *skip bytes are here, or cannot be written: a segment begins with its first byte.
 * Returns how many of those that follow are to be written. */
int64_t ingest_writable(const struct ingest *i, int64_t offset, int64_t len, int64_t *skip);
/* So much has been written. */
void ingest_note_written(struct ingest *i, int64_t offset, int64_t len);
/* Bytes of a segment of a blob of this size. */
static inline int64_t ingest_segment_of(int64_t size)
{
    int64_t segment = INGEST_SEGMENT;

    while (size / segment >= INGEST_SEGMENTS_MAX)
        segment *= 2;
    return segment;
}
/* By i->size. */
void ingest_choose_segment(struct ingest *i);
/* The blob's size, if it is not known yet, and the size of its segments. False: bytes are here that are behind its end.
 */
bool ingest_set_size(struct ingest *i, int64_t size);
/* What is here is all there is of a blob of unknown size. */
void ingest_note_end(struct ingest *i);
/* Segments that are not whole count as missing from now on: no row promises them. */
void ingest_drop_fronts(struct ingest *i);
/* Bytes from the beginning that are here. Takes the lock. */
int64_t ingest_prefix(struct ingest *i);

/* ---- unstored.c ---- */

/* The collector has no room for it. */
void ingest_note_denied(struct ingest *i, const struct err *why);
void ingest_note_stored(struct ingest *i);
/* It has waited since then; 0: it has not. */
void ingest_note_wait(struct ingest *i, enum ingest_wait what, int64_t since_ms);

/* ---- relay.c ---- */

/* Whether these bytes are what the relay's client was sent before, as far as it was. The ingest's loop. */
bool ingest_agrees(struct ingest *i, int64_t offset, const char *data, size_t len, struct err *err);
/* Once the size is known. The ingest's loop. */
bool ingest_map_window(struct ingest *i, int64_t size, struct err *err);
/* A relay's follower has taken bytes, or bytes have come: frees what is not needed any more. With the lock held. */
void ingest_give_back(struct ingest *i);

/* ---- follow.c ---- */

/* Tells followers that there is something new. With the lock held. */
void ingest_wake(struct ingest *i);

/* ---- finish.c, the ingest's loop ---- */

/* Hashes what has become contiguous, and verifies and stores when all of it has. */
void ingest_advance(struct ingest *i);
/* Syncs the part and writes its bitmap to the index, in the background; then `then` (may be NULL). */
void ingest_checkpoint(struct ingest *i, void (*then)(struct ingest *i));

/* ---- room.c, the ingest's loop ---- */

/* Room for i->need bytes of a blob whose size is known, before they come. While it waits for it, i->asking is set; if
 * there is none, it ends. */
void ingest_ask_for_room(struct ingest *i);
/* Of a blob whose size is not known: room for what comes next, before it does, so that its source can wait while
 * earlier requests are answered. While it waits i->asking is set; if there is none it goes on with what it has. */
void ingest_ask_ahead(struct ingest *i);
/* Room up to `end`, of such a blob. */
bool ingest_extend_room(struct ingest *i, int64_t end, struct err *err);

#endif
