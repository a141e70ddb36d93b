/* export.h - what belongs into an archive of images: an OCI image layout (image-spec image-layout.md), or what
 * `docker load` reads.
 *
 * A layout has the manifests as they are, so that digests stay; of an index, the images that are here whole. With an
 * image goes what is known about it: referrers, their fallback tag, cosign's tags. Each has its full reference as
 * org.opencontainers.image.ref.name and io.containerd.image.name. The order, and with it the archive, depends on what
 * is in it alone. Blocks (manifests are read): admin workers.
 */
#ifndef ENTREPOT_CACHE_EXPORT_H
#define ENTREPOT_CACHE_EXPORT_H

#include "cache/cache.h"

/* A file of the archive: text, or a blob. */
struct export_member {
    char *name;
    char *text; /* NULL: a blob */
    struct digest digest;
    int64_t size; /* bytes */
};

struct export_list {
    struct export_member *members;
    size_t count, room;
    char *notes; /* what is left out, a line each; or NULL */
};

struct export_wish {
    const struct ref *references;
    size_t count;
    const char *platform; /* of an index, this one alone; NULL: those that are here. Docker: NULL is "linux/amd64" */
    bool docker;
};

/* The caller frees the list, also after an error. Errors: ERR_NOT_FOUND (what is missing, and how to get it),
 * ERR_UNSUPPORTED. */
bool export_plan(struct cache *c, const struct export_wish *wish, struct export_list *out, struct err *err);
void export_list_free(struct export_list *l);

#endif
