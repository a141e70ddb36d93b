#include "proxy/fetch/client.h"

#include "base/secret.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>

/* A key of this process: what is printed of a client must not tell whether a guessed password is right. */
static unsigned char id_key[32];
static pthread_once_t id_key_once = PTHREAD_ONCE_INIT;

static void id_key_make(void)
{
    if (RAND_bytes(id_key, sizeof(id_key)) != 1)
        abort();
}

static struct client *client_new(const char *secret)
{
    struct client *c = xcalloc(1, sizeof(*c));
    unsigned char raw[SHA256_DIGEST_LENGTH];

    c->refs = 1;
    if (secret) {
        pthread_once(&id_key_once, id_key_make);
        HMAC(EVP_sha256(), id_key, sizeof(id_key), (const unsigned char *)secret, strlen(secret), raw, NULL);
        for (size_t i = 0; i < sizeof(raw); i++)
            snprintf(c->client_id + 2 * i, 3, "%02x", raw[i]);
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
