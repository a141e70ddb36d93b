/* A token of ours is what it stands for, sealed (AES-256-GCM) with a key that is made at the start and nowhere kept:
 *
 *     "entrepot." base64url( number (12 bytes) | sealed( end | registry NUL | name NUL | password NUL ) | tag (16) )
 *
 * There is no table of sessions, and so nothing that names somebody has made up could push out of it. */
#include "proxy/registry/login.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/secret.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Tokens of ours begin so: others are not looked at. */
#define PREFIX "entrepot."
enum { KEY_BYTES = 32, NUMBER_BYTES = 12, TAG_BYTES = 16, END_BYTES = 8, FIELDS = 3 };

struct login {
    /* set once */
    int64_t life_ms;
    unsigned char key[KEY_BYTES];
    /* shared */
    atomic_uint_fast64_t sealed; /* counts: no number is used twice with one key (NIST SP 800-38D §8.2.1) */
    pthread_mutex_t lock;
    char registry[REF_HOST_MAX + 1]; /* of logins that do not say which; under the lock */
};

struct login *login_new(const char *registry, int64_t life_ms)
{
    struct login *l = xcalloc(1, sizeof(*l));

    if (RAND_bytes(l->key, sizeof(l->key)) != 1)
        abort(); /* no randomness, no secrets */
    l->life_ms = life_ms;
    pthread_mutex_init(&l->lock, NULL);
    login_set_for(l, registry);
    return l;
}

void login_free(struct login *l)
{
    if (!l)
        return;
    explicit_bzero(l->key, sizeof(l->key));
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void login_get_for(struct login *l, char registry[REF_HOST_MAX + 1])
{
    pthread_mutex_lock(&l->lock);
    memcpy(registry, l->registry, sizeof(l->registry));
    pthread_mutex_unlock(&l->lock);
}

void login_set_for(struct login *l, const char *registry)
{
    pthread_mutex_lock(&l->lock);
    snprintf(l->registry, sizeof(l->registry), "%s", registry ? registry : "");
    pthread_mutex_unlock(&l->lock);
}

/* ---- sealing ---- */

static EVP_CIPHER_CTX *cipher_new(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (!ctx)
        abort();
    return ctx;
}

static char *seal(struct login *l, const struct buf *plain)
{
    size_t len = NUMBER_BYTES + plain->len + TAG_BYTES;
    _cleanup_free_ unsigned char *box = xcalloc(1, len);
    uint64_t number = atomic_fetch_add(&l->sealed, 1);
    EVP_CIPHER_CTX *ctx = cipher_new();
    int n;

    memcpy(box, &number, sizeof(number));
    bool ok =
        EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, l->key, box) == 1 &&
        EVP_EncryptUpdate(ctx, box + NUMBER_BYTES, &n, (const unsigned char *)plain->data, (int)plain->len) == 1 &&
        EVP_EncryptFinal_ex(ctx, box + NUMBER_BYTES + n, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, box + len - TAG_BYTES) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        abort();
    _cleanup_free_ char *text = base64url_encode(box, len);
    return xasprintf(PREFIX "%s", text);
}

/* False: it was not sealed with this key. */
static bool unseal(const struct login *l, const char *text, struct buf *plain)
{
    size_t len = 0;
    _cleanup_free_ char *decoded = base64url_decode(text, &len);
    unsigned char *box = (unsigned char *)decoded;
    int n;

    if (!box || len < NUMBER_BYTES + TAG_BYTES)
        return false;
    size_t inside = len - NUMBER_BYTES - TAG_BYTES;
    unsigned char *out = (unsigned char *)buf_reserve(plain, inside + 1);
    EVP_CIPHER_CTX *ctx = cipher_new();
    bool ok = EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, l->key, box) == 1 &&
              EVP_DecryptUpdate(ctx, out, &n, box + NUMBER_BYTES, (int)inside) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, box + len - TAG_BYTES) == 1 &&
              EVP_DecryptFinal_ex(ctx, out + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    plain->len = ok ? inside : 0;
    out[plain->len] = '\0';
    return ok;
}

/* ---- tokens ---- */

/* Nobody's need no sealing. */
#define NOBODY PREFIX "nobody"
#define UNSAID PREFIX "unsaid"

char *login_issue(struct login *l, const struct client *c)
{
    if (client_is_nobody(c))
        return xstrdup(c->unused == CLIENT_UNSAID ? UNSAID : NOBODY);

    const char *const fields[FIELDS] = {c->registry, c->id.username, c->id.secret};
    _cleanup_secret_buf_ struct buf plain = {0};
    int64_t end_ms = clock_mono_ms() + l->life_ms;

    buf_add(&plain, &end_ms, END_BYTES);
    for (int i = 0; i < FIELDS; i++)
        buf_add(&plain, fields[i], strlen(fields[i]) + 1);
    return seal(l, &plain);
}

/* Whom it stands for; NULL if it has ended. */
static struct client *read_session(const struct buf *plain)
{
    const char *fields[FIELDS], *p = plain->data + END_BYTES;
    int64_t end_ms;

    memcpy(&end_ms, plain->data, END_BYTES);
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = p;
        p += strlen(p) + 1;
    }
    return end_ms > clock_mono_ms() ? client_with(fields[1], fields[2], fields[0]) : NULL;
}

struct client *login_find(struct login *l, const char *token)
{
    _cleanup_secret_buf_ struct buf plain = {0};
    struct client *found = NULL;

    if (strncmp(token, PREFIX, strlen(PREFIX)) != 0)
        return NULL;
    if (strcmp(token, UNSAID) == 0 || strcmp(token, NOBODY) == 0)
        return client_nobody(strcmp(token, UNSAID) == 0 ? CLIENT_UNSAID : CLIENT_USED);
    if (unseal(l, token + strlen(PREFIX), &plain))
        found = read_session(&plain);
    return found ? found : client_nobody(CLIENT_ENDED);
}
