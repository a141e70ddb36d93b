/* manifest.h - a manifest's fetch, for manifest.c and stale.c alone. */
#ifndef ENTREPOT_PROXY_FETCH_MANIFEST_H
#define ENTREPOT_PROXY_FETCH_MANIFEST_H

#include "base/assert.h"
#include "proxy/fetch/private.h"

struct manifest_fetch {
    struct fetch common;       /* first: a struct fetch of this type is one of these */
    int64_t storing_ms;        /* since when; monotonic */
    bool tag_by_node;          /* what the tag points to is by another node */
    bool refetched;            /* the copy's file turned out to be gone: asked for, once */
    bool answered_early;       /* a copy has been handed out: clients that join get it, too */
    struct fetch_result early; /* the copy */
    bool putting; /* the tag into the index: until then the fetch stays, or the next client would ask upstream again */
};

static inline struct manifest_fetch *manifest_of(const struct fetch *f)
{
    IN_STATE(f->want.kind == FETCH_MANIFEST || f->want.kind == FETCH_MANIFEST_HEAD);
    return (struct manifest_fetch *)f;
}

/* stale.c: whether a tag's copy may be served although it is past fresh; what to do about it; the last step. */
bool manifest_may_be_stale(const struct fetch *f, const struct cache_hit *hit);
enum step manifest_past_fresh(struct fetch *f);
enum step manifest_fail(struct fetch *f);
/* Clients have waited for long enough: they get the copy. */
void manifest_lose_patience(struct fetch *f);

#endif
