/* sites_private.h - between sites.c and site_link.c: what all sites share. */
#ifndef ENTREPOT_PROXY_FETCH_SITES_PRIVATE_H
#define ENTREPOT_PROXY_FETCH_SITES_PRIVATE_H

#include "proxy/fetch/sites.h"

#include <pthread.h>
#include <stdatomic.h>

/* An upstream, and the sites that share it: one of each configuration under which it is the same. */
struct site_link {
    struct sites *sites;
    struct upstream *upstream;
    int users;
    bool seen; /* by sites_look() */
    char host[REF_HOST_MAX + 1];
};

struct sites {
    struct cred_workers *workers;
    struct cache *cache;
    struct ledger *ledger;      /* NULL: none */
    struct config_upstream any; /* for upstreams_any, and the local site */
    struct upstream_slots slots;
    void (*on_leave)(void *arg, const struct site *s);
    void *leave_arg;
    atomic_uint_fast64_t generation; /* written under lock */
    /* shared, under lock */
    pthread_mutex_t lock;
    const struct config *config;
    struct site *local;
    int fixed; /* so many of `list` are configured by name */
    uint64_t uses;
    struct site *list[SITES_MAX];       /* behind `fixed`: NULL, or lent */
    struct site *old;                   /* of earlier configurations */
    char *groups[CONFIG_UPSTREAMS_MAX]; /* names; what is there stays */
};

/* ---- site_link.c ---- */

/* With the lock held. */
struct site_link *site_link_new(struct sites *all, const char *host, const struct config_upstream *u);

#endif
