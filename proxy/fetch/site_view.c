#include "proxy/fetch/site_view.h"

#include <string.h>

void site_view_clear(struct site_view *v)
{
    for (int i = 0; i < SITE_VIEW_MAX; i++) {
        site_unref(v->entries[i].site);
        v->entries[i].site = NULL;
        v->entries[i].host[0] = '\0';
    }
}

static const struct site_view_entry *view_look(struct site_view *v, const char *host)
{
    uint64_t now = sites_generation(v->sites);

    if (v->generation != now)
        site_view_clear(v);
    v->generation = now;
    for (int i = 0; i < SITE_VIEW_MAX; i++)
        if (strcmp(v->entries[i].host, host) == 0 && *host)
            return &v->entries[i];
    return NULL;
}

/* What was found under a configuration that came meanwhile is looked for again: the generation was read before. */
static void view_keep(struct site_view *v, const char *host, const struct site *site)
{
    size_t len = strlen(host);

    if (len == 0 || len > REF_HOST_MAX || (site && site->lent))
        return;
    struct site_view_entry *e = &v->entries[v->next++ % SITE_VIEW_MAX];
    site_unref(e->site);
    memcpy(e->host, host, len + 1);
    e->site = site ? site_ref(site) : NULL;
}

void site_view_name_alias(struct site_view *v, char *host)
{
    const struct site_view_entry *e = view_look(v, host);

    if (!e || !e->site) /* else it is an upstream itself */
        sites_name_alias(v->sites, host);
}

const struct site *site_view_find(struct site_view *v, const char *host)
{
    const struct site_view_entry *e = view_look(v, host);

    if (e && e->site)
        return site_ref(e->site);
    const struct site *site = sites_find(v->sites, host);
    if (site && !e)
        view_keep(v, host, site);
    return site;
}

const struct site *site_view_find_configured(struct site_view *v, const char *host)
{
    const struct site_view_entry *e = view_look(v, host);
    bool is = true;

    if (e)
        return e->site ? site_ref(e->site) : NULL;
    const struct site *site = sites_find_configured(v->sites, host, &is);
    if (site || !is)
        view_keep(v, host, site);
    return site;
}
