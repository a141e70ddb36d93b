/* login.h - a token service of our own, for engines that decide about logging in from /v2/ alone.
 *
 * docker, podman and skopeo look at the answer to /v2/ to learn where tokens come from; containerd takes a registry's
 * own challenge from the answer to any request. For the former, /v2/ names GET /token of this listener. Whoever brings
 * name and password there gets a token that stands for them, for a while, in memory only; whoever brings none gets one
 * that stands for nobody. What they may read is decided by the registry, when they ask for something (grant.h).
 *
 * Any thread.
 */
#ifndef ENTREPOT_PROXY_LOGIN_H
#define ENTREPOT_PROXY_LOGIN_H

#include "proxy/client.h"

enum { LOGIN_LIFE_S = 3600, LOGINS_MAX = 16384 };

struct login;

struct login *login_new(void);
void login_free(struct login *l);
/* A token that stands for the client (a reference is kept); the caller frees it with secret_free(). */
char *login_issue(struct login *l, struct client *c);
/* Whom a token stands for; the caller unrefs. NULL: it is none of ours, or has ended. */
struct client *login_find(struct login *l, const char *token);

#endif
