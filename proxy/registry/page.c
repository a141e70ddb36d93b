#include "proxy/registry/page.h"

#include "base/assert.h"
#include "base/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 1000, PAGE_MAX = 10000 };

/* A whole number, with nothing before or after it. */
static bool read_count(const char *text, int *n)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*end != '\0')
        return false;
    *n = errno == 0 && value < PAGE_MAX ? (int)value : (int)PAGE_MAX;
    return true;
}

bool page_begin(struct page *p, struct http_request *req)
{
    char n[64];

    ON_LOOP(http_loop(req));
    *p = (struct page){.n = PAGE_DEFAULT};
    if (http_query_get(req, "last", p->last_text, sizeof(p->last_text)))
        p->last = p->last_text;
    bool has_n = http_query_get(req, "n", n, sizeof(n));
    if (!p->last && http_query_has(req, "last")) /* the first page again would be an endless loop */
        http_error(req, 400, "PAGINATION_NUMBER_INVALID", "last is the entry after which the page begins");
    else if (has_n ? *n && !read_count(n, &p->n) : http_query_has(req, "n"))
        http_error(req, 400, "PAGINATION_NUMBER_INVALID", "n is the number of entries wanted: 0 or more");
    else
        return true;
    return false;
}

bool page_add(struct page *p, const char *entry)
{
    if (p->last && strcmp(entry, p->last) <= 0)
        return true;
    if (p->count == p->n) {
        p->more = p->n > 0; /* distribution-spec: n=0 is an empty list without a Link */
        return false;
    }
    buf_addf(&p->text, "%s\"%s\"", p->count++ ? "," : "", entry);
    snprintf(p->next, sizeof(p->next), "%s", entry);
    return true;
}

void page_free(struct page *p)
{
    buf_free(&p->text);
}

void page_link(struct http_request *req, const struct route *r, const char *path, const char *query)
{
    _cleanup_buf_ struct buf ns = {0};
    char host[REF_HOST_MAX + 1];

    if (http_query_get(req, "ns", host, sizeof(host)) && host[0]) {
        buf_adds(&ns, *query ? "&ns=" : "ns=");
        url_encode(&ns, host);
    }
    http_reply_header(req, "Link", "</v2/%s/%s?%s%s>; rel=\"next\"", r->asked, path, query, ns.data ? ns.data : "");
}
