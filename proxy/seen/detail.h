/* detail.h - what is known of a request to a registry until it is complete: of which repository, how long it has waited
 * for its upstream, and why it failed. In the request's note; on its loop. */
#ifndef ENTREPOT_PROXY_SEEN_DETAIL_H
#define ENTREPOT_PROXY_SEEN_DETAIL_H

#include "base/err.h"
#include "base/ref.h"

#include <stdint.h>

struct seen_detail {
    int64_t asked_us;            /* since its beginning, when it began to wait for upstream; -1: it did not */
    char *failure;               /* in words for those who run the registry; NULL: it did not fail */
    struct digest digest;        /* that it asks for; DIGEST_NONE: it asks by tag, or for a list */
    struct digest answered;      /* what it was answered with, if that was noted; DIGEST_NONE: it was not */
    size_t host_len;             /* of the registry's in `name` */
    char name[REF_NAME_MAX + 1]; /* "docker.io/library/nginx" */
    char tag[REF_TAG_MAX + 1];   /* or "" */
};

/* Texts are copied. The caller frees it with seen_detail_free(). */
struct seen_detail *seen_detail_new(const char *name, const char *path, const char *tag, const struct digest *digest);
void seen_detail_free(struct seen_detail *d);
/* It has waited since then; the first time counts. `d` may be NULL, here and below. */
void seen_detail_ask(struct seen_detail *d, int64_t since_us);
/* Of the manifest in its answer. */
void seen_detail_answer(struct seen_detail *d, const struct digest *digest);
/* Why the request fails; the last time counts. */
void seen_detail_fail(struct seen_detail *d, const struct err *err);

#endif
