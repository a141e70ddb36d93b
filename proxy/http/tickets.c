/* A ticket is what a client needs to resume a session, sealed with a key that no one else has. A key seals for
 * TICKET_LIFE_S and opens for as long again, so that no ticket ends early and a key that leaks opens few sessions. A
 * context that replaces another one has new keys: what an old certificate or authority let in is looked at again. */
#include "proxy/http/tickets.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { TICKET_LIFE_S = 2 * 3600, TICKET_NAME = 16, TICKET_KEY = 32 };

struct ticket_key {
    unsigned char name[TICKET_NAME], seal[TICKET_KEY], sign[TICKET_KEY];
    int64_t made_s; /* monotonic; 0: there is none */
};

struct ticket_keys {
    pthread_mutex_t lock;
    struct ticket_key now, before;
};

static int64_t monotonic_s(void)
{
    return 1 + clock_mono_ms() / 1000;
}

/* Where a key belongs to the context: found by OpenSSL's index, made once. */
static int slot = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_keys(void *parent UNUSED, void *keys, CRYPTO_EX_DATA *ad UNUSED, int idx UNUSED, long argl UNUSED,
                      void *argp UNUSED)
{
    struct ticket_keys *k = keys;

    if (!k)
        return;
    pthread_mutex_destroy(&k->lock);
    OPENSSL_cleanse(k, sizeof(*k));
    free(k);
}

static void find_slot(void)
{
    slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_keys);
}

/* The key that seals (1); or the one of this name: that one, or the one before (2). 0: there is none. */
static int take_key(struct ticket_keys *k, const unsigned char *name, struct ticket_key *out)
{
    int64_t now = monotonic_s();
    bool ok = true;

    pthread_mutex_lock(&k->lock);
    if (k->now.made_s == 0 || now - k->now.made_s >= TICKET_LIFE_S) {
        k->before = k->now;
        ok = RAND_bytes(k->now.name, TICKET_NAME) == 1 && RAND_priv_bytes(k->now.seal, TICKET_KEY) == 1 &&
             RAND_priv_bytes(k->now.sign, TICKET_KEY) == 1;
        k->now.made_s = ok ? now : 0;
    }
    bool is_before = name && k->before.made_s > 0 && now - k->before.made_s < 2 * TICKET_LIFE_S &&
                     memcmp(name, k->before.name, TICKET_NAME) == 0;
    *out = is_before ? k->before : k->now;
    pthread_mutex_unlock(&k->lock);
    if (!ok || (name && memcmp(name, out->name, TICKET_NAME) != 0))
        return 0;
    return is_before ? 2 : 1;
}

/* OpenSSL's callback: 0 a ticket that is not ours (a full handshake follows), 1 good, 2 good and to be replaced, -1 no
 * memory. */
static int seal_or_open(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                        int sealing)
{
    struct ticket_keys *k = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot);
    const EVP_CIPHER *aes = EVP_aes_256_cbc();
    char digest[] = "SHA256";
    struct ticket_key key;

    int found = k ? take_key(k, sealing ? NULL : name, &key) : 0;
    if (found == 0)
        return sealing ? -1 : 0;
    if (sealing) {
        memcpy(name, key.name, TICKET_NAME);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1)
            return -1;
    }
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.sign, TICKET_KEY),
                                 OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    bool ok = EVP_MAC_CTX_set_params(mac, params) == 1 && EVP_CipherInit_ex(cipher, aes, NULL, key.seal, iv, sealing);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!ok)
        return -1;
    return SSL_version(ssl) == TLS1_3_VERSION && !sealing ? 2 : found; /* each is used once (RFC 8446 §C.4) */
}

void http_tickets_add(struct ssl_ctx_st *ctx)
{
    struct ticket_keys *k = xcalloc(1, sizeof(*k));

    pthread_once(&once, find_slot);
    pthread_mutex_init(&k->lock, NULL);
    if (slot < 0 || SSL_CTX_set_ex_data(ctx, slot, k) != 1)
        abort(); /* as without memory anywhere */
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, seal_or_open);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
}
