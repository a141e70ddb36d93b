/* private.h - between the files that read lists of images. */
#ifndef ENTREPOT_CLI_IMAGES_PRIVATE_H
#define ENTREPOT_CLI_IMAGES_PRIVATE_H

#include "cli/images/list.h"

#include <yaml.h>

/* A whole file ("-": stdin), NUL-terminated. */
bool image_list_file(const char *file, struct buf *text, struct err *err);

/* ---- yaml.c: walking a YAML file ---- */

struct image_walk {
    struct image_list *list;
    const char *file;
    yaml_document_t doc; /* the current one */
    int visits;          /* nodes visited so far: bounded */
    struct err *err;
    const void *arg; /* the reader's own */
};

/* Calls `fn` with each document's root. */
bool walk_documents(struct image_walk *w, const char *text, size_t len,
                    bool (*fn)(struct image_walk *w, yaml_node_t *root));
/* The value of a key, the mapping's own or a merged one (`<<: *common`, YAML 1.1 merge keys); NULL: not found. */
yaml_node_t *walk_get(struct image_walk *w, const yaml_node_t *mapping, const char *key);
/* The text of a scalar; NULL: not a scalar. */
const char *walk_scalar(const yaml_node_t *n);
/* Missing, empty, `~` or `null`. */
bool walk_is_null(const yaml_node_t *n);
/* Counts a visit; false with the error: too many visits, or too deep. */
bool walk_is_bounded(struct image_walk *w, const yaml_node_t *n, int depth);
/* Adds a reference found at `node`. */
bool walk_add(struct image_walk *w, const yaml_node_t *node, const char *text);
/* Adds the reference in an `image` value, if it has one. */
bool walk_add_image(struct image_walk *w, const yaml_node_t *node);

#endif
