/* ref.h - image references, as people write them.
 *
 * The grammar is that of the distribution project's reference package (reference.go), which every engine follows:
 *
 *     [host[:port]/]path[:tag][@digest]
 *
 * The first component is a host if it contains '.' or ':', or is "localhost"; otherwise the host is docker.io, and a
 * single-component path there gets the prefix "library/". A reference without tag and digest has the tag "latest".
 */
#ifndef ENTREPOT_BASE_REF_H
#define ENTREPOT_BASE_REF_H

#include "base/digest.h"

enum {
    REF_HOST_MAX = 253 + 6, /* a DNS name and ":65535" */
    REF_PATH_MAX = 255,     /* distribution-spec, "Pulling manifests": <name> with its host fits 255 */
    REF_TAG_MAX = 128,      /* distribution-spec: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
    REF_NAME_MAX = 480,     /* host '/' path: with its table prefix it is an LMDB key (511 bytes at most) */
    REF_TEXT_MAX = REF_HOST_MAX + 1 + REF_PATH_MAX + 1 + REF_TAG_MAX + 1 + DIGEST_TEXT_MAX,
};

#define REF_DEFAULT_HOST "docker.io"
#define REF_DEFAULT_TAG  "latest"

struct ref {
    char host[REF_HOST_MAX + 1];
    char path[REF_PATH_MAX + 1];
    char tag[REF_TAG_MAX + 1]; /* empty if there is only a digest */
    struct digest digest;      /* alg DIGEST_NONE if there is none */
};

/* Parses and fills in docker.io, library/ and latest. Errors: ERR_INVALID, saying which part is wrong. */
bool ref_parse(struct ref *ref, const char *text, struct err *err);
/* "docker.io/library/nginx:1.27", "…@sha256:…"; returns `out` (REF_TEXT_MAX). */
const char *ref_format(const struct ref *ref, char *out);
/* The same of a full name and a tag, or what stands for a tag in the index: a digest. Returns `out`. */
const char *ref_join(const char *name, const char *tag, char out[REF_TEXT_MAX]);
/* "docker.io/library/nginx"; returns `out` (REF_TEXT_MAX). */
const char *ref_name(const struct ref *ref, char *out);

/* The key of this image in the index within its repository: the tag, or "sha256:…" for a reference by digest (cut to
 * REF_TAG_MAX, which a sha512 exceeds); returns `out`. */
const char *ref_tag(const struct ref *ref, char out[REF_TAG_MAX + 1]);
const char *ref_digest_tag(const struct digest *d, char out[REF_TAG_MAX + 1]);

/* The tag that lists the referrers of `d` where a registry has no referrers API (distribution-spec, "Referrers Tag
 * Schema": at most 64 characters of the digest); returns `out`. */
const char *ref_referrers_tag(const struct digest *d, char out[REF_TAG_MAX + 1]);
/* Whether a tag is such a tag, or one of cosign's (sha256-<hex>.sig): clients request it to learn whether it exists. */
bool ref_is_statement_tag(const char *tag);

/* The parts, for the routes of the registry API. Lengths in bytes; text need not be NUL-terminated. */
bool ref_is_path(const char *text, size_t len);
bool ref_is_tag(const char *text, size_t len);
/* Whether a first path component names a registry host. */
bool ref_is_host(const char *text, size_t len);
/* Whether it is well-formed: letters, digits, dots, dashes, brackets of an IPv6 address, a port. */
bool ref_host_valid(const char *text, size_t len);
/* Normalizes a host: lower case, without the port that registries have anyway, and one name for the several of Docker
 * Hub. */
void ref_canonical_host(char *host);

#endif
