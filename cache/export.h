/* export.h - what belongs into an archive of images: an OCI image layout (image-spec image-layout.md) that engines load
 * as well, or an archive of nothing but what `docker load` has always read.
 *
 * A layout has the manifests as they are, so that digests stay. Its index.json has an entry for each image that was
 * asked for, with its full reference as org.opencontainers.image.ref.name and io.containerd.image.name, and nothing
 * else: podman takes a layout of one image only, and ctr and kind unpack every entry. Beside it is docker's
 * manifest.json, which names the same blobs; docker's classic store and podman (of several images) read that.
 *
 * An entry leads to nothing that is not in the archive: `ctr images import --all-platforms`, which is what kind runs,
 * follows every descriptor. So an index of which not all is here is represented, as `docker save` does it, by the one
 * image that is, or by an index of those that are; the index itself is in the archive nevertheless, and named by an
 * annotation of the entry, EXPORT_INDEX: `import` puts it back in its place. In the same way EXPORT_REFERRERS names an
 * index (as GET /v2/<name>/referrers/<digest> answers one) of what is known about the image: referrers, their fallback
 * tag, cosign's tags.
 *
 * The order, and with it the archive, depends on what is in it alone. Blocks (manifests are read): admin workers.
 */
#ifndef ENTREPOT_CACHE_EXPORT_H
#define ENTREPOT_CACHE_EXPORT_H

#include "base/lookup.h"
#include "base/platform.h"
#include "cache/cache.h"

#define EXPORT_INDEX     "io.entrepot.index"
#define EXPORT_REFERRERS "io.entrepot.referrers"

enum { EXPORT_PLATFORMS_MAX = 16 };

/* A file of the archive: text, or a blob. */
struct export_item {
    char *name;
    char *text; /* NULL: a blob */
    struct digest digest;
    int64_t size; /* bytes */
};

struct export_list {
    struct export_item *members;
    size_t count, cap;
    struct text_set names; /* of the members */
    char *notes;           /* what is left out, a line each; or NULL */
};

enum export_signatures {
    SIGNATURES_INCLUDE,  /* in the archive, beside what is at the top of index.json */
    SIGNATURES_SEPARATE, /* entries of their own there: for tools that look for them there */
    SIGNATURES_OMIT,
};

struct export_wish {
    const struct ref *references;
    size_t count;
    char platforms[EXPORT_PLATFORMS_MAX][PLATFORM_TEXT]; /* of an index, these; none: those that are here. "" ends them.
                                                            What docker reads has the first one of them, or this
                                                            machine's */
    bool all;                                            /* every one of an index, or it is an error */
    enum export_signatures signatures;
    bool docker; /* nothing but what docker reads */
};

/* The caller frees the list, also after an error. Errors: ERR_NOT_FOUND (what is missing, and how to get it),
 * ERR_UNSUPPORTED. */
bool export_plan(struct cache *c, const struct export_wish *wish, struct export_list *out, struct err *err);
void export_list_free(struct export_list *l);

#endif
