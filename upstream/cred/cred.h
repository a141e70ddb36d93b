/* cred.h - the cache's identity at a registry: user and secret, from the configured source.
 *
 *     cred_get() ── known, not about to expire ──▶ done, at once
 *         │
 *         └─ unknown, or expired ─▶ one job per key ─▶ a worker queries the backend (may block) ─▶ done, on each loop
 *
 * An identity in the last fifth of its life is renewed and still used meanwhile. A failure is remembered for some
 * seconds, so that a failing backend is not queried for each request. Backends are one file each (password.c, docker.c,
 * ecr.c, ...), behind struct cred_backend (private.h).
 *
 * A struct cred belongs to an upstream and is shared by all fetch loops. Secrets are wiped when freed and never appear
 * in messages.
 */
#ifndef ENTREPOT_UPSTREAM_CRED_CRED_H
#define ENTREPOT_UPSTREAM_CRED_CRED_H

#include "base/err.h"
#include "base/loop.h"
#include "config/credentials.h"

#include <stdint.h>

/* ---- workers, which may block ---- */

struct cred_workers;

/* Errors: ERR_IO. */
struct cred_workers *cred_workers_new(int threads, struct err *err);
/* Ends the jobs under way, soon; later requests fail with ERR_CANCELLED. Before the loops' mailboxes are settled. */
void cred_workers_stop(struct cred_workers *w);
void cred_workers_free(struct cred_workers *w);

/* ---- identities ---- */

struct cred_identity {
    char *username, *secret; /* NULL: anonymous */
    bool is_identity_token;  /* `secret` is an OAuth 2 refresh token; there is no user */
    char *bearer;            /* sent as it is */
    char *session;           /* of an AWS key (cred_new_aws), beside `username` and `secret`; NULL: none */
};

void cred_identity_copy(struct cred_identity *to, const struct cred_identity *from);
void cred_identity_clear(struct cred_identity *id);
bool cred_identity_eq(const struct cred_identity *a, const struct cred_identity *b);

struct cred;

/* The backend that `o` names, for the registry `host`; options are copied, workers borrowed. */
struct cred *cred_new(const struct cred_options *o, const char *host, struct cred_workers *workers);
/* The same, but of `provider: ecr` the AWS key itself is the identity, not what ECR gives for it: `username` is its id,
 * `secret` the key, `session` its token. */
struct cred *cred_new_aws(const struct cred_options *o, const char *host, struct cred_workers *workers);
void cred_free(struct cred *c);
/* Whether no job is under way for it. Any thread; it stays so while cred_get() is not called. */
bool cred_is_idle(const struct cred *c);

/* On `loop`. Calls `done` on it, perhaps before returning, with the identity (borrowed for the call) and its number, or
 * NULL and the error: ERR_UNREACHABLE, ERR_TIMEOUT, ERR_DENIED, ERR_UPSTREAM, ERR_CANCELLED. */
void cred_get(struct cred *c, struct loop *loop, const char *repository,
              void (*done)(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err),
              void *arg);
/* The registry refused this identity, for a request that began at `since_ms` (monotonic). Whether to retry: the secret
 * may have been changed since it was read, unless it was read for this very request. */
bool cred_refused(struct cred *c, const char *repository, uint64_t number, int64_t since_ms);

#endif
