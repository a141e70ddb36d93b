/* client.h - who a client says he is: the Authorization of his request, for registries that refuse the cache's own
 * identity.
 *
 * A client is known by a hash of what he sent (`whose`); the secret itself lives as long as his request, and as fetches
 * on his behalf. Counted references; any thread.
 */
#ifndef ENTREPOT_PROXY_CLIENT_H
#define ENTREPOT_PROXY_CLIENT_H

#include "proxy/http.h"
#include "upstream/cred.h"

enum { CLIENT_NAME_LEN = 64 };

struct client {
    int refs;                        /* __atomic */
    char whose[CLIENT_NAME_LEN + 1]; /* hex of SHA-256; "" for nobody */
    char *authorization;             /* to be sent as it is, or NULL */
    struct cred_identity id;         /* or name and password, for the registry's own login */
};

/* From a request's Authorization: Bearer is the registry's own token, or one of ours (login.h); Basic a name and
 * password. Nobody if there is none. */
struct login;
struct client *client_of(const struct http_request *req, struct login *login);
struct client *client_nobody(void);
struct client *client_with(const char *username, const char *password);
struct client *client_ref(struct client *c);
void client_unref(struct client *c);
static inline bool client_is_nobody(const struct client *c)
{
    return c->whose[0] == '\0';
}

#endif
