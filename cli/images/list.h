/* list.h - where the references of `entrepot pull` come from: words, list files, Kubernetes manifests, compose
 * files. Nothing here is trusted: sizes and depths are bounded.
 */
#ifndef ENTREPOT_CLI_IMAGES_LIST_H
#define ENTREPOT_CLI_IMAGES_LIST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/places.h"

#include <stddef.h>

enum {
    IMAGE_LIST_MAX = 4096,
    IMAGE_LIST_FILE_MAX = 16 << 20, /* bytes */
    IMAGE_LIST_DEPTH_MAX = 64,
};

/* Distinct references, in the order they came. */
struct image_list {
    char **references; /* as they were written */
    size_t count, room;
    struct places full; /* the same in their full form, which is compared */
};

void image_list_free(struct image_list *l);
/* Errors: ERR_INVALID (it is no reference), ERR_TOO_LARGE. */
bool image_list_add(struct image_list *l, const char *text, struct err *err);

/* Each reads a file ("-": stdin). Errors name file and line. */

/* One reference a line; `#` begins a comment. */
bool image_list_read(struct image_list *l, const char *file, struct err *err);
/* `image` of everything under containers, initContainers and ephemeralContainers, and `reference` of image volumes,
 * wherever they are: pods, whatever has a pod template, lists. */
bool image_list_read_kubernetes(struct image_list *l, const char *file, struct err *err);
/* `services.*.image`, with ${VARIABLES} from the environment, else from .env beside the file (compose-spec,
 * "Interpolation"); of what is included and extended, too. What is only built is passed over, and said on stderr. */
bool image_list_read_compose(struct image_list *l, const char *file, struct err *err);

/* env.c: what stands for ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message}, ${NAME:+other}, $NAME and
 * $$ in a text. `look` gives a variable's value or NULL. The caller frees; NULL with *err set. */
char *image_env_expand(const char *text, const char *(*look)(void *arg, const char *name), void *arg, struct err *err);

#endif
