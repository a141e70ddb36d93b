/* What makes two requests the same fetch. */
#include "proxy/fetch/private.h"

static char *make_relay_key(struct fetchers *all, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf("relay %llu %s", (unsigned long long)atomic_fetch_add(&all->relays, 1), digest_format(d, text));
}

void fetch_name_relay(struct fetch *f)
{
    free(f->key);
    f->key = make_relay_key(f->fetcher->all, &f->digest);
}

char *fetch_make_key(struct fetchers *all, const struct fetch_request *req)
{
    char text[DIGEST_TEXT_MAX];

    switch (req->kind) {
    case FETCH_BLOB:
        return xasprintf("blob %s", digest_format(req->digest, text));
    case FETCH_BLOB_RELAY:
        return make_relay_key(all, req->digest);
    case FETCH_BLOB_HEAD:
        return xasprintf("look %s%s %s", req->is_private ? "private " : "", req->name,
                         digest_format(req->digest, text));
    case FETCH_LISTING: /* what a registry lists may depend on who asks */
        return xasprintf("list %s %s %s", req->is_private ? req->client->client_id : "", req->name, req->listing);
    case FETCH_ACCESS:
        return xasprintf("access %s %s", req->client->client_id, req->name);
    default: /* a tag is looked up once, for who wants its manifest and who wants its digest alone */
        return xasprintf("%s%s %s %s",
                         req->tag[0]                   ? "tag"
                         : req->kind == FETCH_MANIFEST ? "get"
                                                       : "head",
                         req->is_private ? " private" : "", req->name,
                         req->tag[0] ? req->tag : digest_format(req->digest, text));
    }
}
