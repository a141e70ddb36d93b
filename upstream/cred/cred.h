/* cred.h - who the cache is to a registry: user and secret, from wherever the configuration says.
 *
 *     cred_get() ── known, not near its end ──▶ done, at once
 *         │
 *         └─ unknown, or ended ─▶ one request for each key ─▶ a worker asks the provider (it may block) ─▶ done on each
 * loop
 *
 * An identity in the last fifth of its life is renewed while it still serves. A failure is remembered for some seconds,
 * so that a provider that is down is not asked for each request. Providers are cred_*.c, one each, behind struct
 * cred_provider (private.h).
 *
 * A struct cred belongs to an upstream and is shared by all fetch loops. Secrets are wiped when they go and never
 * appear in messages.
 */
#ifndef ENTREPOT_UPSTREAM_CRED_CRED_H
#define ENTREPOT_UPSTREAM_CRED_CRED_H

#include "base/err.h"
#include "base/loop.h"
#include "config/credentials.h"

#include <stdint.h>

/* ---- those who may block ---- */

struct cred_workers;

/* Errors: ERR_IO. */
struct cred_workers *cred_workers_new(int threads, struct err *err);
/* Ends what is under way, soon; who asks later is told that the cache is being stopped. Before the loops end. */
void cred_workers_stop(struct cred_workers *w);
void cred_workers_free(struct cred_workers *w);

/* ---- identities ---- */

struct cred_identity {
    char *username, *secret; /* NULL: nobody, ask without */
    bool is_identity_token;  /* `secret` is an OAuth 2 refresh token; there is no user */
    char *bearer;            /* to be sent as it is */
};

void cred_identity_copy(struct cred_identity *to, const struct cred_identity *from);
void cred_identity_clear(struct cred_identity *id);

struct cred;

/* The provider that `o` names, for the registry `host`; NULL options are copied, workers borrowed. */
struct cred *cred_new(const struct cred_options *o, const char *host, struct cred_workers *workers);
void cred_free(struct cred *c);
/* Whether no worker is asking for it. Any thread; it stays so while nobody calls cred_get(). */
bool cred_is_idle(const struct cred *c);

/* Calls `done` on `loop`, perhaps before it returns, with the identity (borrowed for the call) and its number, or NULL
 * and why. Errors: ERR_UNREACHABLE, ERR_TIMEOUT, ERR_DENIED, ERR_UPSTREAM, ERR_CANCELLED. */
void cred_get(struct cred *c, struct loop *loop, const char *repository,
              void (*done)(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err),
              void *arg);
/* The registry refused this one, to a request that began at `since_ms` (monotonic). Whether it makes sense to ask anew:
 * a secret may have been changed since it was read, unless that was for this very request. */
bool cred_refused(struct cred *c, const char *repository, uint64_t number, int64_t since_ms);

#endif
