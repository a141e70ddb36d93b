/* private.h - between the files that read lists of images. */
#ifndef ENTREPOT_CLI_IMAGES_PRIVATE_H
#define ENTREPOT_CLI_IMAGES_PRIVATE_H

#include "cli/images/list.h"

#include <yaml.h>

/* A whole file ("-": stdin), NUL-terminated. */
bool image_list_file(const char *file, struct buf *text, struct err *err);

/* ---- yaml.c: a YAML file on its way ---- */

struct image_walk {
    struct image_list *list;
    const char *file;
    yaml_document_t doc; /* the one being read */
    int visits;
    struct err *err;
    const void *arg; /* the reader's own */
};

/* Calls `fn` with each document's root. */
bool walk_documents(struct image_walk *w, const char *text, size_t len,
                    bool (*fn)(struct image_walk *w, yaml_node_t *root));
/* The value of a key, its own or a merged one (`<<: *common`, YAML 1.1 merge keys); NULL: there is none. */
yaml_node_t *walk_get(struct image_walk *w, const yaml_node_t *mapping, const char *key);
/* NULL if it is none. */
const char *walk_scalar(const yaml_node_t *n);
/* Nothing, or YAML's words for nothing. */
bool walk_is_null(const yaml_node_t *n);
/* False, with the error, when there has been too much. */
bool walk_is_bounded(struct image_walk *w, const yaml_node_t *n, int depth);
/* Adds a reference that stands at `node`. */
bool walk_add(struct image_walk *w, const yaml_node_t *node, const char *text);
/* The text of an image, if there is any. */
bool walk_add_image(struct image_walk *w, const yaml_node_t *node);

#endif
