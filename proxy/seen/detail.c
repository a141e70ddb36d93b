#include "proxy/seen/detail.h"

#include <string.h>

struct seen_detail *seen_detail_new(const char *name, const char *path, const char *tag, const struct digest *digest)
{
    struct seen_detail *d = xmalloc(sizeof(*d)); /* for every request: nothing is cleared that is set below */
    size_t len = strnlen(name, REF_NAME_MAX), path_len = strlen(path), tag_len = strnlen(tag, REF_TAG_MAX);

    d->asked_us = -1;
    d->failure = NULL;
    d->digest = *digest;
    d->answered.alg = DIGEST_NONE;
    d->host_len = len > path_len ? len - path_len - 1 : 0;
    memcpy(d->name, name, len);
    d->name[len] = '\0';
    memcpy(d->tag, tag, tag_len);
    d->tag[tag_len] = '\0';
    return d;
}

void seen_detail_free(struct seen_detail *d)
{
    if (d)
        free(d->failure);
    free(d);
}

void seen_detail_ask(struct seen_detail *d, int64_t since_us)
{
    if (d && d->asked_us < 0)
        d->asked_us = since_us;
}

void seen_detail_answer(struct seen_detail *d, const struct digest *digest)
{
    if (d)
        d->answered = *digest;
}

void seen_detail_fail(struct seen_detail *d, const struct err *err)
{
    if (!d)
        return;
    free(d->failure);
    d->failure = err->source[0] ? xasprintf("%s [%s]", err->msg, err->source) : xstrdup(err->msg);
}
