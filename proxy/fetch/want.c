/* Copies of what is wanted, and its key: requests of the same key are one fetch. */
#include "proxy/fetch/private.h"

#include <string.h>

static char *copy_text(const char *text)
{
    return xstrdup(text ? text : "");
}

void fetch_want_copy(struct fetch_want *to, const struct fetch_want *from)
{
    *to = *from;
    to->site = site_ref(from->site);
    to->path = copy_text(from->path);
    to->name = copy_text(from->name);
    to->tag = copy_text(from->tag);
    to->listing = copy_text(from->listing);
    to->client = from->client ? client_ref(from->client) : NULL;
}

void fetch_want_clear(struct fetch_want *want)
{
    free((char *)want->path);
    free((char *)want->name);
    free((char *)want->tag);
    free((char *)want->listing);
    client_unref(want->client);
    site_unref(want->site);
}

char *fetch_key(struct fetchers *all, const struct fetch_want *want)
{
    char text[DIGEST_TEXT_MAX];
    const char *private = want->is_private ? "private " : "";

    switch (want->kind) {
    case FETCH_BLOB:
        return xasprintf("blob %s", digest_format(&want->digest, text));
    case FETCH_BLOB_RELAY: /* for one client: a number of its own */
        return xasprintf("relay %llu %s", (unsigned long long)atomic_fetch_add(&all->relays, 1),
                         digest_format(&want->digest, text));
    case FETCH_BLOB_HEAD:
        return xasprintf("blob-head %s%s %s", private, want->name, digest_format(&want->digest, text));
    case FETCH_LISTING: /* what a registry lists may depend on the client */
        return xasprintf("list %s %s %s", want->is_private ? want->client->client_id : "", want->name, want->listing);
    case FETCH_ADMIT:
        return xasprintf("admit %s %s", want->client->client_id, want->name);
    default:
        break;
    }
    /* A tag is looked up once for GET and HEAD. */
    if (want->tag[0])
        return xasprintf("tag %s%s %s", private, want->name, want->tag);
    return xasprintf("%s %s%s %s", want->kind == FETCH_MANIFEST ? "get" : "head", private, want->name,
                     digest_format(&want->digest, text));
}

bool fetch_key_is_of(const char *key, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = strchr(key, ' '); p; p = strchr(p + 1, ' '))
        if (strncmp(p + 1, name, len) == 0 && p[1 + len] == ' ')
            return true;
    return false;
}

int fetch_key_loop(const char *key, int count)
{
    _cleanup_free_ char *all_pages = xstrndup(key, strcspn(key, "?"));

    return (int)(text_hash(all_pages) % (uint32_t)count);
}
