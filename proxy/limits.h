/* limits.h - what the process may use of the system, and how that is shared out. On the main thread, before the
 * loops start. */
#ifndef ENTREPOT_PROXY_LIMITS_H
#define ENTREPOT_PROXY_LIMITS_H

#include "config/config.h"

struct proxy;

/* Raises the limit of descriptors; no core files, no SIGPIPE. Before anything else. */
void limits_raise(void);
/* How many connections and requests to upstreams `nofile` descriptors allow, `used` of which are taken. The
 * configuration's limits are not exceeded. */
struct limits_share {
    int connections, per_client, calls, over;
};
struct limits_share limits_share_out(const struct config_limits *c, int64_t nofile, int64_t used);
/* Returns free memory to the system. Called every few seconds. */
void limits_give_back_memory(void);
/* Once all listeners, serve loops and sites are there. */
void limits_apply(struct proxy *p);
/* The bounds of listeners, before they are used. */
struct place;
void limits_set_places(struct proxy *p, const struct place *places, int count);
/* Other numbers of the configuration. Main thread. */
void limits_change(struct proxy *p, const struct config *c);
/* Before the servers are freed, and after the loops are. */
void limits_close(struct proxy *p);
void limits_free(struct proxy *p);

#endif
