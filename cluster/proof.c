#include "cluster/proof.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_LEN = 16, MAC_LEN = 32, PROOF_PROBES = 64 };

/* Nonces that were used, of one stretch of time; an empty place is all zero. */
struct proof_seen {
    int64_t begun_ms; /* monotonic */
    int count;
    unsigned char list[PROOF_SEEN][NONCE_LEN];
};

struct proofs {
    char *secret;
    pthread_mutex_t lock;
    struct proof_seen *seen[2]; /* under lock: the present one, and the one before */
};

struct proofs *proofs_new(const char *secret)
{
    struct proofs *p = xcalloc(1, sizeof(*p));

    p->secret = xstrdup(secret);
    pthread_mutex_init(&p->lock, NULL);
    for (int i = 0; i < 2; i++)
        p->seen[i] = xcalloc(1, sizeof(struct proof_seen));
    return p;
}

void proofs_free(struct proofs *p)
{
    if (!p)
        return;
    secret_free(p->secret);
    free(p->seen[0]);
    free(p->seen[1]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Each part with its length, so that none can run into the next. */
static void proof_mac(const struct proofs *p, const struct proof_of *of, const char *head, unsigned char out[MAC_LEN])
{
    const char *const parts[] = {head, of->method, of->target, of->to, of->peer, of->range, of->authorization};
    _cleanup_secret_buf_ struct buf text = {0};
    unsigned int len = MAC_LEN;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        buf_addf(&text, "%zu %s\n", strlen(parts[i]), parts[i]);
    if (!HMAC(EVP_sha256(), p->secret, (int)strlen(p->secret), (const unsigned char *)text.data, text.len, out, &len))
        abort();
}

static void proof_write_hex(char *out, const unsigned char *raw, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", raw[i]);
}

static bool read_hex(const char *text, unsigned char *out, size_t len)
{
    for (size_t i = 0; i < 2 * len; i++) {
        const char *digits = "0123456789abcdef", *at = text[i] ? strchr(digits, text[i]) : NULL;
        if (!at)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] << 4 | (at - digits) : at - digits);
    }
    return true;
}

void proof_make(const struct proofs *p, const struct proof_of *of, char out[PROOF_MAX])
{
    unsigned char nonce[NONCE_LEN], mac[MAC_LEN];
    char text[2 * NONCE_LEN + 1], hex[2 * MAC_LEN + 1], head[80];

    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        abort();
    proof_write_hex(text, nonce, sizeof(nonce));
    snprintf(head, sizeof(head), "t=%lld; n=%s", (long long)clock_now_ms(), text);
    proof_mac(p, of, head, mac);
    proof_write_hex(hex, mac, sizeof(mac));
    snprintf(out, PROOF_MAX, "%s; m=%s", head, hex);
}

void proof_answer(const struct proofs *p, const char *request, const char *says, char out[PROOF_MAX])
{
    const struct proof_of of = {"answer", says, "", "", "", ""};
    unsigned char mac[MAC_LEN];
    char hex[2 * MAC_LEN + 1];

    proof_mac(p, &of, request, mac);
    proof_write_hex(hex, mac, sizeof(mac));
    snprintf(out, PROOF_MAX, "a=%s", hex);
}

bool proof_is_answer(const struct proofs *p, const char *request, const char *says, const char *value)
{
    char right[PROOF_MAX];

    proof_answer(p, request, says, right);
    return strlen(value) == strlen(right) && CRYPTO_memcmp(value, right, strlen(right)) == 0;
}

/* ---- checking ---- */

/* The place of a nonce, or a free one; NULL: there is none. */
static unsigned char *proof_proof_place(struct proof_seen *s, const unsigned char nonce[NONCE_LEN])
{
    static const unsigned char none[NONCE_LEN];
    uint64_t h;

    memcpy(&h, nonce, sizeof(h));
    for (int i = 0; i < PROOF_PROBES; i++) {
        unsigned char *place = s->list[(h + (uint64_t)i) % PROOF_SEEN];
        if (memcmp(place, nonce, NONCE_LEN) == 0 || memcmp(place, none, NONCE_LEN) == 0)
            return place;
    }
    return NULL;
}

/* Whether it has not been used before; it is, from now on. */
static bool proof_use(struct proofs *p, const unsigned char nonce[NONCE_LEN], struct err *err)
{
    static const unsigned char none[NONCE_LEN];
    int64_t now = clock_mono_ms();
    bool ok = true;

    pthread_mutex_lock(&p->lock);
    if (now - p->seen[0]->begun_ms >= 2 * (int64_t)PROOF_WINDOW_MS) {
        struct proof_seen *old = p->seen[1];
        p->seen[1] = p->seen[0];
        p->seen[0] = old;
        memset(old, 0, sizeof(*old));
        old->begun_ms = now;
    }
    unsigned char *place = proof_proof_place(p->seen[0], nonce), *before = proof_proof_place(p->seen[1], nonce);
    if ((place && memcmp(place, nonce, NONCE_LEN) == 0) || (before && memcmp(before, nonce, NONCE_LEN) == 0)) {
        ok = err_set(err, ERR_DENIED, PROOF_HEADER " was used before");
    } else if (!place || p->seen[0]->count >= PROOF_SEEN / 4 * 3 || memcmp(nonce, none, NONCE_LEN) == 0) {
        ok = err_set(err, ERR_BUSY, "more requests of other nodes than can be told apart");
    } else {
        memcpy(place, nonce, NONCE_LEN);
        p->seen[0]->count++;
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

/* Its three parts, exactly in the form in which they are written. */
static bool proof_parse(const char *value, int64_t *t_ms, unsigned char nonce[NONCE_LEN], unsigned char mac[MAC_LEN],
                        char head[80])
{
    char *end;

    if (strncmp(value, "t=", 2) != 0 || value[2] < '0' || value[2] > '9')
        return false;
    *t_ms = strtoll(value + 2, &end, 10);
    size_t len = (size_t)(end - value) + 4 + 2 * NONCE_LEN;
    if (strncmp(end, "; n=", 4) != 0 || strlen(end) != 4 + 2 * NONCE_LEN + 4 + 2 * MAC_LEN || len >= 80 ||
        strncmp(value + len, "; m=", 4) != 0)
        return false;
    snprintf(head, 80, "%.*s", (int)len, value);
    return read_hex(end + 4, nonce, NONCE_LEN) && read_hex(value + len + 4, mac, MAC_LEN);
}

bool proof_check(struct proofs *p, const struct proof_of *of, const char *value, int64_t *skew_ms, struct err *err)
{
    unsigned char nonce[NONCE_LEN], mac[MAC_LEN], right[MAC_LEN];
    char head[80];
    int64_t t_ms;

    *skew_ms = 0;
    if (!value)
        return err_set(err, ERR_DENIED, "this address is for the nodes of a cluster: there is no " PROOF_HEADER);
    if (!proof_parse(value, &t_ms, nonce, mac, head))
        return err_set(err, ERR_DENIED, PROOF_HEADER " cannot be read");
    proof_mac(p, of, head, right);
    if (CRYPTO_memcmp(mac, right, MAC_LEN) != 0)
        return err_set(err, ERR_DENIED, PROOF_HEADER " is wrong: do both nodes have the same secret?");
    int64_t off = t_ms - clock_now_ms();
    if (off > PROOF_WINDOW_MS || off < -PROOF_WINDOW_MS) {
        *skew_ms = off;
        return err_set(err, ERR_DENIED, "the clocks are %lld s apart", (long long)(off < 0 ? -off : off) / 1000);
    }
    return proof_use(p, nonce, err);
}
