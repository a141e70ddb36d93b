/* path.h - what a request at a registry's own host is about, by its path. Any thread. */
#ifndef ENTREPOT_PROXY_INTERCEPT_PATH_H
#define ENTREPOT_PROXY_INTERCEPT_PATH_H

#include "base/ref.h"

enum path_kind {
    PATH_OTHER,
    PATH_MANIFEST,  /* /v2/<name>/manifests/<tag|digest> */
    PATH_BLOB,      /* /v2/<name>/blobs/<digest> */
    PATH_UPLOAD,    /* /v2/<name>/blobs/uploads/... */
    PATH_TAGS,      /* /v2/<name>/tags/list */
    PATH_REFERRERS, /* /v2/<name>/referrers/<digest> */
};

struct path {
    enum path_kind kind;
    char name[REF_NAME_MAX + 1]; /* of PATH_OTHER "" */
    char tag[REF_TAG_MAX + 1];   /* of PATH_MANIFEST, or "" */
    struct digest digest;        /* of PATH_MANIFEST and PATH_BLOB, or DIGEST_NONE */
};

/* `path` as sent, without query. What does not follow the grammar is PATH_OTHER. */
void path_parse(struct path *out, const char *path);

#endif
