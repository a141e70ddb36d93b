#include "base/digest.h"

#include "base/assert.h"

#include <openssl/evp.h>

static const struct {
    const char *name;
    size_t len;
} ALGS[] = {
    [DIGEST_NONE] = {"none", 0},
    [DIGEST_SHA256] = {"sha256", 32},
    [DIGEST_SHA512] = {"sha512", 64},
};

size_t digest_len(const struct digest *d)
{
    return d->alg < ARRAY_LEN(ALGS) ? ALGS[d->alg].len : 0;
}

const char *digest_alg_name(const struct digest *d)
{
    return d->alg < ARRAY_LEN(ALGS) ? ALGS[d->alg].name : "none";
}

/* One more than the value of a digit, lower case; 0: it is none. */
static const uint8_t HEX_VALUES[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

bool digest_parse(struct digest *d, const char *text, size_t len)
{
    memset(d, 0, sizeof(*d));
    if (len == 7 + 64 && memcmp(text, "sha256:", 7) == 0)
        d->alg = DIGEST_SHA256;
    else if (len == 7 + 128 && memcmp(text, "sha512:", 7) == 0)
        d->alg = DIGEST_SHA512;
    else
        return false;
    size_t n = digest_len(d);
    for (size_t i = 0; i < n; i++) {
        unsigned hi = HEX_VALUES[(unsigned char)text[7 + 2 * i]];
        unsigned lo = HEX_VALUES[(unsigned char)text[8 + 2 * i]];
        if (hi == 0 || lo == 0) {
            memset(d, 0, sizeof(*d));
            return false;
        }
        d->raw[i] = (uint8_t)((hi - 1) << 4 | (lo - 1));
    }
    return true;
}

const char *digest_hex(const struct digest *d, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = digest_len(d);

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[d->raw[i] >> 4];
        out[2 * i + 1] = digits[d->raw[i] & 15];
    }
    out[2 * n] = '\0';
    return out;
}

const char *digest_format(const struct digest *d, char *out)
{
    if (digest_len(d) == 0)
        return strcpy(out, "none");
    memcpy(out, ALGS[d->alg].name, 6);
    out[6] = ':';
    digest_hex(d, out + 7);
    return out;
}

size_t digest_key_len(const struct digest *d)
{
    return 1 + digest_len(d);
}

size_t digest_from_key(struct digest *d, const void *key, size_t len)
{
    memset(d, 0, sizeof(*d));
    if (len < 1)
        return 0;
    memcpy(&d->alg, key, 1);
    size_t n = digest_len(d);
    if (n == 0 || len < 1 + n) {
        memset(d, 0, sizeof(*d));
        return 0;
    }
    memcpy(d->raw, (const char *)key + 1, n);
    return 1 + n;
}

struct hasher {
    EVP_MD_CTX *ctx;
    enum digest_alg alg;
    bool ended;
};

struct hasher *hasher_new(enum digest_alg alg)
{
    struct hasher *h = xcalloc(1, sizeof(*h));

    h->alg = alg;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, alg == DIGEST_SHA512 ? EVP_sha512() : EVP_sha256(), NULL) != 1)
        abort(); /* only without memory, or without SHA-2 in OpenSSL: nothing could be verified */
    return h;
}

void hasher_update(struct hasher *h, const void *data, size_t len)
{
    IN_STATE(!h->ended);
    EVP_DigestUpdate(h->ctx, data, len);
}

void hasher_final(struct hasher *h, struct digest *out)
{
    unsigned int n = 0;

    IN_STATE(!h->ended);
    h->ended = true;
    memset(out, 0, sizeof(*out));
    out->alg = (uint8_t)h->alg;
    EVP_DigestFinal_ex(h->ctx, out->raw, &n);
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *out)
{
    struct hasher *h = hasher_new(alg);
    hasher_update(h, data, len);
    hasher_final(h, out);
    hasher_free(h);
}
