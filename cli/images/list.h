/* list.h - the references of `entrepot pull`: from arguments, list files, Kubernetes manifests and compose files. The
 * input is not trusted: sizes and depths are bounded. One thread.
 */
#ifndef ENTREPOT_CLI_IMAGES_LIST_H
#define ENTREPOT_CLI_IMAGES_LIST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/key_map.h"

#include <stddef.h>

enum {
    IMAGE_LIST_MAX = 4096,
    IMAGE_LIST_FILE_MAX = 16 << 20, /* bytes */
    IMAGE_LIST_DEPTH_MAX = 64,
};

/* References without duplicates, in their original order. */
struct image_list {
    char **references; /* as written */
    size_t count, cap;
    struct key_map full; /* the same in their full form, which is compared */
};

void image_list_free(struct image_list *l);
/* Errors: ERR_INVALID (not a valid reference), ERR_TOO_LARGE. */
bool image_list_add(struct image_list *l, const char *text, struct err *err);

/* Each of these reads a file ("-": stdin). Errors name file and line. */

/* One reference per line; `#` begins a comment. */
bool image_list_read(struct image_list *l, const char *file, struct err *err);
/* `image` of all entries of containers, initContainers and ephemeralContainers, and `reference` of image volumes, at
 * any depth: in pods, pod templates, lists. */
bool image_list_read_kubernetes(struct image_list *l, const char *file, struct err *err);
/* `services.*.image`, with ${VARIABLES} from the environment, else from .env beside the file (compose-spec,
 * "Interpolation"); also of included files and extended services. Services without an image are reported on stderr and
 * skipped. */
bool image_list_read_compose(struct image_list *l, const char *file, struct err *err);

/* env.c: replaces ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message}, ${NAME:+other}, $NAME and $$ in a text.
 * `look` returns a variable's value or NULL. The caller frees; NULL with *err set. */
char *image_env_expand(const char *text, const char *(*look)(void *arg, const char *name), void *arg, struct err *err);

#endif
