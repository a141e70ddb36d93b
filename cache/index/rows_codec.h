/* rows_codec.h - numbers and keys as the files about rows pack them, and what they share: rows.c ◀ rows_graph.c ◀
 * rows_place.c ◀ rows_blob.c, rows_link.c ◀ rows_refs.c ◀ rows_check.c, each of which uses those before it. */
#ifndef ENTREPOT_CACHE_INDEX_ROWS_CODEC_H
#define ENTREPOT_CACHE_INDEX_ROWS_CODEC_H

#include "cache/index/rows.h"

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

static inline void put_double(uint8_t *out, double n)
{
    int64_t bits;

    memcpy(&bits, &n, sizeof(bits));
    put_le64(out, bits);
}

static inline double get_double(const void *in)
{
    int64_t bits = get_le64(in);
    double n;

    memcpy(&n, &bits, sizeof(n));
    return n;
}

static inline size_t put_digest(uint8_t *out, const struct digest *d)
{
    memcpy(out, digest_key(d), digest_key_len(d));
    return digest_key_len(d);
}

/* Writes the row itself, nothing beside it. */
bool rows_write_blob(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err);
/* Adds it to the totals, or (`sign` -1) takes it out of them. */
bool rows_count_blob(struct index_txn *t, const struct blob_row *row, int sign, struct err *err);
/* Removes the rows of a blob itself: blob, idle, rank, totals. */
bool rows_forget_blob(struct index_txn *t, const struct digest *d, struct err *err);

/* Single rows of `parent` and `child`; rows_hold() and rows_release() put the blob where GC looks for it. */
bool rows_hold(struct index_txn *t, const struct digest *d, const struct holder *h, struct err *err);
bool rows_release(struct index_txn *t, const struct digest *d, const struct holder *h, struct err *err);
bool rows_holds(struct index_txn *t, const struct digest *d, const struct holder *h);
bool rows_unname(struct index_txn *t, const struct digest *manifest, const struct child *c, struct err *err);
/* Whether a child row of the manifest, other than its subject's, names it. */
bool rows_names(struct index_txn *t, const struct digest *manifest, const struct digest *child);
/* Whether it is a part of it: not what is only about it. */
bool rows_contains(struct index_txn *t, const struct digest *manifest, const struct digest *child);
/* rows_link.c. After a manifest was stored: links what it names, or one child of it, to the repositories that it is
 * linked to; whether the child is. After a blob was dropped: drops its links, or as long as something holds it, reduces
 * them to PROOF_NAMED. */
bool rows_link_children(struct index_txn *t, const struct digest *manifest, struct err *err);
bool rows_link_child(struct index_txn *t, const struct digest *manifest, const struct digest *child, struct err *err);
bool rows_child_is_linked(struct index_txn *t, const struct digest *manifest, const struct digest *child);
bool rows_drop_links(struct index_txn *t, const struct digest *d, struct err *err);
bool rows_set_totals(struct index_txn *t, const struct totals *totals, struct err *err);

/* What kinds of holders a blob has; found without visiting them all, there may be very many. */
struct holding {
    bool any, tagged, pinned;
};
struct holding rows_holding(struct index_txn *t, const struct digest *d);
/* Where a blob with these holders and these flags belongs: BLOB_IDLE, BLOB_RANKED or neither (0). */
uint32_t rows_place_of(const struct holding *h, uint32_t flags);

/* Puts a stored blob where GC looks for it (`idle`, `rank`, neither), after its holders have changed. */
bool rows_place(struct index_txn *t, const struct digest *d, struct err *err);
/* Takes it out of there; `row` is what is stored. */
bool rows_unplace(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err);
/* A manifest holds this blob no more. If one manifest alone holds it now, evicting that frees more than before (as it
 * does for an image that an index held): its rank is computed again. */
bool rows_rank_again(struct index_txn *t, const struct digest *d, struct err *err);
bool rows_idle_put(struct index_txn *t, const struct digest *d, int64_t used, struct err *err);
bool rows_idle_del(struct index_txn *t, const struct digest *d, int64_t used, struct err *err);
size_t rows_idle_key(uint8_t key[IDLE_LEN_MAX], const struct digest *d, int64_t used);
size_t rows_rank_key(uint8_t key[IDLE_LEN_MAX], const struct digest *d, double rank);

bool rows_decode_child(const struct slice *v, struct child *c);
bool rows_decode_holder(const struct slice *v, struct holder *h);
size_t rows_encode_holder(uint8_t out[HOLDER_LEN_MAX + DIGEST_KEY_MAX], const struct holder *h);
bool rows_decode_blob(const struct slice *v, struct blob_row *row);

#endif
