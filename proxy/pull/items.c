/* The items of a pull. */
#include "proxy/pull/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void pull_fail(struct pulled_image *image, const char *fmt, ...)
{
    va_list ap;

    if (image->failed)
        return; /* the first reason is kept */
    image->failed = true;
    va_start(ap, fmt);
    vsnprintf(image->error, sizeof(image->error), fmt, ap);
    va_end(ap);
}

/* False: it has been seen before. */
static bool pull_see(struct pull *p, const struct pulled_image *image, const struct digest *d)
{
    unsigned char key[sizeof(image) + sizeof(*d)];
    size_t len = digest_key_len(d);

    memcpy(key, &image, sizeof(image));
    memcpy(key + sizeof(image), digest_key(d), len);
    return key_map_add(&p->seen, key, sizeof(image) + len, 0);
}

/* An item's result belongs to the loop during an attempt, so `error` is passed by the caller, which may read it. */
void pull_say_blob(struct pull *p, const struct pull_item *it, enum pull_status status, int64_t received,
                   const char *error)
{
    const struct pull_blob b = {
        .reference = it->image->text,
        .kind = it->kind,
        .status = status,
        .digest = &it->digest,
        .platform = it->platform,
        .size = it->size,
        .received = received,
        .error = error,
    };

    if (it->digest.alg != DIGEST_NONE && it->kind != PULL_LISTING)
        p->wish->on_blob(p->wish->arg, &b);
}

struct pull_item *pull_add(struct pull *p, struct pulled_image *image, enum pull_kind kind, const struct digest *digest,
                           const char *tag, int depth)
{
    if (p->item_count == PULL_ITEMS_MAX) {
        pull_fail(image, "with all images before it there are more than %d parts: pull them in several goes",
                  (int)PULL_ITEMS_MAX);
        return NULL;
    }
    if (digest && kind != PULL_LISTING && !pull_see(p, image, digest))
        return NULL;
    struct pull_item *it = xcalloc(1, sizeof(*it));
    it->image = image;
    it->kind = kind;
    it->size = -1;
    it->depth = depth;
    if (digest)
        it->digest = *digest;
    snprintf(it->tag, sizeof(it->tag), "%s", tag ? tag : "");
    STAILQ_INSERT_TAIL(&p->waiting, it, entry);
    p->item_count++;
    image->open++;
    return it;
}

void pull_item_free(struct pull_item *it)
{
    body_unref(it->listing);
    body_unref(it->next);
    free(it->query);
    free(it->err);
    free(it->unchecked);
    free(it);
}
