/* s3.h - requests to an S3-compatible store: where an object is, and the signature of a request (AWS Signature Version
 * 4, "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference). Path style, which
 * every store has: https://host/bucket/key. Plain functions; any thread.
 */
#ifndef ENTREPOT_CLUSTER_S3_H
#define ENTREPOT_CLUSTER_S3_H

#include "base/buf.h"
#include "base/digest.h"

enum {
    S3_TIME_MAX = 17, /* "20130524T000000Z" */
    S3_LINES_MAX = 16,
    S3_CODE_MAX = 63,
    S3_REGION_MAX = 63,
};

/* Of a body whose digest is not signed, and of none. */
#define S3_UNSIGNED "UNSIGNED-PAYLOAD"
#define S3_EMPTY    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A bucket. */
struct s3_place {
    char *origin;    /* "https://s3.example.com:9000" */
    char *authority; /* "s3.example.com:9000": the Host header */
    char *host;      /* "s3.example.com" */
    char *base;      /* what object paths begin with, encoded: "/images/entrepot/" */
    char *region;
};

/* `url` may have a path; `prefix` and `region` may be NULL. Errors: ERR_INVALID. */
bool s3_place_set(struct s3_place *p, const char *url, const char *bucket, const char *prefix, const char *region,
                  struct err *err);
void s3_place_clear(struct s3_place *p);
/* The path of a blob: "/images/entrepot/blobs/sha256/ab/abcd...". The caller frees. */
char *s3_blob_path(const struct s3_place *p, const struct digest *d);

/* A request that is to be signed. Everything is borrowed. */
struct s3_signing {
    const char *method;
    const char *path;  /* encoded */
    const char *query; /* encoded, in the order of its names, each with a "="; "": none */
    const char *const
        *lines;          /* "name: value", names in lower case and in their order; NULL-terminated. All are signed. */
    const char *payload; /* SHA-256 of the body in hex, or S3_UNSIGNED */
    const char *region, *service;
    const char *id, *secret;
    const char *time; /* by s3_time() */
};

/* The value of Authorization; the caller frees. */
char *s3_authorization(const struct s3_signing *s);
/* ISO 8601, as the signature has it. */
const char *s3_time(int64_t now_s, char out[S3_TIME_MAX]);
/* The text of the first element of this name in a document of the store, without its escapes, and at most `cap` - 1
 * printable characters of ASCII; false: there is none, or it is something else. */
bool s3_xml_text(const char *doc, const char *element, char *out, size_t cap);

#endif
