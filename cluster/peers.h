/* peers.h - the other nodes of the cluster: who there is, and how they do.
 *
 * The members (members.h) tell who there is; a view is what they told last, which does not change any more: a fetch
 * goes by one view from its beginning to its end. A peer that fails rests for a while, twice as long each time: nobody
 * waits for it again and again. Any thread.
 */
#ifndef ENTREPOT_CLUSTER_PEERS_H
#define ENTREPOT_CLUSTER_PEERS_H

#include "base/digest.h"
#include "cluster/ring.h"

#include <stdatomic.h>

enum {
    PEERS_MAX = 16384,
    PEER_NAME_MAX = 271, /* of an address: a host of a certificate, a colon and a port */
    PEER_WORD_MAX = 63,  /* of a zone, of a version */
    PEER_REST_MS = 2000, /* after its first failure; doubles */
    PEER_REST_MAX_MS = 60000,
};

/* What a node says of itself. */
struct member {
    char address[PEER_NAME_MAX + 1]; /* "10.0.0.7:5443": where it is reached, and what it is known by */
    char zone[PEER_WORD_MAX + 1];    /* "": none */
    char version[PEER_WORD_MAX + 1]; /* "": not known (DNS) */
    int64_t since_s;                 /* since 1970: when it joined; 0: not known */
};

struct peers;

/* A node, this one included. Lives as long as a view has it. */
struct peer {
    struct member who;
    bool is_self;
    /* any thread */
    atomic_int refs;
    atomic_int failures;                           /* in a row */
    atomic_int_fast64_t resting_until_ms;          /* monotonic */
    atomic_int_fast64_t failed_ms;                 /* monotonic: the last failure; 0: none */
    atomic_uint_fast64_t received, sent, answered; /* bytes from it; bytes to it; requests that it answered */
    atomic_uint_fast64_t failed, refused;          /* requests that it did not answer in time; that it refused */
    _Atomic(const char *) why; /* of its last failure: one of a few texts; NULL: none, or it has answered since */
};

/* In the order of their addresses. */
struct peer_view {
    atomic_int refs;
    int count, self; /* `self`: its place; -1: this node is not among them */
    struct peer **list;
    struct ring_node *nodes; /* the same, for ring_rank() */
};

/* `self` is copied. */
struct peers *peers_new(const struct member *self);
void peers_free(struct peers *all);
/* These are the nodes now, in any order; `self` need not be among them, but always counts as one. Those that are known
 * keep their figures. */
void peers_set(struct peers *all, const struct member *list, int count);
/* Whether there is any node but this one. */
bool peers_has_others(struct peers *all);
/* The present view, a reference; peer_view_unref(). */
struct peer_view *peers_view(struct peers *all);
struct peer_view *peer_view_ref(struct peer_view *v);
void peer_view_unref(struct peer_view *v); /* may be NULL */
/* The one at this address in a view; NULL: none. */
struct peer *peer_view_find(const struct peer_view *v, const char *address);
struct peer *peer_ref(struct peer *p);
void peer_unref(struct peer *p);

/* It did not answer in time, or broke off, or its bytes were wrong: it is not asked for a while. `why` is constant. */
void peer_note_failure(struct peer *p, const char *why);
/* It refuses this node (clock, secret, certificate): told once in a while, and it is not asked for PEER_REST_MAX_MS. */
void peer_note_refusal(struct peer *p, const char *why);
/* It has answered a question that was asked at `since_ms` (monotonic). */
void peer_note_answer(struct peer *p, int64_t since_ms);
/* Bytes from all that there are and were, and to them: never less than before. */
void peers_sum(struct peers *all, uint64_t *received, uint64_t *sent);
bool peer_is_resting(const struct peer *p);
/* Why it failed, or refused this node, if it has not answered since, whether it still rests or not; and how long ago
 * that was. NULL: all is well, as far as is known. */
const char *peer_failing(const struct peer *p, int64_t *ago_ms);

/* The state of the membership, for `entrepot peers`, metrics and doctor; set by the members. */
struct peers_source {
    bool ok;         /* it answers */
    char from[32];   /* "etcd", "dns" */
    char why[200];   /* what is wrong; "" nothing */
    int64_t since_s; /* since 1970: when `ok` changed */
};
void peers_note_source(struct peers *all, const char *from, bool ok, const char *why);
void peers_get_source(struct peers *all, struct peers_source *out);

#endif
