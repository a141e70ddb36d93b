/* page.h - the page of a list that a request asks for by `n` and `last` (distribution-spec, "Listing Tags"), and the
 * way to the next one.
 *
 *     struct page page;
 *     if (!page_begin(&page, req)) return;      answered: with 400
 *     page_add(&page, entry) ...                in order, until it is full
 *     ... page.text, page.more, page.next ...
 *     page_free(&page);
 *
 * On the loop of the request.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_PAGE_H
#define ENTREPOT_PROXY_REGISTRY_PAGE_H

#include "base/buf.h"
#include "proxy/registry/route.h"

struct page {
    int n;            /* entries at most */
    const char *last; /* the page begins after this; NULL: at the beginning */
    char last_text[REF_NAME_MAX + 1];
    struct buf text; /* "a","b" */
    int count;
    char next[REF_NAME_MAX + 1]; /* the last entry of this page */
    bool more;                   /* there is another page */
};

/* Reads `n` and `last`. False: one of them is not valid, and the request has been answered with 400. */
bool page_begin(struct page *p, struct http_request *req);
/* Adds the next entry, in order; false: the page is full. */
bool page_add(struct page *p, const char *entry);
void page_free(struct page *p);
/* Link: "</v2/<name as the client wrote it>/<path>?<query>>; rel="next"", with the client's `ns`. */
void page_link(struct http_request *req, const struct route *r, const char *path, const char *query);

#endif
