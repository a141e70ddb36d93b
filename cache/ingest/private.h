/* private.h - shared by ingest*.c only. */
#ifndef ENTREPOT_CACHE_INGEST_PRIVATE_H
#define ENTREPOT_CACHE_INGEST_PRIVATE_H

#include "cache/cache.h"

#include <pthread.h>
#include <sys/queue.h>

/* What stands before the validator in a row of `ingest`: the origin, in hex. */
enum { ORIGIN_LEN = 8 };

struct repo_name {
    SLIST_ENTRY(repo_name) entry;
    char *name;
    enum proof proof;
    bool is_private;
};

struct ingest {
    /* set once */
    struct cache *cache;
    struct digest digest;
    struct loop *owner;
    void (*finished)(void *arg, enum ingest_state state, const struct err *err);
    void (*deserted)(void *arg);
    void (*drained)(void *arg);
    void *arg;
    bool relay;              /* the part is in memory */
    bool has_place;          /* among the relays that there may be */
    struct sent_before sent; /* relays */
    char *window;            /* relays: the part, mapped; NULL until its size is known */
    int fd;
    uint32_t origin;    /* a hash of the registry's host */
    int64_t started_ms; /* monotonic */
    int64_t resumed;    /* bytes that an earlier ingest left */

    /* owner's loop; lent to an io worker while `busy` */
    struct hasher *hasher;
    int64_t hashed; /* bytes of the contiguous prefix that went through the hasher */
    bool busy;      /* an io worker reads the prefix back */
    bool checkpointing;
    bool over;             /* `finished` was called, or will be by what is under way */
    int since_checkpoint;  /* segments */
    int64_t checkpoint_ms; /* monotonic */
    SLIST_HEAD(, repo_name) repos;
    char validator[VALIDATOR_MAX + 1];
    struct err worker_err;
    struct digest computed;
    struct file_info published;
    int64_t room;    /* bytes that were given to it by the collector */
    int64_t arrived; /* and how many of them are on the disk */
    bool asking;     /* for room: the source waits until it is there */
    bool scarce;     /* of unknown size: when it asked there was none; it takes what there is as it needs it */
    bool shared;     /* a repository that everybody may read has it */

    /* any thread */
    atomic_bool unsynced; /* a sync failed, which the kernel says once: what was written may be lost */
    atomic_bool dropped;  /* the part was removed: no row about it any more */

    /* shared, under lock */
    pthread_mutex_t lock;
    int refs;
    enum ingest_state state;
    uint64_t verified; /* which one to be verified it was; 0: it is not yet */
    struct err err;
    int64_t size; /* -1 not known */
    uint8_t *bitmap;
    size_t bitmap_len;       /* bytes */
    int64_t frontier, front; /* [frontier, front) of one segment is arriving; equal if none is */
    int64_t received;        /* bytes in whole segments and in the frontier */
    int follower_count;
    int64_t taken;     /* relays: bytes the follower has taken; -1: there was none yet */
    int64_t punched;   /* relays: bytes at the beginning that were given back */
    bool ahead;        /* relays: the owner waits for the follower */
    bool reading_back; /* from read_back_from on */
    int64_t read_back_from;
    TAILQ_HEAD(followers, follower) followers;

    /* under ingests->lock */
    TAILQ_ENTRY(ingest) entry;
};

struct ingests {
    struct cache *cache;
    pthread_mutex_t lock;
    int count;
    uint64_t verified; /* ingests so far */
    TAILQ_HEAD(, ingest) list;
    /* any thread */
    int relays_max; /* set before loops start */
    atomic_int relays;
    atomic_uint_fast64_t relays_refused;
};

/* Its digest is right: it is VERIFIED. Owner's loop. */
void ingest_set_verified(struct ingest *i);
/* With the ingest's lock held. */
bool ingest_has_segment(const struct ingest *i, int64_t segment);
/* Tells followers that there is something new. With the lock held. */
void ingest_wake(struct ingest *i);

/* Owner's loop: hashes what has become contiguous, and verifies and stores when all of it has. */
void ingest_advance(struct ingest *i);
/* Owner's loop: syncs the part and writes its bitmap to the index, in the background; then `then` (may be NULL). */
void ingest_checkpoint(struct ingest *i, void (*then)(struct ingest *i));
/* Owner's loop: the last change of state, and the word to the owner. */
void ingest_finish(struct ingest *i, enum ingest_state state, const struct err *err);
/* An ingest with nothing in it, and its place in the table. */
struct ingest *ingest_new(struct cache *cache, const struct digest *digest, struct loop *owner);
void ingest_list(struct ingest *i);
void ingest_unlist(struct ingest *i);
/* For index_write(): drops the row of the digest that is its argument. */
bool ingest_apply_forgotten(struct index_txn *t, void *arg, struct err *err);
/* Whether these bytes are what the relay's client was sent before, as far as it was. */
bool ingest_agrees(struct ingest *i, int64_t offset, const char *data, size_t len, struct err *err);
/* Once the size is known. */
bool ingest_map_window(struct ingest *i, int64_t size, struct err *err);
/* The relay gives back its place among them. */
void ingest_leave_relays(struct ingest *i);
/* A relay's follower has taken bytes, or bytes have come: gives back what nobody needs. With the lock held. */
void ingest_give_back(struct ingest *i);
/* room.c, owner's loop. Room for the blob, whose size is known, before its first byte. While it waits for it,
 * i->asking is set; if there is none, it ends. */
void ingest_ask_for_room(struct ingest *i);
/* Of a blob whose size is not known: room for what comes next, before it does, so that the source can wait while others
 * are before it. While it waits i->asking is set; if there is none it goes on with what it has. */
void ingest_ask_ahead(struct ingest *i);
/* Room up to `end`, of such a blob. */
bool ingest_extend_room(struct ingest *i, int64_t end, struct err *err);
/* So many bytes more of it are on the disk. */
void ingest_note_arrived(struct ingest *i, int64_t bytes);
/* It is in the index now, or gone, or waits for the next time. */
void ingest_settle_room(struct ingest *i, enum ingest_state state);
/* Whether all bytes may be read. */
static inline bool ingest_is_verified(enum ingest_state state)
{
    return state == INGEST_VERIFIED || state == INGEST_STORED || state == INGEST_NOT_STORED;
}
/* From where on followers have to wait for the digest: the last segment, or of a blob of unknown size as much, since
 * its end may have come. With the lock held. */
static inline int64_t ingest_withheld(const struct ingest *i)
{
    return i->size < 0 ? MAX(i->front - INGEST_SEGMENT, (int64_t)0)
                       : MAX(i->size - 1, (int64_t)0) / INGEST_SEGMENT * INGEST_SEGMENT;
}
/* First byte that is missing. Takes the lock. */
int64_t ingest_contiguous(struct ingest *i);

#endif
