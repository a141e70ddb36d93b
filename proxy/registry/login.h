/* login.h - the cache's own token service, for engines that decide by the answer to /v2/ alone whether to log in.
 *
 * docker, podman and skopeo learn from /v2/ where to get tokens; containerd takes a registry's own challenge from the
 * answer to any request. For the former, /v2/ names GET /token of this listener. A client that sends name and password
 * there gets a token that stands for them at the one registry they are for (client.h); one that sends none gets an
 * anonymous token. What it may read is decided by the registry, at each request (grant.h).
 *
 * A token expires LOGIN_LIFE_S after it was issued for its name and password, across restarts, too (login_key.h). It
 * contains them, sealed: nothing is stored here, so that invented logins neither cost memory nor end another's.
 *
 * Any thread.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_LOGIN_H
#define ENTREPOT_PROXY_REGISTRY_LOGIN_H

#include "proxy/fetch/client.h"

enum { LOGIN_LIFE_S = 3600 };

struct login;

/* `registry` (copied; NULL: none) is clients.login_for; `folder` has the key (NULL: it ends with the process). */
struct login *login_new(const char *registry, int64_t life_ms, const char *folder);
void login_free(struct login *l);
/* A token for a client that has just sent its name and password; the caller frees it with secret_free(). */
char *login_issue(struct login *l, const struct client *c);
/* The registry for logins that do not name one: reads it; sets it from now on. "": none. */
void login_get_for(struct login *l, char registry[REF_HOST_MAX + 1]);
void login_set_for(struct login *l, const char *registry);
/* The client that a token stands for; the caller unrefs. NULL: the token is not of this cache. One of this cache that
 * has expired is anonymous. */
struct client *login_find(struct login *l, const char *token);

#endif
