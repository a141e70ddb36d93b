/* export_private.h - the files of cache/export*.c among themselves: export_members.c (files) ◀ export_tree.c
 * (what an image consists of) ◀ export_docker.c (manifest.json), export_about.c (signatures and other
 * referrers) ◀ export.c (references, index.json). */
#ifndef ENTREPOT_CACHE_EXPORT_PRIVATE_H
#define ENTREPOT_CACHE_EXPORT_PRIVATE_H

#include "cache/export.h"

#include <jansson.h>

enum { EXPORT_DEPTH_MAX = 4 };

struct export_plan {
    struct cache *c;
    const struct export_wish *wish;
    struct export_list *out;
    json_t *entries;                             /* of index.json */
    json_t *docker;                              /* of docker's manifest.json */
    char text[REF_TEXT_MAX], name[REF_TEXT_MAX]; /* the image that is being added: "name:tag", "name" */
    struct buf notes;
    struct err *err;
};

/* An image of the tree that is in the archive. */
struct export_leaf {
    struct digest digest;
    char platform[PLATFORM_MAX + 1];
    bool attestation;
    json_t *descriptor; /* as its index has it; NULL: it is in none */
};

struct export_tree {
    struct export_leaf *leaves;
    size_t count, cap;
    int walked;  /* manifests that were looked at, each as often as it is named */
    int images;  /* of them those that are no attestations */
    bool sparse; /* not all that the indexes name is here, or wanted */
};

/* ---- export_members.c ---- */

/* A document of ours; decrefs it. */
void export_add_text(struct export_list *l, const char *name, json_t *doc);
/* The same as a blob; returns its size. */
int64_t export_add_document(struct export_plan *p, json_t *doc, struct digest *out);
void export_add_blob(struct export_plan *p, const struct digest *d, int64_t size, const char *name);

/* ---- export_tree.c ---- */

/* A stored blob of the image that is being added. */
bool export_find(struct export_plan *p, const struct digest *d, struct cache_hit *hit);
bool export_load(struct export_plan *p, const struct digest *d, struct manifest *m, struct cache_hit *hit);
/* The first thing that an image needs and that is not here; NULL: nothing. */
const struct part *export_missing(struct export_plan *p, const struct manifest *m);
/* Sets ERR_NOT_FOUND. */
bool export_is_incomplete(struct export_plan *p, const char *platform, const struct digest *missing);
/* A manifest with all it needs; `every`: of an index all that is here, whatever platforms are wanted. */
bool export_add_tree(struct export_plan *p, const struct digest *d, bool every, struct export_tree *tree);
void export_tree_free(struct export_tree *tree);
/* A descriptor under a reference. */
json_t *export_make_descriptor(const char *type, const struct digest *d, int64_t size, const char *reference);
/* The descriptor of a stored manifest under a reference; NULL: it is not stored. */
json_t *export_descriptor(struct export_plan *p, const struct digest *d, const char *reference);

/* ---- export_docker.c ---- */

/* The image's entry of manifest.json, in a layout. */
void export_add_docker_entry(struct export_plan *p, const struct ref *ref, const struct digest *root,
                             const struct export_tree *tree);
/* The image in an archive of nothing else. */
bool export_add_docker_image(struct export_plan *p, const struct ref *ref, struct digest d);

/* ---- export_about.c ---- */

/* All that is known about the image and those in it, as descriptors; what cannot be added whole is left out, with a
 * note. */
json_t *export_add_statements(struct export_plan *p, const struct digest *root, const struct export_tree *tree);

#endif
