/* site_view.h - what one serve loop knows of the sites: hosts that the configuration names are found without the lock
 * that all loops share (sites.h).
 *
 * It holds the sites that it has found, and those of another configuration until it is asked again, or cleared. Sites
 * that are lent are not kept: it would take their places. On its loop.
 */
#ifndef ENTREPOT_PROXY_FETCH_SITE_VIEW_H
#define ENTREPOT_PROXY_FETCH_SITE_VIEW_H

#include "proxy/fetch/sites.h"

enum { SITE_VIEW_MAX = 8 };

/* Begins with `sites` alone; nothing of it has to be freed once the sites are. */
struct site_view {
    struct sites *sites; /* borrowed */
    uint64_t generation; /* of the sites, when the entries were made */
    unsigned next;       /* the entry that is replaced next */
    struct site_view_entry {
        char host[REF_HOST_MAX + 1]; /* "": it is empty */
        const struct site *site;     /* held; NULL: no upstream of the configuration is for this host */
    } entries[SITE_VIEW_MAX];
};

/* As sites_find() and sites_find_configured(): the caller releases it with site_unref(). */
const struct site *site_view_find(struct site_view *v, const char *host);
const struct site *site_view_find_configured(struct site_view *v, const char *host);
/* As sites_name_alias(). */
void site_view_name_alias(struct site_view *v, char *host);
/* Another configuration is there. */
void site_view_clear(struct site_view *v);

#endif
