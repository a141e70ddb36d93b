/* login.h - a token service of our own, for engines that decide about logging in from /v2/ alone.
 *
 * docker, podman and skopeo look at the answer to /v2/ to learn where tokens come from; containerd takes a registry's
 * own challenge from the answer to any request. For the former, /v2/ names GET /token of this listener. Whoever brings
 * name and password there gets a token that stands for them at the one registry they are for (client.h); whoever brings
 * none gets one that stands for nobody. What they may read is decided by the registry, when they ask for something
 * (grant.h).
 *
 * A token ends LOGIN_LIFE_S after its name and password were shown, whether the daemon was restarted meanwhile or not
 * (login_key.h). It holds them itself, sealed: nothing is kept here for it, so that no number of made-up logins costs
 * memory or ends another's.
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
/* A token that stands for the client, who has shown its name and password just now; the caller frees it with
 * secret_free(). */
char *login_issue(struct login *l, const struct client *c);
/* The registry that a login is for which does not say it, now, and from now on. "": none. */
void login_get_for(struct login *l, char registry[REF_HOST_MAX + 1]);
void login_set_for(struct login *l, const char *registry);
/* Whom a token stands for; the caller unrefs. NULL: it is none of ours. One of ours that has ended stands for nobody.
 */
struct client *login_find(struct login *l, const char *token);

#endif
