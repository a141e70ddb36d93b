/* supply.h - one exchange that brings bytes, of a registry, another node or the bucket. All have the same callbacks
 * (upstream/transfer.h). On the fetch loop. */
#ifndef ENTREPOT_PROXY_FETCH_SUPPLY_H
#define ENTREPOT_PROXY_FETCH_SUPPLY_H

#include "cluster/ask.h"
#include "upstream/registry.h"

struct supply {
    struct upstream_call *call;
    struct peer_ask *ask;
    struct bucket_get *get; /* at most one of the three; none: it is over */
};

bool supply_is_on(const struct supply *s);
/* Ends it without callbacks. */
void supply_cancel(struct supply *s);
void supply_pause(const struct supply *s, bool pause);

#endif
