/* ingest.h - a blob on its way into the cache.
 *
 * One ingest exists for each digest being fetched (and beside it one relay for each client that gets the blob without
 * caching). Its bytes are in one sparse part file. Sources, the connections to a registry, write them: each brings a
 * run, a range of the blob, and any number of runs may arrive at the same time, all on one fetch loop (the ingest's).
 * Each request for the blob becomes a follower, on any loop, and reads from that file wherever bytes are.
 *
 *     sources              1 ─▶               2 ─▶                    3 ─▶
 *     part     |xxxxxxxxxxxx........|xxxxxxxxxx............|xxxxxxxxxxx....|
 *     bitmap    1 1 1 1 1 0 0 0 0 0  1 1 1 1 0 0 0 0 0 0 0  1 1 1 1 1 0 0
 *     hash     ───────▶ on an io worker, behind what is here without a gap from the beginning
 *     followers   a ▲                     ▲ b         ▲ c
 *
 * a is behind the bytes of source 1 and has what it reads at once. b is inside another run, and so is what it waits for
 * on its way. c waits where no source comes soon: ingest_events.wanted() tells the fetch, which begins a source there
 * (proxy/fetch/plan.h).
 *
 * What is here (segments.c). The bitmap has a bit for each segment (INGEST_SEGMENT) that is whole. A segment is filled
 * from its first byte on; how far it has come is its front. Bytes that are here are never written again, whatever a
 * source brings, so that followers and the hasher read them without a lock. Only the order in which they are hashed is
 * fixed: an io worker follows the prefix, and reads from the page cache what was written a moment ago (finish.c). Blobs
 * of at most 1 MiB and relays are hashed by the loop as they come.
 *
 *     RECEIVING ── all is here, digest right ─▶ VERIFIED ── sync, rename, index ──▶ STORED
 *         │  │                                     └──── the disk or the index fails ──▶ NOT_STORED
 *         │  └──── all is here, digest wrong ─▶ FAILED  (the part is removed)
 *         ├─ sources or room gone, no follower ▶ PAUSED  (the part and its bitmap stay, the next ingest continues)
 *         └─ disk error, or nothing to keep ──▶ FAILED  (the part is removed)
 *
 * Nothing to keep: the blob's size is not known, it is a relay, or no repository has proved to contain it. The row of
 * a part records for which repositories it was fetched, and whether a public one is among them; it is never continued
 * with the bytes of another registry.
 *
 * Before the digest. A follower that would have the whole blob (from the beginning, or more than half, up to the end)
 * waits with the last MiB until the digest has been verified, so that it never receives a complete wrong blob. A
 * follower of any other range gets its bytes as they arrive: a piece cannot be verified before all of the blob is here,
 * and its client checks it itself. Pieces stay in the part like all other bytes, for other pieces and for the whole.
 *
 * Unvouched bytes: other nodes and buckets are sources, too, and one of them may send wrong bytes. Until the digest is
 * verified, clients get nothing of a blob of at most INGEST_HELD_MAX with such bytes (or of one of which only they say
 * that it is larger), for INGEST_HELD_MS at most, so that it can be fetched again
 * from its registry without their noticing. Other nodes get it as it comes: they do the same.
 *
 * On disk: the bitmap in the index never promises a byte that is not synced: a checkpoint syncs the part before it
 * writes the row. Fronts are in no row. A crash loses at most what came after the last checkpoint.
 *
 * Room. The cache's limits hold for what is on its way, too: room is requested for what is to be fetched (the blob, or
 * the pieces of it) when the size is known and before the first byte is written, and meanwhile the sources wait
 * (ingest_is_ahead()). A blob whose size upstream does not announce takes room as it grows, as far as there is some:
 * nothing is evicted for it. It waits like others while earlier requests for room are pending. Its followers wait for
 * the end, since there may be no room for all of it, and then it has to begin again, as a relay.
 *
 * Relays. When the disk is full or failing, a blob is relayed without caching: an ingest for one follower alone whose
 * part is a window in memory. What the follower has taken is freed at once, so it copies what it reads; and the source
 * stops reading from upstream while the follower is RELAY_WINDOW bytes behind. Everything else is the same, up to the
 * last MiB that waits for the digest; of a blob of unknown size the latest one waits. The number of
 * relays at a time is bounded (limits.relays): their clients may never read.
 *
 * Ownership: counted references; the fetch has one, so has each follower.
 * Threads: as each function says. The part file's descriptor stays readable after the rename.
 */
#ifndef ENTREPOT_CACHE_INGEST_INGEST_H
#define ENTREPOT_CACHE_INGEST_INGEST_H

#include "base/digest.h"
#include "base/loop.h"
#include "base/pool.h"
#include "base/trouble.h"
#include "cache/index/rows.h"
#include "cache/store/lease.h"
#include "cache/store/store.h"

struct ingests;
struct ingest;
struct follower;

enum {
    INGEST_SEGMENT = 4 << 10, /* bytes; of a larger blob than INGEST_SEGMENTS_MAX of them twice as many, and so on */
    INGEST_SEGMENTS_MAX = 1 << 20, /* the bitmap stays at 128 KiB */
    INGEST_WITHHELD = 1 << 20,     /* bytes at the end, at most, that wait for the digest: of a small blob all */
    INGEST_CHECKPOINT = 8 << 20,   /* bytes between two checkpoints, at least */
    INGEST_CHECKPOINT_MS = 500,    /* and milliseconds */
    INGEST_HELD_MAX = 1 << 30,     /* bytes of a blob that is held back for that; larger ones are sent as they come */
    INGEST_HELD_MS = 20000,        /* and for so long: a client that gets nothing for minutes gives up */
    RELAY_WINDOW = 256 << 10,      /* bytes in memory that a relay's follower may read, and has not read yet */
};

enum ingest_state {
    INGEST_RECEIVING,
    INGEST_VERIFIED,
    INGEST_STORED,
    INGEST_NOT_STORED, /* verified, and its followers get all of it; but it is not in the cache */
    INGEST_PAUSED,
    INGEST_FAILED,
};

/* Sizes above this are refused: no registry serves them. */
#define INGEST_SIZE_MAX ((int64_t)1 << 40)

/* ---- the table of what is being ingested ---- */

/* What is handed in is borrowed, and outlives it. */
struct ingests *ingests_new(struct index *index, struct store *store, struct leases *leases, struct pool *pool);
/* When all of them have ended. */
void ingests_free(struct ingests *all);
struct ingest_info {
    struct digest digest;
    int64_t size; /* bytes; -1 not known */
    int64_t received;
    int followers;
    bool is_public; /* a public repository has proved to contain it */
};
/* Any thread. */
int ingests_count(struct ingests *all);
/* As they are now; no lock is held while `fn` runs. Any thread. */
void ingests_each(struct ingests *all, void (*fn)(void *arg, const struct ingest_info *info), void *arg);
/* A client that has had a blob's last byte may look for it before it is in the index. How many blobs have been verified
 * so far, and whether the first `verified` of them are stored by now, or will not be. Any thread. */
uint64_t ingests_verified(struct ingests *all);
bool ingests_ended(struct ingests *all, uint64_t verified);
/* The most relays at a time; before loops start. */
void ingests_set_relays_max(struct ingests *all, int most);
/* How many there are, and how many were refused. Any thread. */
struct relay_stats {
    int now;
    uint64_t refused;
};
struct relay_stats ingests_relays(const struct ingests *all);
/* Of a blob that is not stored: bytes of it that are here at rest, by the index, and its size. Reads no file. */
int64_t ingest_part_bytes(struct index_txn *t, const struct digest *d, int64_t *size);
/* Whether there is a part of this blob, and it may be served as the repository's (full name) without asking its
 * registry: it was fetched for it, or is public and the repository is known to contain the blob. Any thread. */
bool ingests_part_is_of(struct ingests *all, const struct digest *d, const char *repo);
/* Which bytes of it are here at rest. */
struct part_map {
    int64_t size, segment; /* bytes */
    int64_t segments;      /* in the bitmap */
    uint8_t *bitmap;
};
/* False: there is no part, or an ingest has it. Free it with part_map_clear(). Blocks. */
bool ingests_map_part(struct ingests *all, const struct digest *d, struct part_map *map);
/* The first range that is here at or behind `from`, the beginning of a segment or the blob's end: [*first, *end). */
bool part_map_next(const struct part_map *map, int64_t from, int64_t *first, int64_t *end);
bool part_map_eq(const struct part_map *a, const struct part_map *b);
void part_map_clear(struct part_map *map);
/* Bytes of a blob of which there is a part; -1: there is none. Any thread. */
int64_t ingests_size_of_part(struct ingests *all, const struct digest *d);
/* The same for one that arrives, and is public; -1: none does, or its size is not known. Any thread. */
int64_t ingests_size_of_arriving(struct ingests *all, const struct digest *d);
/* Whether the byte at `at` of a blob that arrives is here, and how many are. Any thread. */
bool ingests_has_byte(struct ingests *all, const struct digest *d, int64_t at, int64_t *received);
/* Where the bytes of a blob that arrives, or has ended a while ago, have come from, as far as that is known: since the
 * daemon started, and only if anything has come from elsewhere than a registry. False: nothing is known. Any thread. */
enum ingest_from { INGEST_FROM_REGISTRY, INGEST_FROM_NODES, INGEST_FROM_BUCKET, INGEST_FROMS };
bool ingests_came(struct ingests *all, const struct digest *d, int64_t from[INGEST_FROMS]);
/* Whether there are parts that were given up and still take space, until their clients have left. Any thread. */
bool ingests_are_freeing(struct ingests *all);
/* Removes the part of a blob and its row in the index, unless an ingest has it. Blocks. */
bool ingests_forget(struct ingests *all, const struct digest *d, struct err *err);

/* ---- what is not kept ---- */

enum unstored { UNSTORED_DISK_FULL, UNSTORED_IO_ERROR, UNSTORED_NO_ROOM, UNSTORED_REASONS };
/* "disk_full". */
const char *unstored_name(enum unstored reason);
/* A client gets a blob or a manifest that is not kept, since there is no room for it or the disk fails: ERR_NO_SPACE,
 * ERR_IO. Any thread, and so below. */
void ingests_note_unstored(struct ingests *all, const struct err *why);
/* A blob could not be read. */
void ingests_note_unreadable(struct ingests *all, const char *why);
/* How many answers were not kept so far. */
uint64_t ingests_unstored(const struct ingests *all, enum unstored reason);
/* Whether it is so now: in the last minute, unless a blob that began later has been stored; or there is nothing left of
 * the disk. */
bool ingests_trouble(struct ingests *all, enum unstored reason, struct trouble_seen *out);
/* Milliseconds that blobs have waited, all together: for the collector's answer, and from their last byte to the
 * digest. */
enum ingest_wait { INGEST_WAIT_ROOM, INGEST_WAIT_HASH, INGEST_WAITS };
uint64_t ingests_waited_ms(const struct ingests *all, enum ingest_wait what);

/* ---- room, before the bytes come ---- */

/* Where room may come from. */
enum room_from {
    ROOM_FREE,    /* what there is, after earlier requests */
    ROOM_MADE,    /* as much may be evicted for it as it needs, not more */
    ROOM_ON_DISK, /* the disk is full: can that much be freed? (Nothing is given then, and nothing to be booked.) */
};

/* Gives room; set by the folder above that collects. All NULL: there is no limit. What was given is booked once it is
 * in the index, or is not to be kept after all. Called on any thread. */
struct ingest_room {
    /* Takes room for `bytes` more if it is there now, beside what was requested earlier. */
    bool (*take)(void *arg, int64_t bytes);
    /* The same, but waits for its turn. Answered on `loop`. */
    void (*ask)(void *arg, int64_t bytes, enum room_from from, void (*done)(void *done_arg, bool given), void *done_arg,
                struct loop *loop);
    void (*book)(void *arg, int64_t bytes);
    _Atomic int64_t blob_max; /* bytes; larger blobs are not kept. 0: no such bound */
    void *arg;
};

/* Copied; NULL: there is no limit from now on. While there is no traffic. */
void ingests_set_room(struct ingests *all, const struct ingest_room *room);
/* Changes its blob_max. Any thread. */
void ingests_set_blob_max(struct ingests *all, int64_t bytes);
const struct ingest_room *ingests_room(const struct ingests *all);
/* Asks for room, as ingest_room.ask. False: there is no limit, and `done` is not called. Any thread. */
bool ingests_ask_for_room(struct ingests *all, int64_t bytes, enum room_from from, void (*done)(void *arg, bool given),
                          void *arg, struct loop *loop);
/* Books what was given. Any thread. */
void ingests_book_room(struct ingests *all, int64_t bytes);
/* Bytes in the ingest folder: those that room was given for, and all others: parts that wait to be resumed, imports.
 * Any thread. */
void ingests_note_arriving(struct ingests *all, int64_t change);
void ingests_note_parked(struct ingests *all, int64_t change);
int64_t ingests_arriving(const struct ingests *all);
int64_t ingests_parked(const struct ingests *all);
/* Blobs of which a part is here, at rest: how many, and the bytes of them. Any thread. */
struct partial_stats {
    int64_t count, bytes;
};
struct partial_stats ingests_partial(const struct ingests *all);
/* Counts the latter two again, from the files. Blocks. */
void ingests_measure_parked(struct ingests *all);

/* ---- the side of the fetch, and of its sources: one fetch loop, the same for every call ---- */

/* What the fetch is told, on the ingest's loop. */
struct ingest_events {
    /* Once: it has come to STORED, NOT_STORED, PAUSED or FAILED (the last three with why). */
    void (*finished)(void *arg, enum ingest_state state, const struct err *err);
    /* The last follower has left. */
    void (*deserted)(void *arg);
    /* The sources may go on after ingest_is_ahead(). */
    void (*drained)(void *arg);
    /* A follower waits at a place where none did before (ingest_waiting()). */
    void (*wanted)(void *arg);
    void *arg;
};

/* Begins, or resumes what an earlier ingest left that had its bytes from the same registry (`host`): another's may be
 * wrong. Errors: ERR_IO, ERR_NO_SPACE. */
struct ingest *ingest_begin(struct ingests *all, const struct digest *digest, const char *host, struct loop *loop,
                            const struct ingest_events *events, struct err *err);
/* What a client was sent of a blob that was never verified: [first, end) of a file. */
struct sent_before {
    int fd; /* -1: nothing */
    int64_t first, end;
};
/* The same for a relay. What was sent before must be what comes now, else the ingest fails with ERR_DIGEST; its
 * descriptor is duplicated. Errors: also ERR_BUSY, there are too many. */
struct ingest *ingest_begin_relay(struct ingests *all, const struct digest *digest, struct loop *loop,
                                  const struct ingest_events *events, const struct sent_before *sent, struct err *err);
/* Whether the source should wait: for room, until an earlier part is forgotten, or since a relay's window is full. */
bool ingest_is_ahead(struct ingest *i);
/* The first range that is missing at or behind `from`: [*first, *end); INT64_MAX: to the end, wherever that is. It may
 * begin before `from`: a segment is filled from its start. False if nothing is missing there. */
bool ingest_gap(struct ingest *i, int64_t from, int64_t *first, int64_t *end);
/* A range of bytes, [first, end). */
struct ingest_span {
    int64_t first, end;
};
/* What followers wait for, from their position to the last byte that they want, then what they will want later and is
 * missing, and, unless `reading` is NULL, the same of those that still read what is here: the last *reading ones. At
 * most `max`. Returns how many there are. */
size_t ingest_waiting(struct ingest *i, struct ingest_span *spans, size_t max, size_t *reading);
/* No source is under way: each follower that waits from now on is told of by wanted(), whatever was known of it. */
void ingest_listen(struct ingest *i);
/* Whether a follower has asked for more than half of it. */
bool ingest_is_wanted_whole(struct ingest *i);
/* The blob's size in bytes (-1: not announced) and upstream's validator (strong ETag; may be ""; NULL: another source
 * answers, it stays), before the first write. Errors: ERR_TOO_LARGE; ERR_CORRUPT if the size contradicts what a resumed
 * part was made for: stop with `discard` and begin again. */
bool ingest_describe(struct ingest *i, int64_t size, const char *validator, struct err *err);
/* Room for so many bytes of it in all, before they come: while it is asked for, ingest_is_ahead(). Without room the
 * ingest ends, with ERR_NO_SPACE. Of a blob of known size; the others take room as they grow. */
void ingest_need_room(struct ingest *i, int64_t bytes);
/* Bytes from a source, at `offset`. What is here already is skipped, and what does not continue it or begin a segment.
 * Errors: ERR_IO, ERR_NO_SPACE, ERR_UPSTREAM (more bytes than were announced). */
bool ingest_write(struct ingest *i, int64_t offset, const void *data, size_t len, struct err *err);
/* Where what is written next is from; at first from its registry. The ingest's loop. */
void ingest_note_from(struct ingest *i, enum ingest_from from);
/* The next bytes are not from its registry. The ingest's loop. */
void ingest_note_unvouched(struct ingest *i);
/* Its registry has told its size. The ingest's loop. */
void ingest_note_sized(struct ingest *i);
bool ingest_is_sized(struct ingest *i); /* any thread */
/* Whether there are such bytes, and whether a client waits for all others because of them. Any thread. */
bool ingest_is_unvouched(struct ingest *i);
bool ingest_holds_back(struct ingest *i);
/* The source has sent all of a blob whose size it had not announced. */
void ingest_end_of_unknown(struct ingest *i);
/* Stops: what has been received stays to be resumed (err NULL or transient), or is dropped (`discard`). */
void ingest_stop(struct ingest *i, const struct err *err, bool discard);
/* Stopped, but not yet finished: it takes no more followers. The ingest's loop. */
bool ingest_is_stopping(struct ingest *i);
enum ingest_state ingest_state(struct ingest *i); /* any thread */
int64_t ingest_size(struct ingest *i);            /* -1 not known; any thread */
int64_t ingest_received(struct ingest *i);        /* any thread */
int64_t ingest_resumed(const struct ingest *i);   /* of that, what an earlier one had left; any thread */
int ingest_followers(struct ingest *i);           /* any thread */
const char *ingest_validator(struct ingest *i);
/* Its part is used: the collector removes parts that were not used for long (gc/repair/reconcile.h). The ingest's
 * loop. */
void ingest_touch(struct ingest *i);
/* A repository (full name) that has proved to contain the blob: linked to it when it is stored. Unless `is_private`,
 * the repository is public, and so the blob is not stored as private. */
void ingest_also_link(struct ingest *i, const char *repo, enum proof proof, bool is_private);
/* Whether it has been linked to a public repository. The ingest's loop. */
bool ingest_is_public(const struct ingest *i);
/* A follower to be: keeps the ingest from being deserted until the follower is there, or does not come after all. */
void ingest_hold(struct ingest *i);
void ingest_release(struct ingest *i);
struct ingest *ingest_ref(struct ingest *i);
void ingest_unref(struct ingest *i);

/* ---- a follower's side: any loop ---- */

/* Follows the bytes from `first` to `last` (inclusive). `ready` is called on `loop` after follower_available() returned
 * 0 and something has changed. */
struct follower *ingest_follow(struct ingest *i, struct loop *loop, int64_t first, int64_t last,
                               void (*ready)(void *arg), void *arg);
/* The same for another node of the cluster: nothing is held back, and what it asks for does not make the blob wanted as
 * a whole. */
struct follower *ingest_follow_for_node(struct ingest *i, struct loop *loop, int64_t first, int64_t last,
                                        void (*ready)(void *arg), void *arg);
/* Bytes that may be read at the follower's position now; 0: wait for ready(), or nothing is left (follower_size()); -1:
 * the ingest ended without them, *err says why. */
int64_t follower_available(struct follower *f, struct err *err);
/* Whether an answer may begin: 1: its first byte may be read, or there is none and the digest is right; 0: wait for
 * ready(); -1: the ingest ended before that, *err says why. */
int follower_may_begin(struct follower *f, struct err *err);
/* The same for a caller that needs the blob stored, not its bytes: 1 when the index has it, 0: wait for ready(), -1: it
 * is not kept, *err says why. */
int follower_is_kept(struct follower *f, struct err *err);
/* The blob's size once all of it may be read; -1 before. */
int64_t follower_size(struct follower *f);
int64_t follower_position(const struct follower *f);
/* The part file, for reading; borrowed, valid as long as the follower. */
int follower_fd(const struct follower *f);
/* Whether bytes of its blob have come from elsewhere than the registry. */
bool follower_is_unvouched(struct follower *f);
/* Whether it is a window, of which nothing is left behind the follower's position. */
bool follower_is_of_relay(const struct follower *f);
void follower_advance(struct follower *f, int64_t bytes);
/* Follows the bytes from `first` to `last` (inclusive) from now on; of a relay, no earlier ones. Then ask
 * follower_available(). */
void follower_move(struct follower *f, int64_t first, int64_t last);
/* Where it will move to, so that sources can bring it meanwhile. */
void follower_expect(struct follower *f, const struct ingest_span *spans, size_t count);
/* Ends it; ready() is not called any more. */
void follower_leave(struct follower *f);

#endif
