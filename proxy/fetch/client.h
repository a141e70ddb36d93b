/* client.h - who a client says it is: the Authorization of its request, for registries that refuse the cache's own
 * identity.
 *
 * A client is known by a hash of what it sent (`whose`); the secret itself lives as long as its request, as fetches on
 * its behalf, and as the token that stands for it (login.h).
 *
 * Clients keep one name and password for all of 127.0.0.1:5000, where all registries are. So each is for exactly one
 * registry, and is given to that one and its token service alone. Which one, the first that applies:
 *
 *   1. the user name: "alice@ghcr.io" is "alice" of ghcr.io, if what follows the last '@' is configured or built in
 *   2. the listener of one upstream, ns=, the Host header: there the client means that registry anyhow
 *   3. clients.login_for
 *
 * A listener of one upstream takes no name of another registry. What is for none is not used: its client is nobody.
 *
 * Counted references; any thread.
 */
#ifndef ENTREPOT_PROXY_FETCH_CLIENT_H
#define ENTREPOT_PROXY_FETCH_CLIENT_H

#include "proxy/http/http.h"
#include "proxy/registry/route.h"
#include "upstream/cred/cred.h"

enum { CLIENT_NAME_LEN = 64 };

/* Why a login that was brought is not used. */
enum client_unused {
    CLIENT_USED,      /* it is, or there is none */
    CLIENT_UNSAID,    /* nobody said which registry it is for */
    CLIENT_ELSEWHERE, /* it is for another registry */
    CLIENT_ENDED,     /* it was brought as a token of ours, which has ended */
};

struct client {
    int refs;                        /* __atomic */
    char whose[CLIENT_NAME_LEN + 1]; /* hex of SHA-256; "" for nobody */
    char *authorization;             /* to be sent as it is, or NULL */
    struct cred_identity id;         /* or name and password, for the login of the registry below */
    char registry[REF_HOST_MAX + 1];
    enum client_unused unused; /* of nobody */
};

struct login;

/* From a request's Authorization: Bearer is the registry's own token, or one of ours (login.h); Basic a name and
 * password. Nobody if there is none, or none that may be used. */
struct client *client_of(const struct http_request *req, struct login *login, const struct config *config,
                         const struct route *r);
struct client *client_nobody(enum client_unused unused);
struct client *client_with(const char *username, const char *password, const char *registry);
/* As this registry may know it: `c`, or nobody if it has a login that is for another one. Takes the reference. */
struct client *client_at(struct client *c, const struct site *site);
/* Whether its name and password are for this registry. */
bool client_is_for(const struct client *c, const struct site *site);
struct client *client_ref(struct client *c);
void client_unref(struct client *c);
static inline bool client_is_nobody(const struct client *c)
{
    return c->whose[0] == '\0';
}

#endif
