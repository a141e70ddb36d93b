/* manifest.h - what a manifest names.
 *
 * Reads Docker image manifests (v2 schema 2) and manifest lists, OCI image manifests and indexes (image-spec
 * manifest.md, image-index.md), and artifacts with a `subject`. Documents come from upstream and are not trusted: they
 * are bounded in size, depth and number of children, and one that claims to be an image and an index at once is refused
 * (CVE-2021-41190; engines refuse it, too). Apart from that whatever is a JSON object is a manifest, since its digest
 * is all that a client goes by: what cannot be understood of it is skipped, and noted (`unread`), for it takes
 * no more than that to know what it holds. document.h says how it is read. Docker schema 1 is recognised, to be passed
 * through.
 *
 * A struct manifest is a plain value that owns its list; one thread at a time.
 */
#ifndef ENTREPOT_CACHE_MANIFEST_H
#define ENTREPOT_CACHE_MANIFEST_H

#include "cache/index/rows.h"

enum {
    MANIFEST_SIZE_MAX = 4 << 20, /* bytes; distribution-spec, "Pushing Manifests": registries take at least 4 MiB */
    MANIFEST_CHILDREN_MAX = 16384,
    MANIFEST_WITHIN_MAX = 16384, /* manifests of one image, in indexes within one another, as often as they are named */
    PLATFORM_MAX = 95,
};

/* The Accept header of requests upstream: every kind, whatever the client accepts, so that one answer serves every
 * client. */
#define MANIFEST_ACCEPT                                                                                                \
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "                            \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                                                      \
    "application/vnd.docker.distribution.manifest.v2+json, "                                                           \
    "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, */*;q=0.1"

enum manifest_kind {
    MANIFEST_IMAGE,   /* config and layers */
    MANIFEST_INDEX,   /* manifests */
    MANIFEST_SCHEMA1, /* Docker schema 1: no digests of its own */
    MANIFEST_OTHER,   /* JSON of an unknown kind */
};

enum part_role { PART_CONFIG, PART_LAYER, PART_MANIFEST, PART_SUBJECT };

struct part {
    enum part_role role;
    struct digest digest;
    int64_t size; /* bytes; 0 if the manifest does not have it */
    char media_type[MEDIA_TYPE_MAX + 1];
    char platform[PLATFORM_MAX + 1]; /* "linux/arm64/v8"; of a manifest in an index */
    bool seekable;                   /* a layer made to be fetched in pieces: zstd:chunked, eStargz */
    bool attestation;                /* platform unknown/unknown: a statement about another manifest, not to be run */
};

struct manifest {
    enum manifest_kind kind;
    char media_type[MEDIA_TYPE_MAX + 1]; /* what the document calls itself, "" if it does not */
    bool says_so;                        /* by schemaVersion or mediaType it calls itself a manifest */
    bool unread;                         /* it names more than is in `parts`: a digest of another algorithm, ... */
    struct part *parts;                  /* in the document's order */
    size_t count;
};

/* Errors: ERR_INVALID (not a JSON object, or two things at once), ERR_TOO_LARGE (bytes). More than
 * MANIFEST_CHILDREN_MAX children make it a MANIFEST_OTHER that is `unread`. */
bool manifest_parse(struct manifest *m, const void *data, size_t len, struct err *err);
void manifest_free(struct manifest *m);
/* Whether a JSON object of which nothing else is known is an image or an index: image configs are JSON, too. */
bool manifest_is_likely(const struct manifest *m);
/* The first part of that role, or NULL. */
const struct part *manifest_part(const struct manifest *m, enum part_role role);
/* What engines take out of an index for a platform: the manifest that serves it best, else the first of which no
 * platform is given (containers/image's and containerd's choice). NULL: there is none. */
const struct part *manifest_choose(const struct manifest *m, const char *platform);
/* Whether a Content-Type is one of the kinds that are read here. */
bool manifest_is_type(const char *media_type);
/* Whether what it stands for names manifests, not layers. */
bool manifest_is_index_type(const char *media_type);
/* A layer that registries need not have (image-spec layer.md, "Non-Distributable Layers"; Windows' base layers). */
bool part_is_foreign(const struct part *p);
/* The parts as rows for rows_put_manifest(); the caller frees the array. */
struct child *manifest_children(const struct manifest *m);

#define _cleanup_manifest_ _cleanup_(manifest_free)

/* What `inspect` shows of an image's config (image-spec config.md). */
struct image_config {
    char platform[PLATFORM_MAX + 1];
    struct digest *diff_ids;
    size_t count;
};

bool image_config_parse(struct image_config *c, const void *data, size_t len, struct err *err);
void image_config_free(struct image_config *c);

/* For lists of many images, by skim.h: the digest of an image's config. False: it takes manifest_parse() to tell. */
bool manifest_skim_config(const void *data, size_t len, struct digest *config);
/* The platform alone; "" if it says none, or is none. */
void image_config_platform(char out[PLATFORM_MAX + 1], const void *data, size_t len);

#endif
