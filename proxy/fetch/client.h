/* client.h - who a client says it is, for registries that refuse the cache's own identity (how that is read from a
 * request: proxy/registry/identify.h).
 *
 * A client is known by a hash of what it sent (`client_id`); the secret itself lives as long as its request, as fetches
 * on its behalf, and as the token that stands for it (login.h).
 *
 * Counted references; any thread. */
#ifndef ENTREPOT_PROXY_FETCH_CLIENT_H
#define ENTREPOT_PROXY_FETCH_CLIENT_H

#include "proxy/fetch/sites.h"

enum { CLIENT_NAME_LEN = 64 };

/* Why a login that was brought is not used. */
enum client_unused {
    CLIENT_USED,      /* it is, or there is none */
    CLIENT_UNSAID,    /* nobody said which registry it is for */
    CLIENT_ELSEWHERE, /* it is for another registry */
    CLIENT_ENDED,     /* it was brought as a token of ours, which has ended */
};

struct client {
    int refs;                            /* __atomic */
    char client_id[CLIENT_NAME_LEN + 1]; /* hex of SHA-256; "" for nobody */
    char *authorization;                 /* to be sent as it is, or NULL */
    struct cred_identity id;             /* or name and password, for the login of the registry below */
    char registry[REF_HOST_MAX + 1];
    enum client_unused unused; /* of nobody */
};

/* Each returns a reference. */
struct client *client_nobody(enum client_unused unused);
/* With the registry's own token: the value of an Authorization header, which is sent as it is. */
struct client *client_with_token(const char *authorization);
struct client *client_with(const char *username, const char *password, const char *registry);
/* As this registry may know it: `c`, or nobody if it has a login that is for another one. Takes the reference. */
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
