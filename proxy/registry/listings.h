/* listings.h - what tags/list, referrers and _catalog have in common: the page that is asked for, and the way to the
 * next one. On the serve loop of the request. */
#ifndef ENTREPOT_PROXY_REGISTRY_LISTINGS_H
#define ENTREPOT_PROXY_REGISTRY_LISTINGS_H

#include "base/buf.h"
#include "proxy/registry/access.h"
#include "proxy/registry/handlers.h"

/* A page that is made here, of what the index has (distribution-spec, "Listing Tags"). */
struct page {
    int n;            /* entries at most */
    const char *last; /* the page begins after this; NULL: at the beginning */
    char last_text[REF_NAME_MAX + 1];
    struct buf text; /* "a","b": page_free() */
    int count;
    char next[REF_NAME_MAX + 1]; /* the last one given */
    bool more;
};

/* Reads `n` and `last`. False: the request has been answered, with 400, for one of them is none. */
bool page_begin(struct page *p, struct http_request *req);
/* Adds the next entry, in order; false: the page is full. */
bool page_add(struct page *p, const char *entry);
void page_free(struct page *p);

/* Fetches a page from the registry, under the path and the query of the request; `ns` is for us. */
void listing_fetch(struct visitor *v, const char *path, void (*done)(void *arg, struct fetch_result *res));
/* What came of it: the request that waits for an answer; NULL: its client is gone, and the visitor with it. */
struct http_request *listing_fetched(struct visitor *v);
/* "</v2/<name as the client wrote it>/<path>?<query>>; rel="next"", with the client's `ns`. */
void listing_link(struct http_request *req, const struct route *r, const char *path, const char *query);

#endif
