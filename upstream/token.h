/* token.h - bearer tokens of registries, cached by scope.
 *
 * Flow: the distribution project's token specification (GET at the realm) and, where the realm refuses GET or the
 * identity is a refresh token, its OAuth 2 specification (POST). Tokens are cached for their lifetime; one request is
 * in flight for each (identity, realm, service, scope), shared by all callers; a token in the last fifth of its life is
 * renewed in the background and still used meanwhile. Tokens are never logged and are wiped when freed.
 *
 * One table a registry, shared by the fetch loops.
 */
#ifndef ENTREPOT_UPSTREAM_TOKEN_H
#define ENTREPOT_UPSTREAM_TOKEN_H

#include "upstream/challenge.h"
#include "upstream/cred/cred.h"
#include "upstream/transfer.h"

enum { TOKEN_MAX = 16 << 10 /* bytes */ };

struct tokens;

struct token_options {
    const struct trust *trust;                  /* borrowed, may be NULL */
    const char *const *named, *const *shown_to; /* as in transfer.h; borrowed */
    bool insecure;                              /* realms may be plain http */
    atomic_int *users;                          /* as in transfer.h */
    int64_t connect_timeout_ms, stall_timeout_ms;
};

struct tokens *tokens_new(const struct token_options *options);
void tokens_free(struct tokens *all);

/* For the identity `id` (borrowed; NULL: anonymous), whose name in the table is `client_id` ("": the cache itself).
 * Called on `loop`, the engine's. Calls `done` on it, before returning if the token is cached: with the token (borrowed
 * for the call), or NULL and the error: ERR_DENIED (the realm refuses this identity; see err->status), ERR_UNREACHABLE,
 * ERR_TIMEOUT, ERR_UPSTREAM. */
void tokens_get(struct tokens *all, struct transfer_engine *engine, struct loop *loop, const struct challenge *c,
                const struct cred_identity *id, const char *client_id,
                void (*done)(void *arg, const char *token, const struct err *err), void *arg);
/* The registry refused this token: drop it. */
void tokens_drop(struct tokens *all, const struct challenge *c, const char *client_id, const char *token);

#endif
