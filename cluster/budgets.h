/* budgets.h - limits of registries, shared by the nodes of a cluster over etcd: passes between the ledger of this node
 * (upstream/ledger.h) and keys that all nodes write and watch.
 *
 *     <prefix>/budgets/docker.io/<identity>             {"node": "10.0.0.7:5443", "limit": 100, "remaining": 7,
 *                                                        "window": 21600}
 *     <prefix>/budgets/docker.io/<identity>-manifests   {"node": "10.0.0.7:5443", "held_ms": 45000}
 *     <prefix>/budgets/docker.io/<identity>-blobs       the same
 *
 * A key's lease is as long as the window or the hold, 10 s at least, six hours at most: what nobody repeats ends by
 * itself, whichever clocks the nodes have, and a node that joins later holds no longer than the others. A key is
 * written once a second at most, if it changes by more than a little, and only over the value that this node has seen
 * (ledger_replaces() decides between two). A hold is over when a request of the node that wrote it is answered.
 *
 * Nothing waits for etcd. While it is away the newest value of each key waits, and nodes go by their own answers.
 * Members by DNS share nothing: a tag's home alone requests it from the registry.
 *
 * On the loop of its place.
 */
#ifndef ENTREPOT_CLUSTER_BUDGETS_H
#define ENTREPOT_CLUSTER_BUDGETS_H

#include "cluster/members_private.h"

enum {
    BUDGETS_LEASE_MIN_S = 10,
    BUDGETS_WRITE_MS = 1000, /* between two writes of a key */
    BUDGETS_VALUE_MAX = 512, /* bytes */
};

struct budgets_link;

/* Begins with what is there. `prefix` ends in a slash. */
struct budgets_link *budgets_link_new(const struct members_place *p, struct etcd *e, const char *prefix);
void budgets_link_free(struct budgets_link *b); /* after etcd_end(); may be NULL */

/* ---- for tests ---- */

/* The caller frees. */
char *budgets_write_key(const char *prefix, const struct ledger_key *key);
bool budgets_read_key(const char *prefix, const char *text, size_t len, struct ledger_key *out);
/* A value as it is at `now_ms`. The caller frees. */
char *budgets_write_value(enum ledger_kind kind, const struct ledger_value *v, const char *node, int64_t now_ms);
bool budgets_read_value(enum ledger_kind kind, const char *text, size_t len, int64_t now_ms, struct ledger_value *out);

#endif
