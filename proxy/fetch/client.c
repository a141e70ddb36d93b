#include "proxy/fetch/client.h"

#include "base/digest.h"
#include "base/secret.h"

#include <string.h>

static struct client *client_new(const char *secret)
{
    struct client *c = xcalloc(1, sizeof(*c));
    char hex[DIGEST_TEXT_MAX];
    struct digest d;

    c->refs = 1;
    if (secret) {
        digest_of(DIGEST_SHA256, secret, strlen(secret), &d);
        snprintf(c->client_id, sizeof(c->client_id), "%s", digest_hex(&d, hex));
    }
    return c;
}

struct client *client_nobody(enum client_unused unused)
{
    struct client *c = client_new(NULL);

    c->unused = unused;
    return c;
}

struct client *client_with_token(const char *authorization)
{
    struct client *c = client_new(authorization);

    c->authorization = xstrdup(authorization);
    return c;
}

/* The same name and password at two registries are two clients. */
struct client *client_with(const char *username, const char *password, const char *registry)
{
    _cleanup_secret_ char *all = xasprintf("%s\n%s:%s", registry, username, password);
    struct client *c = client_new(all);

    c->id.username = xstrdup(username);
    c->id.secret = xstrdup(password);
    snprintf(c->registry, sizeof(c->registry), "%s", registry);
    return c;
}

bool client_is_for(const struct client *c, const struct site *site)
{
    return c->id.username && strcmp(c->registry, site->host) == 0 && !site->config->ad_hoc;
}

struct client *client_at(struct client *c, const struct site *site)
{
    if (!c->id.username || client_is_for(c, site))
        return c;
    client_unref(c);
    return client_nobody(CLIENT_ELSEWHERE);
}

struct client *client_ref(struct client *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void client_unref(struct client *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    secret_free(c->authorization);
    cred_identity_clear(&c->id);
    free(c);
}
