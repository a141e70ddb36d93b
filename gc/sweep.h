/* sweep.h - the passes of a collection, as changes of the index (gc.h describes them). Internal to this folder.
 */
#ifndef ENTREPOT_GC_SWEEP_H
#define ENTREPOT_GC_SWEEP_H

#include "gc/parts.h"
#include "gc/refs.h"

enum {
    SWEEP_ENTRIES = 256, /* rows of `blob` removed in one transaction */
    SWEEP_LOOKS = 64,    /* images weighed in one transaction */
};

struct sweep {
    struct store *store;
    const struct policy *policy;
    const void *learned;       /* the policy's state; borrowed */
    int64_t target;            /* bytes; the second pass ends there. What parts give counts beside */
    const struct parts *parts; /* borrowed; NULL: none */
    bool dry_run;              /* look, and roll back */
    size_t looks;
    /* what this transaction does; reset each time it is run */
    struct eviction go;
    struct gc_report report;
    bool more; /* there may be more to remove */
    /* parts that the second pass has chosen: those before `from` are gone */
    struct sweep_parts {
        size_t count;
        int64_t bytes;
    } parts_from, parts_next;
    /* where the second pass resumes: after images that are kept although their rank is low; what was retired may have
     * brought others to a lower rank behind it, so that it starts over until nothing more can be evicted */
    struct sweep_place {
        double rank;
        struct digest after; /* DIGEST_NONE: at the beginning */
        bool retired;        /* an image, since it was there */
    } from, next;
    /* sweep_rank_again(): how far it has come, in the order of ranks */
    struct sweep_place ranked, ranked_next;
    /* the third pass: where it is in the table of tags */
    uint64_t tag_repo;
    char tag[REF_TAG_MAX + 1];
    /* gc_remove(): */
    const char *repo_name, *tag_name;
    bool found, pinned;
};

void sweep_init(struct sweep *s, struct cache *cache, const struct policy *policy, const void *learned, bool dry_run);
void sweep_free(struct sweep *s);
/* For index_write(): arg is the sweep. A dry run fails with ERR_CANCELLED once it has looked. */
bool sweep_unreferenced(struct index_txn *t, void *arg, struct err *err);
bool sweep_images(struct index_txn *t, void *arg, struct err *err);
/* Lists images that the policy now ranks lower than they are listed: a part of the table at a time. */
bool sweep_rank_again(struct index_txn *t, void *arg, struct err *err);
bool sweep_one_tag(struct index_txn *t, void *arg, struct err *err);
/* Tags of manifests that are not stored: a part of the table at a time. */
bool sweep_empty_tags(struct index_txn *t, void *arg, struct err *err);

#endif
