#include "proxy/client.h"

#include "base/base64.h"
#include "base/digest.h"
#include "base/secret.h"
#include "proxy/login.h"

#include <string.h>
#include <strings.h>

static struct client *client_new(const char *secret)
{
    struct client *c = xcalloc(1, sizeof(*c));
    char hex[DIGEST_TEXT_MAX];
    struct digest d;

    c->refs = 1;
    if (secret) {
        digest_of(DIGEST_SHA256, secret, strlen(secret), &d);
        snprintf(c->whose, sizeof(c->whose), "%s", digest_hex(&d, hex));
    }
    return c;
}

struct client *client_nobody(void)
{
    return client_new(NULL);
}

struct client *client_with(const char *username, const char *password)
{
    _cleanup_secret_ char *both = xasprintf("%s:%s", username, password);
    struct client *c = client_new(both);

    c->id.username = xstrdup(username);
    c->id.secret = xstrdup(password);
    return c;
}

/* RFC 7617 §2: base64 of name, colon, password. */
static struct client *from_basic(const char *text)
{
    size_t len;
    _cleanup_secret_ char *pair = base64_decode(text, &len);

    if (!pair)
        return client_new(NULL);
    char *colon = strchr(pair, ':');
    if (!colon)
        return client_new(NULL);
    *colon = '\0';
    return client_with(pair, colon + 1);
}

struct client *client_of(const struct http_request *req, struct login *login)
{
    const char *said = http_header(req, "authorization");

    if (!said)
        return client_new(NULL);
    if (strncasecmp(said, "Basic ", 6) == 0)
        return from_basic(said + 6 + strspn(said + 6, " "));
    if (strncasecmp(said, "Bearer ", 7) == 0) {
        struct client *known = login_find(login, said + 7 + strspn(said + 7, " "));
        if (known)
            return known;
    }
    struct client *c = client_new(said);
    c->authorization = xstrdup(said);
    return c;
}

struct client *client_ref(struct client *c)
{
    __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void client_unref(struct client *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    secret_free(c->authorization);
    cred_identity_clear(&c->id);
    free(c);
}
