/* arriving.h - the world of ingest_model: blobs with their right bytes, a disk that fails and loses what was not
 * synced, and what the model knows of each ingest, byte by byte.
 *
 *     disk.c      the disk under the cache
 *     bytes.c     blobs; generations of part files and what is in them
 *     arriving.c  ingests, compared with the model
 *     readers.c   their followers
 *     sources.c   their sources
 *     room.c      room for them */
#ifndef ENTREPOT_TESTS_ARRIVING_H
#define ENTREPOT_TESTS_ARRIVING_H

#include "cache/cache.h"
#include "cache/ingest/private.h"
#include "cache/parts.h"
#include "tests/tools/model/life.h"

enum {
    SEG = INGEST_SEGMENT,
    CAP = 10 << 20, /* bytes of the largest blob, and of the largest lie about a size */
    SEGS = CAP / SEG,
    BLOBS = 6,
    SLOTS = 6,
    GENS = SLOTS + BLOBS + 1,
    SOURCES = 4,
    FOLLOWERS = 6,
    HOSTS = 2,
    FILES = 64,
    PAGE = 4096,
};

/* ---- disk.c ---- */

struct disk_file {
    uint64_t inode;           /* 0: free */
    bool sync_failed;         /* once, ever */
    uint8_t page[CAP / PAGE]; /* enum page_state */
};

/* Follows the writes and syncs of this file from now on. */
void disk_watch(int fd);
/* The next write of a watched file fails with this errno; 0: it is short. */
void disk_fail_write(int with);
/* Whether that has happened since. */
bool disk_has_failed_write(void);
/* The next sync of a watched file fails. */
void disk_fail_sync(bool fail);
/* Syncs, the index's too, take up to so many microseconds. */
void disk_delay_syncs(int us);
/* Whether a sync of this file has failed. */
bool disk_sync_failed(uint64_t inode);
/* As after a power failure: what was not synced is lost. `dir` is a folder of the cache. */
void disk_lose_unsynced(const char *dir, const char *sub);
/* Everything is on the disk; nothing is watched any more. */
void disk_forget(void);

/* ---- bytes.c ---- */

/* One part file, from its first byte until it is stored or dropped; several ingests may follow each other on it. */
struct gen {
    int blob; /* -1: free */
    int host;
    uint64_t inode;
    int64_t size;        /* as announced; -1: not known */
    bool dropping;       /* its end has begun: what was kept may be gone */
    bool unsure;         /* a sync failed, or the blob was stored meanwhile: the same */
    int64_t end[SEGS];   /* of what is here of each segment */
    bool may_keep[SEGS]; /* it was whole while a repository was known to have the blob */
    bool may_be_public;  /* a public one was */
    bool is_public;      /* and its part was at rest then */
    bool kept[SEGS];     /* a checkpoint has ended that promises it */
};

/* Shared by all processes of one run. */
struct shared {
    struct life life;
    int current[BLOBS]; /* generation; -1 none */
    bool stored[BLOBS];
    int64_t clock_ms;
    struct gen gens[GENS];
    struct disk_file files[FILES];
    uint8_t bytes[GENS][CAP];
};

struct blob {
    struct digest digest;
    int64_t size;
    uint8_t *bytes; /* CAP of them: a registry that lies about the size sends more */
};

extern struct shared *S;
extern struct blob world[BLOBS];
extern const char *const HOST_NAMES[HOSTS];

void world_make(uint64_t seed);
static inline int64_t seg_start(int64_t s)
{
    return s * SEG;
}
/* One past the last byte of a segment of a blob of this size (-1: not known). */
int64_t seg_end(int64_t size, int64_t s);
int gen_new(int blob, int host, uint64_t inode);
/* Nobody is on it any more. */
void gen_free(int g);
bool gen_is_whole(const struct gen *g);
/* Whether all of it is what its digest says. */
bool gen_is_right(int g);

/* ---- arriving.c ---- */

enum lie { HONEST, WRONG_BYTES, OTHER_PLACE, FROM_ZERO, OTHER_SIZE, TOO_MANY, ANYWHERE, LIES };

struct source {
    bool on;
    enum lie lie;
    int64_t at, end, shift;
};

struct reader {
    struct follower *f;
    struct slot *slot;
    struct loop *loop;
    int64_t first, end, at;
    bool all; /* it wants the whole, and gets no wrong one */
    bool waits, waits_kept, told;
};

/* One ingest, and what the model makes of it. */
struct slot {
    struct ingest *i; /* NULL: free */
    int blob, gen, host;
    bool owned; /* the source's reference is there */
    bool wants_private, is_public, is_linked;
    bool unknown; /* upstream does not announce its size */
    bool whole;   /* room is requested for all of it */
    bool told_to_stop, discard, over, finished, checkpointing, refused, failed;
    int64_t size, resumed;
    int64_t end[SEGS];
    bool keeping[SEGS]; /* by the checkpoint under way */
    char validator[VALIDATOR_MAX + 1];
    int holds, deserted, wanted, drained;
    bool blocked;         /* a source waits for drained() */
    bool desertion, want; /* events that are due */
    struct source sources[SOURCES];
    struct reader readers[FOLLOWERS];
};

extern struct slot slots[SLOTS];
extern struct cache *cache;
extern struct pool *pool;
extern struct loop *near, *far; /* the sources' loop, which has followers, too; and one of followers alone */

struct slot *slot_begin(int blob, int host);
/* Gives back the source's reference of one that has finished. */
void slot_disown(struct slot *s);
/* Frees its place if nobody has the ingest any more. */
void slot_reap(struct slot *s);
int64_t slot_received(const struct slot *s);
bool slot_is_whole(const struct slot *s);
/* Bytes from `at` on that are here. */
int64_t slot_present(const struct slot *s, int64_t at);
/* What ingest_gap() should say. */
bool slot_gap(const struct slot *s, int64_t from, int64_t *first, int64_t *end);
/* ingest_write() has taken these bytes. */
void slot_write(struct slot *s, int64_t offset, const uint8_t *data, int64_t len);
/* ingest_write() has failed: some of them may be there. */
void slot_write_some(struct slot *s, int64_t offset, const uint8_t *data, int64_t len);
/* A segment that is whole may be promised once a repository is known to have the blob. */
void slot_allow(struct slot *s);
/* A public one is from now on. */
void slot_share(struct slot *s);
/* Whether none is: then its part is not kept. */
bool slot_is_nobodys(const struct slot *s);
/* Takes over what the ingest has decided by itself. */
void slot_notice(struct slot *s);
int slot_followers(const struct slot *s);
void slot_check(struct slot *s);
/* The blob is in the cache, with its right bytes, links, and rights. */
void check_stored(int blob, bool is_public, bool exact);

/* Both loops run what was posted to them. */
void turn_loops(void);
/* After that. */
void check_all_settled(void);
/* Until nothing is queued anywhere; then what should have ended has. */
void turn_all(void);

/* ---- readers.c ---- */

/* After both loops have settled, too: a follower that waits has a reason. */
void slot_check_settled(struct slot *s);
void reader_join(struct slot *s, int64_t first, int64_t end);
void reader_read(struct reader *r);
void reader_ask(struct reader *r);
void reader_leave(struct reader *r);

/* ---- sources.c ---- */

void slot_stop(struct slot *s, enum err_code code, bool discard);
/* A repository proves to contain it. */
void slot_link(struct slot *s);
/* One more source begins, if there is a place for it (`s` may be NULL). */
void slot_add_source(struct slot *s);
/* One of them brings some bytes, or ends. */
void slot_bring(struct slot *s);

/* ---- room.c ---- */

extern int64_t room_given; /* bytes that were given and are not booked */
extern bool room_bound, room_scarce;

/* With the cache. */
void room_open(void);
void room_answer_one(void);
void room_answer_all(void);
bool room_is_asked(void);

#endif
