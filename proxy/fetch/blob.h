/* blob.h - a blob's fetch, for blob.c, resume.c, join.c, room.c and offers.c alone. */
#ifndef ENTREPOT_PROXY_FETCH_BLOB_H
#define ENTREPOT_PROXY_FETCH_BLOB_H

#include "base/assert.h"
#include "proxy/fetch/private.h"

enum {
    BLOB_ATTEMPTS_MAX = 100, /* in all */
};

struct blob_fetch {
    struct fetch common; /* first: a struct fetch of this type is one of these */
    struct ingest *ingest;
    bool waiters_follow; /* waiters have been told to follow the ingest */
    /* the exchange under way */
    int64_t first;    /* offset asked for */
    int64_t at, skip; /* offset of the next byte; bytes to skip first */
    bool unwritable;  /* the ingest did not take the last piece */
    struct event *flush;
    /* those before */
    int attempts, fruitless;  /* in all; in a row, without a byte */
    int64_t attempt_received; /* bytes that were here when the last one began */
    struct event *retry;
    bool restarted;  /* the part that was here turned out to be unusable, once */
    bool to_restart; /* ... and its ingest is ending */
    bool paused;     /* it has no waiters and no followers */
    /* of a private repository */
    struct fetch_offers *offers;
    int64_t denied_ms; /* monotonic: since then it waits for another client; 0: it does not */
    struct event *other_client;
    /* the collector is looking for room on the disk */
    struct room_question *question;
    int questions;
};

static inline struct blob_fetch *blob_of(const struct fetch *f)
{
    IN_STATE(f->want.kind == FETCH_BLOB || f->want.kind == FETCH_BLOB_RELAY);
    return (struct blob_fetch *)f;
}

/* join.c: one more waiter. */
void blob_join(struct fetch *f, struct fetch_waiter *w);
/* Whether the ingest is followed, or the collector will answer. */
bool blob_is_wanted(const struct fetch *f);
/* Without waiters and followers, the ingest is paused, unless most of the blob is here. False: there is no ingest. */
bool blob_abandon(struct fetch *f);

/* resume.c: after a pause, the rest is asked for; too many attempts: STEP_FAIL. */
void blob_resume_later(struct fetch *f, const struct err *why);
/* The client's token has expired: the rest is asked for with that of another client, if one comes within seconds, else
 * STEP_FAIL. False: neither; the caller goes on. */
bool blob_resume_as_another(struct fetch *f);
/* STEP_PROVE of a part to which no byte is missing, and which is not yet verified: a HEAD shows whether the repository
 * contains it. */
enum step blob_prove_part(struct fetch *f);

/* room.c: the disk is full. Asks the collector for room, and goes on with STEP_ASK or STEP_FAIL. False: it is not
 * asked. */
bool blob_ask_for_room(struct fetch *f);
void blob_forget_room(struct blob_fetch *b); /* the fetch ends: the collector's answer is dropped */

/* offers.c: identities that a private blob can be resumed with. blob_take_offer(): upstream refuses f->want.client,
 * which is replaced; false if there is no other yet. */
void blob_offers_begin(struct fetch *f);
void blob_offers_end(struct fetch *f);
bool blob_take_offer(struct fetch *f);

#endif
