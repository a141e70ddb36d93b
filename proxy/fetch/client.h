/* client.h - a client's identity, for registries that refuse the cache's own (how it is read from a request:
 * proxy/registry/identify.h).
 *
 * A client is known by a hash of what it sent (`client_id`); the secret itself lives as long as its request, as fetches
 * on its behalf, and as the token that stands for it (login.h).
 *
 * Counted references; any thread. */
#ifndef ENTREPOT_PROXY_FETCH_CLIENT_H
#define ENTREPOT_PROXY_FETCH_CLIENT_H

#include "proxy/fetch/sites.h"

enum { CLIENT_NAME_LEN = 64 };

/* Why a client's login is not used. */
enum client_unused {
    CLIENT_USED,      /* it is used, or there is none */
    CLIENT_UNSAID,    /* neither the client nor the configuration says which registry it is for */
    CLIENT_ELSEWHERE, /* it is for another registry */
    CLIENT_ENDED,     /* it was a token of this cache, which has expired */
};

struct client {
    atomic_int refs;
    char client_id[CLIENT_NAME_LEN + 1]; /* hex of SHA-256; "": an anonymous client */
    char *authorization;                 /* to be sent on unchanged, or NULL */
    struct cred_identity id;             /* or name and password, for the login of the registry below */
    char registry[REF_HOST_MAX + 1];
    enum client_unused unused; /* of an anonymous client */
};

/* Each returns a reference. */
struct client *client_nobody(enum client_unused unused);
/* With the registry's own token: the value of an Authorization header, which is sent on unchanged. */
struct client *client_with_token(const char *authorization);
struct client *client_with(const char *username, const char *password, const char *registry);
/* Its identity for this registry: `c`, or an anonymous client if its login is for another one. Takes the reference. */
struct client *client_at(struct client *c, const struct site *site);
/* Whether its name and password are for this registry. */
bool client_is_for(const struct client *c, const struct site *site);
struct client *client_ref(struct client *c);
void client_unref(struct client *c);
static inline bool client_is_nobody(const struct client *c)
{
    return c->client_id[0] == '\0';
}

#endif
