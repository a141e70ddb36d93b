/* A token of this cache is a sealed login:
 *
 *     "entrepot." base64url( salt (16 bytes) | nonce (12) | sealed( end | registry NUL | name NUL | password NUL ) |
 *                            tag (16) )
 *
 * The key (login_key.h) may seal any number of tokens, so each token has a key of its own, HMAC-SHA256
 * of the salt: both are random, and no nonce is used twice with one key (NIST SP 800-38D §8).
 *
 * There is no table of sessions that invented logins could fill. */
#include "proxy/registry/login.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/secret.h"
#include "proxy/registry/login_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

/* Tokens of this cache begin with it; others are not decoded. */
#define PREFIX "entrepot."
enum { SALT_BYTES = 16, NONCE_BYTES = 12, HEAD_BYTES = SALT_BYTES + NONCE_BYTES, TAG_BYTES = 16, FIELDS = 3 };

/* When a token expires. In the process that issued it, setting the clock does not change that. */
struct session_end {
    unsigned char run[16]; /* the process */
    int64_t mono_ms, wall_ms;
};

struct login {
    /* set once */
    int64_t life_ms;
    unsigned char key[LOGIN_KEY_BYTES], run[16];
    /* shared */
    pthread_mutex_t lock;
    char registry[REF_HOST_MAX + 1]; /* of logins that do not name one; under the lock */
};

static void make_random(unsigned char *to, int len)
{
    if (RAND_bytes(to, len) != 1)
        abort(); /* no randomness, no secrets */
}

struct login *login_new(const char *registry, int64_t life_ms, const char *folder)
{
    struct login *l = xcalloc(1, sizeof(*l));

    if (folder)
        login_key_read_or_make(folder, l->key);
    else
        login_key_make(l->key);
    make_random(l->run, sizeof(l->run));
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

/* The key of one token. */
static void login_derive(const struct login *l, const unsigned char *salt, unsigned char own[LOGIN_KEY_BYTES])
{
    unsigned int len = LOGIN_KEY_BYTES;

    if (!HMAC(EVP_sha256(), l->key, sizeof(l->key), salt, SALT_BYTES, own, &len) || len != LOGIN_KEY_BYTES)
        abort();
}

static char *login_seal(struct login *l, const struct buf *plain)
{
    size_t len = HEAD_BYTES + plain->len + TAG_BYTES;
    _cleanup_free_ unsigned char *box = xcalloc(1, len);
    unsigned char own[LOGIN_KEY_BYTES];
    EVP_CIPHER_CTX *ctx = cipher_new();
    int n;

    make_random(box, HEAD_BYTES);
    login_derive(l, box, own);
    bool ok = EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, own, box + SALT_BYTES) == 1 &&
              EVP_EncryptUpdate(ctx, box + HEAD_BYTES, &n, (const unsigned char *)plain->data, (int)plain->len) == 1 &&
              EVP_EncryptFinal_ex(ctx, box + HEAD_BYTES + n, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, box + len - TAG_BYTES) == 1;
    EVP_CIPHER_CTX_free(ctx);
    explicit_bzero(own, sizeof(own));
    if (!ok)
        abort();
    _cleanup_free_ char *text = base64url_encode(box, len);
    return xasprintf(PREFIX "%s", text);
}

/* False: it was not sealed with this key. */
static bool login_unseal(const struct login *l, const char *text, struct buf *plain)
{
    size_t len = 0;
    _cleanup_free_ char *decoded = base64url_decode(text, &len);
    unsigned char *box = (unsigned char *)decoded, own[LOGIN_KEY_BYTES];
    int n;

    if (!box || len < HEAD_BYTES + sizeof(struct session_end) + TAG_BYTES)
        return false;
    size_t inside = len - HEAD_BYTES - TAG_BYTES;
    unsigned char *out = (unsigned char *)buf_reserve(plain, inside + 1);
    EVP_CIPHER_CTX *ctx = cipher_new();
    login_derive(l, box, own);
    bool ok = EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, own, box + SALT_BYTES) == 1 &&
              EVP_DecryptUpdate(ctx, out, &n, box + HEAD_BYTES, (int)inside) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, box + len - TAG_BYTES) == 1 &&
              EVP_DecryptFinal_ex(ctx, out + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    explicit_bzero(own, sizeof(own));
    plain->len = ok ? inside : 0;
    out[plain->len] = '\0';
    return ok;
}

/* ---- tokens ---- */

/* Anonymous tokens need no sealing. */
#define NOBODY PREFIX "nobody"
#define UNSAID PREFIX "unsaid"

char *login_issue(struct login *l, const struct client *c)
{
    if (client_is_nobody(c))
        return xstrdup(c->unused == CLIENT_UNSAID ? UNSAID : NOBODY);

    const char *const fields[FIELDS] = {c->registry, c->id.username, c->id.secret};
    _cleanup_secret_buf_ struct buf plain = {0};
    struct session_end end = {.mono_ms = clock_mono_ms() + l->life_ms, .wall_ms = clock_now_ms() + l->life_ms};

    memcpy(end.run, l->run, sizeof(end.run));
    buf_add(&plain, &end, sizeof(end));
    for (int i = 0; i < FIELDS; i++)
        buf_add(&plain, fields[i], strlen(fields[i]) + 1);
    return login_seal(l, &plain);
}

static bool has_ended(const struct login *l, const struct session_end *end)
{
    int64_t now = clock_now_ms();

    if (memcmp(end->run, l->run, sizeof(l->run)) == 0)
        return end->mono_ms <= clock_mono_ms();
    return end->wall_ms <= now || end->wall_ms > now + l->life_ms; /* the latter: the clock was set back */
}

/* The client it stands for; NULL if it has expired. */
static struct client *read_session(const struct login *l, const struct buf *plain)
{
    const char *fields[FIELDS], *p = plain->data + sizeof(struct session_end);
    struct session_end end;

    memcpy(&end, plain->data, sizeof(end));
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = p;
        p += strlen(p) + 1;
    }
    return has_ended(l, &end) ? NULL : client_with(fields[1], fields[2], fields[0]);
}

struct client *login_find(struct login *l, const char *token)
{
    _cleanup_secret_buf_ struct buf plain = {0};
    struct client *found = NULL;

    if (strncmp(token, PREFIX, strlen(PREFIX)) != 0)
        return NULL;
    if (strcmp(token, UNSAID) == 0 || strcmp(token, NOBODY) == 0)
        return client_nobody(strcmp(token, UNSAID) == 0 ? CLIENT_UNSAID : CLIENT_USED);
    if (login_unseal(l, token + strlen(PREFIX), &plain))
        found = read_session(l, &plain);
    return found ? found : client_nobody(CLIENT_ENDED);
}
