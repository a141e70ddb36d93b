/* blob.h - a blob's fetch: what blob.c, its steps, shares with the files of one aspect of it each.
 *
 *     wanted.c    how much of it is to be fetched    striped.c    of which other nodes, and the bucket (by stripes.h)
 *     nodes.c     what becomes of that
 *     source.c    one exchange with the registry      sources.c   how many there are, and of which ranges (by plan.h)
 *     partial.c   pieces of a blob that is not whole  join.c      clients that come, and the last that leaves
 *     resume.c    after a break                       room.c      when the disk is full
 *     offers.c    identities of clients of private content
 */
#ifndef ENTREPOT_PROXY_FETCH_BLOB_H
#define ENTREPOT_PROXY_FETCH_BLOB_H

#include "base/assert.h"
#include "proxy/fetch/byteranges.h"
#include "proxy/fetch/private.h"
#include "proxy/fetch/stripes.h"

enum {
    BLOB_ATTEMPTS_MAX = 100, /* in all */
    GIVERS_MAX = 64,         /* nodes that are known to have sent bytes of a blob */
};

/* One connection's range of the blob. */
struct blob_source {
    TAILQ_ENTRY(blob_source) entry;
    struct fetch *fetch;
    struct supply supply;
    struct stripe_choice choice;       /* whom it asks; .from STRIPE_REGISTRY: the registry */
    struct peer *peer;                 /* a reference; NULL: no other node */
    char elsewhere[PEER_NAME_MAX + 1]; /* the node that it names instead of itself; "" none */
    bool further;                      /* begun beside others: if it fails, they go on */
    bool ranged;                       /* a range was requested */
    int64_t ranged_to;                 /* and one past its last byte */
    int64_t first;                     /* its beginning; -1: the last `suffix` bytes */
    int64_t suffix;
    int64_t at, skip;          /* offset of the next byte; bytes to skip first */
    int64_t end;               /* one past the last byte that it is to bring; INT64_MAX: all */
    int64_t asked_end;         /* and that was requested: `end` may be earlier by now */
    int status;                /* of the answer; 0: none yet */
    bool direct;               /* where an earlier one was redirected to was asked first */
    bool unwritable;           /* the ingest did not take the last piece */
    bool stuck;                /* it brought nothing for a while: others bring the rest. If it goes on, it ends */
    struct ingest_span *spans; /* several ranges in one request; else NULL */
    size_t span_count, span;   /* `span`: the one that is coming */
    struct byteranges parts;   /* the body of such an answer */
    bool in_parts;             /* it is one */
    bool quick;                /* the registry answered within QUICK_MS */
    struct err err;            /* why it was given up */
    struct buf received;
    struct event *flush;
    int64_t wanted_ms; /* monotonic: when a client waited for what it brings last; 0: none did */
    int64_t begun_ms;
    int64_t heard_ms;         /* monotonic: its first byte; 0: none yet */
    int64_t active_ms;        /* the latest one, or when it was begun */
    int64_t brought, counted; /* bytes; of these, up to the last measurement */
    int64_t rate;             /* bytes a second at the last measurement; 0: too early */
};

/* What source.c tells blob.c. */
struct blob_source_events {
    /* The head of an answer with 200 or 206, whose range and size are right. False: it is of no use, s->err says why.
     */
    bool (*opened)(struct blob_source *s, int64_t size, const struct transfer_response *r);
    /* It has brought its range, or the answer was complete before. It is to be freed. */
    void (*ended)(struct blob_source *s);
    /* Or it has failed: with s->err, or by upstream's refusal (`r`), or error. It is to be freed. */
    void (*failed)(struct blob_source *s, const struct transfer_response *r, const struct err *err);
};

TAILQ_HEAD(blob_sources, blob_source);

struct blob_fetch {
    struct fetch common; /* first: a struct fetch of this type is one of these */
    struct ingest *ingest;
    bool waiters_follow; /* waiters have been told to follow the ingest */
    bool whole;          /* a client asks for the whole, by its request: it may end anywhere */
    bool kept;           /* the whole has to be stored here */
    bool proved;         /* its repository is known to contain the blob */
    bool ahead;          /* no client has asked for it yet: until then, all of it over one connection */
    bool unasked;        /* it began with what is here: no registry was asked */
    bool without_piece;  /* the registry refused the range of the first client */
    /* the exchanges under way: sources.c */
    const struct blob_source_events *source_events;
    struct blob_sources sources;
    int source_count;
    int most;            /* so many for what no client waits for, at present */
    int lost;            /* further ones that failed */
    int64_t held_ms;     /* monotonic: none is begun before, beside others */
    int64_t grown_ms;    /* when `most` was changed last */
    int64_t rate_before; /* bytes a second of all, when it was increased; 0: that has been judged */
    int64_t measured_ms, tick_due_ms;
    struct event *tick;
    char *moved_to; /* where the registry has redirected to; NULL: nowhere, or it is to be asked */
    int unmoved;    /* how often that was refused to another request */
    /* other nodes and the bucket: striped.c */
    struct peer_view *view; /* as it was at the beginning; NULL: none is asked */
    struct stripe_map map;
    int64_t mapped;                  /* the size that it was made for; 0: none yet */
    uint8_t *hops;                   /* of each stripe: with which other nodes ask for it */
    uint8_t *tried;                  /* of each stripe: struct stripe_now.tried */
    int lacked;                      /* how often others had nothing */
    struct peer *givers[GIVERS_MAX]; /* nodes whose bytes it has; references */
    int giver_count;
    bool bucket;               /* it may be asked */
    struct digest bucket_name; /* of the blob there */
    int failed;                /* how many of them failed */
    int64_t quick_ms;          /* when a quick answer of the registry last brought bytes; monotonic, 0: none has */
    enum stripe_from opened;   /* the first that answered, once one has */
    bool has_opened;
    /* those before */
    int attempts, fruitless;  /* in all; in a row, without a byte */
    int64_t attempt_received; /* bytes that were here when the last one began */
    struct event *retry;
    bool resting;    /* until the next attempt */
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

static inline bool blob_is_relay(const struct fetch *f)
{
    return f->want.kind == FETCH_BLOB_RELAY;
}

/* source.c: one exchange. blob_source_begin() requests [first, end) (INT64_MAX: to the end) of the registry, or with
 * first -1 the last `end` bytes; `further`: beside others. What becomes of it is told by source_events. */
void blob_source_begin(struct fetch *f, int64_t first, int64_t end, bool further);
/* The same, of another node or the bucket, if `choice` says so. */
void blob_source_begin_at(struct fetch *f, int64_t first, int64_t end, bool further,
                          const struct stripe_choice *choice);
/* The same for several ranges, in ascending order, with bytes between them. Copied. */
void blob_source_begin_several(struct fetch *f, const struct ingest_span *spans, size_t count, bool further);
/* What it has received is written, if it can be. */
void blob_source_flush(struct blob_source *s);
/* The next request asks the registry. */
void blob_forget_redirect(struct blob_fetch *b);
/* Ends it; an exchange that is under way is cancelled. */
void blob_source_free(struct blob_source *s);
void blob_sources_cancel(struct blob_fetch *b);
void blob_sources_pause(struct blob_fetch *b, bool pause);

/* sources.c: begins, shortens and cancels exchanges, by plan.h. While it has begun none and none is under way, nothing
 * is missing that is to be fetched. */
void blob_sources_plan(struct fetch *f);
/* Whether all of the blob is to be fetched: the setting `fetch`, and what clients ask for. */
bool blob_is_whole(const struct fetch *f);
/* Room for what is to be fetched, before it comes. */
void blob_need_room(struct fetch *f);
void blob_sources_clear(struct blob_fetch *b);
/* Whether the fetch goes on without a source that has failed: others are under way, or it asked for too much at once.
 */
bool blob_source_can_be_lost(const struct blob_source *s);
/* Connections to the registry at a time, at most. */
int blob_registry_limit(const struct fetch *f);
/* One of several has failed; the others go on. */
void blob_source_lost(struct blob_source *s, const struct err *why);

static inline bool blob_source_is_registry(const struct blob_source *s)
{
    return s->choice.from == STRIPE_REGISTRY;
}

static inline enum ingest_from blob_source_from(const struct blob_source *s)
{
    return s->choice.from == STRIPE_REGISTRY ? INGEST_FROM_REGISTRY
           : s->choice.from == STRIPE_BUCKET ? INGEST_FROM_BUCKET
                                             : INGEST_FROM_NODES;
}

/* striped.c: other nodes and the bucket. blob_striped_begin(): at the beginning, whether they are asked. */
void blob_striped_begin(struct fetch *f);
void blob_striped_clear(struct blob_fetch *b);
/* It sends bytes. */
void blob_striped_note_giver(struct blob_fetch *b, struct peer *p);
/* Whether they are asked now, for the whole blob or for what other nodes ask. */
bool blob_striped_is_on(const struct fetch *f);
/* The first exchange, for what is missing at `first`, up to `end`. */
void blob_striped_ask_first(struct fetch *f, int64_t first, int64_t end);
/* Does one thing of what is to be done. False: there is nothing, now. */
bool blob_striped_step(struct fetch *f);
/* Another node asks for this. True: an exchange was given up for it. */
bool blob_striped_note_hops(struct fetch *f, const struct fetch_want *want);
void blob_striped_log(const struct fetch *f, int64_t first, int64_t end, const struct stripe_choice *c);
/* nodes.c: the same, and the plan goes on. */
void blob_striped_note_asked(struct fetch *f, const struct fetch_want *want);
/* A client joins what has come from the registry alone, for other nodes: if the rest may be from them, it gets nothing
 * before all is verified, rather than a beginning. */
void blob_striped_expect(struct fetch *f);
/* That the repository contains it. Another node has let this client read it there, and sends its bytes; a private blob
 * in the bucket has its repository in its name, and of a public one a manifest is enough. */
void blob_source_prove(const struct blob_source *s);
/* What the answer says of where it is from: the first source that answered. */
enum fetch_how blob_how(const struct fetch *f);
/* One that is not the registry has failed, or brought less than it should have: another is asked. */
void blob_striped_failed(struct blob_source *s, const char *why);
/* It is stored: the bucket may have it, too. */
void blob_striped_offer(struct fetch *f);
/* The registry says another size than they did: the blob begins again, without them. */
void blob_striped_wrong_size(struct fetch *f);
/* The bytes, or the size, that came from them were wrong: from now on the registry alone is asked for this blob. */
void blob_striped_distrust(struct fetch *f);

/* partial.c. Whether a fetch that begins may be for a piece that is here, of a blob that is not whole; and, with its
 * ingest, whether it is: then its waiters are answered, and the registry is not asked. */
bool blob_may_be_partial(const struct fetch *f);
bool blob_begin_partial(struct fetch *f);
/* The first request of a blob of which only a piece is asked for. Its size may not be known yet; the piece is rounded
 * to segments. False: the whole is wanted. */
bool blob_piece_to_ask(const struct fetch *f, int64_t *first, int64_t *end);
/* The same for one waiter of a fetch that is under way. */
bool blob_answer_partial(struct fetch *f, struct fetch_waiter *w);
/* The first answer cannot be used; whether the blob is requested again: its beginning, if the piece was `outside`, else
 * the whole. Once. */
bool blob_may_restart(struct fetch *f, bool outside, bool hinted);
/* Of a relay: the piece is most of the blob, up to its end, and so its end is not sent before the digest is known; all
 * of the blob has to come, in its order. */
bool blob_needs_beginning(const struct fetch *f, int64_t size);

/* join.c: one more waiter. */
void blob_join(struct fetch *f, struct fetch_waiter *w);
/* It has failed. That one repository is refused says nothing about another: the waiters of others begin again. */
void blob_let_others_try(struct fetch *f);
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
