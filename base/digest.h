/* digest.h - content digests (OCI image-spec, "Digests"): sha256:<64 hex> and sha512:<128 hex>.
 *
 * A struct digest is a plain value. Unused bytes are zero, so digests compare with memcmp. The key form (algorithm byte
 * + raw bytes) is what the index stores. A hasher belongs to one thread at a time.
 */
#ifndef ENTREPOT_BASE_DIGEST_H
#define ENTREPOT_BASE_DIGEST_H

#include "base/err.h"

#include <stdint.h>
#include <string.h>

enum digest_alg { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

enum {
    DIGEST_RAW_MAX = 64,
    DIGEST_KEY_MAX = 1 + DIGEST_RAW_MAX,
    DIGEST_TEXT_MAX = 7 + 2 * DIGEST_RAW_MAX + 1, /* "sha512:" + hex + NUL */
};

struct digest {
    uint8_t alg; /* enum digest_alg; first, so that the struct begins with the key form */
    uint8_t raw[DIGEST_RAW_MAX];
};

/* Bytes of the raw digest: 32 or 64; 0 for DIGEST_NONE. */
size_t digest_len(const struct digest *d);
/* Parses exactly `len` characters; lower-case hex only, as the specification requires. False if it is not a digest. */
bool digest_parse(struct digest *d, const char *text, size_t len);
/* Writes "alg:hex" and returns `out`, which holds at least DIGEST_TEXT_MAX. */
const char *digest_format(const struct digest *d, char *out);
/* The hex part alone, and the algorithm's name. */
const char *digest_hex(const struct digest *d, char *out);
const char *digest_alg_name(const struct digest *d);

static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* The key form: a pointer into the digest itself and its length. */
static inline const void *digest_key(const struct digest *d)
{
    return d;
}
size_t digest_key_len(const struct digest *d);
/* Reads a key form; returns the bytes it took, or 0 if they are no key. */
size_t digest_from_key(struct digest *d, const void *key, size_t len);
/* FNV-1a of a text: for tables and distribution, not for security. */
static inline uint32_t text_hash(const char *text)
{
    uint32_t h = 2166136261u;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}
/* A well-mixed number for hash tables. Content digests are uniform already. */
static inline uint64_t digest_hash(const struct digest *d)
{
    uint64_t h;
    memcpy(&h, d->raw, sizeof(h));
    return h;
}

/* Streaming hash (OpenSSL EVP). */
struct hasher;
struct hasher *hasher_new(enum digest_alg alg);
void hasher_update(struct hasher *h, const void *data, size_t len);
/* Ends the hash; the hasher can only be freed after that. */
void hasher_final(struct hasher *h, struct digest *out);
void hasher_free(struct hasher *h);
/* One-shot. */
void digest_of(enum digest_alg alg, const void *data, size_t len, struct digest *out);

#endif
