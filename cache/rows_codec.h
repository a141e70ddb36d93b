/* rows_codec.h - numbers and keys as rows.c and rows_check.c pack them. */
#ifndef ENTREPOT_CACHE_ROWS_CODEC_H
#define ENTREPOT_CACHE_ROWS_CODEC_H

#include "cache/rows.h"

#include <endian.h>

enum {
    ID_LEN = 8,
    CHILD_LEN_MAX = 1 + DIGEST_KEY_MAX + 8,
    HOLDER_LEN_MAX = 1 + ID_LEN + REF_TAG_MAX,
    IDLE_LEN_MAX = 8 + DIGEST_KEY_MAX,
    LINK_LEN_MAX = DIGEST_KEY_MAX + ID_LEN,
};

/* Big-endian, for keys. */
static inline void put_be64(uint8_t *out, uint64_t n)
{
    n = htobe64(n);
    memcpy(out, &n, sizeof(n));
}

static inline uint64_t get_be64(const void *in)
{
    uint64_t n;

    memcpy(&n, in, sizeof(n));
    return be64toh(n);
}

/* Little-endian, for values. */
static inline void put_le64(uint8_t *out, int64_t n)
{
    uint64_t u = htole64((uint64_t)n);
    memcpy(out, &u, sizeof(u));
}

static inline int64_t get_le64(const void *in)
{
    uint64_t u;

    memcpy(&u, in, sizeof(u));
    return (int64_t)le64toh(u);
}

static inline void put_le32(uint8_t *out, uint32_t n)
{
    n = htole32(n);
    memcpy(out, &n, sizeof(n));
}

static inline uint32_t get_le32(const void *in)
{
    uint32_t n;

    memcpy(&n, in, sizeof(n));
    return le32toh(n);
}

static inline size_t put_digest(uint8_t *out, const struct digest *d)
{
    memcpy(out, digest_key(d), digest_key_len(d));
    return digest_key_len(d);
}

/* Removes the rows of a blob itself: blob, idle, totals. */
bool rows_forget_blob(struct index_txn *t, const struct digest *d, struct err *err);

bool rows_decode_child(const struct slice *v, struct child *c);
bool rows_decode_holder(const struct slice *v, struct holder *h);
size_t rows_encode_holder(uint8_t out[HOLDER_LEN_MAX + DIGEST_KEY_MAX], const struct holder *h);
bool rows_decode_blob(const struct slice *v, struct blob_row *row);
bool rows_decode_tag(const struct slice *v, struct tag_row *row);

#endif
