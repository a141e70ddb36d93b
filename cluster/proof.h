/* proof.h - that a request is from a node of the cluster: a shared secret's HMAC (RFC 2104, SHA-256) of what is
 * requested, of whom, and when.
 *
 *     Entrepot-Proof: t=1764424800123; n=0123456789abcdef0123456789abcdef; m=<64 hex>
 *
 * It is good for one request at one node, within PROOF_WINDOW_MS of its time, and once. Any thread.
 */
#ifndef ENTREPOT_CLUSTER_PROOF_H
#define ENTREPOT_CLUSTER_PROOF_H

#include "base/err.h"

#include <stdint.h>

enum {
    PROOF_WINDOW_MS = 60000,
    PROOF_MAX = 160,     /* bytes of the header's value */
    PROOF_SEEN = 131072, /* places for the proofs of the last two to four windows; there are two such tables */
    PROOF_SECRET_MIN = 32,
};

#define PROOF_HEADER "Entrepot-Proof"

/* What it vouches for. All borrowed; none is NULL. */
struct proof_of {
    const char *method, *target; /* "GET", "/v2/library/nginx/blobs/sha256:…?ns=docker.io" */
    const char *to;              /* the address of the node that is asked */
    const char *peer;            /* the value of Entrepot-Peer */
    const char *range;           /* of Range; "" */
    const char *authorization;   /* of Authorization; "" */
};

struct proofs;

/* The secret is copied. */
struct proofs *proofs_new(const char *secret);
void proofs_free(struct proofs *p); /* may be NULL */
/* A node vouches for its answer to a request that had this proof: Entrepot-Proof: a=<64 hex>. `says` is what is vouched
 * for. Nobody on the way can say something else about a tag, whose digest is not known otherwise. */
void proof_answer(const struct proofs *p, const char *request, const char *says, char out[PROOF_MAX]);
bool proof_is_answer(const struct proofs *p, const char *request, const char *says, const char *value);
/* Writes the header's value. */
void proof_make(const struct proofs *p, const struct proof_of *of, char out[PROOF_MAX]);
/* `value` may be NULL: there is none. Errors: ERR_DENIED, and by `*skew_ms` how far the other clock is off, if that is
 * why (0: it is not); ERR_BUSY, too many came. */
bool proof_check(struct proofs *p, const struct proof_of *of, const char *value, int64_t *skew_ms, struct err *err);

#endif
