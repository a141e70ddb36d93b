/* dns_lookup.h - the nodes that DNS knows: addresses of a name, or SRV records. Blocks, for DNS_LOOKUP_MS and a query's
 * own time at most: never on a loop. Any other thread. */
#ifndef ENTREPOT_CLUSTER_DNS_LOOKUP_H
#define ENTREPOT_CLUSTER_DNS_LOOKUP_H

#include "cluster/members_private.h"

enum { DNS_LOOKUP_MS = 8000, DNS_TARGETS_MAX = 256 };

struct dns_wanted {
    const char *name; /* begins with "_": SRV records */
    int family;       /* AF_INET, AF_INET6: addresses; AF_UNSPEC: the targets of SRV records as they are */
    int port;         /* of what has no SRV record */
};

/* Fills the table, whose owner clears it, with "address:port"; *ttl_s: for how long that is valid. No addresses are a
 * failure, too. Errors: ERR_NOT_FOUND, ERR_UNREACHABLE, ERR_UPSTREAM. */
bool dns_lookup(const struct dns_wanted *w, struct members_table *out, int64_t *ttl_s, struct err *err);

#endif
