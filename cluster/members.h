/* members.h - who the nodes of the cluster are, as etcd or DNS says it.
 *
 * On a loop and a transfer engine of their own ("cluster"): nobody waits for them. What they find is set by
 * peers_set(); what is wrong is told by peers_note_source(), and the last nodes that were known stay.
 */
#ifndef ENTREPOT_CLUSTER_MEMBERS_H
#define ENTREPOT_CLUSTER_MEMBERS_H

#include "cluster/peers.h"
#include "config/config.h"
#include "upstream/ledger.h"

struct members;

/* Begins to look, and to say that `self` is there; by cluster.etcd or cluster.dns. Everything is borrowed. With etcd,
 * nodes share what they know of registries' limits by `ledger` (budgets.h); NULL: they do not. The caller's thread does
 * not wait for an answer. Errors: ERR_IO; files that cannot be read. */
struct members *members_start(const struct config_cluster *c, const struct member *self, struct peers *peers,
                              struct ledger *ledger, struct err *err);
/* Takes this node from the list (etcd: its lease is revoked), waiting for that for a second at most; ends the loop. */
void members_stop(struct members *m);
void members_free(struct members *m); /* may be NULL */

#endif
