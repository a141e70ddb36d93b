/* cluster.h - what a node has of the cluster: the peers and how they are spoken to, and the bucket. Made by the daemon
 * once, before the loops start; NULL everywhere: this node is alone. Any thread. */
#ifndef ENTREPOT_CLUSTER_CLUSTER_H
#define ENTREPOT_CLUSTER_CLUSTER_H

#include "cluster/bucket.h"
#include "cluster/members.h"
#include "cluster/peers.h"
#include "cluster/proof.h"
#include "cluster/takers.h"

struct cluster;

/* Reads the secret; nothing is asked yet. `config` outlives it, and `ledger`, by which limits of registries are shared
 * over etcd (NULL: they are not). Errors: ERR_IO, ERR_INVALID. */
struct cluster *cluster_new(const struct config_cluster *config, struct ledger *ledger, struct err *err);
/* The members and the bucket begin. Errors: ERR_IO. */
bool cluster_start(struct cluster *c, struct cred_workers *workers, const struct bucket_files *files, struct err *err);
/* This node leaves; what is written behind ends. */
void cluster_stop(struct cluster *c);
void cluster_free(struct cluster *c); /* may be NULL */

const struct config_cluster *cluster_config(const struct cluster *c);
struct peers *cluster_peers(const struct cluster *c);   /* with a bucket alone, this node alone */
struct bucket *cluster_bucket(const struct cluster *c); /* NULL: there is none */
struct proofs *cluster_proofs(const struct cluster *c); /* NULL: TLS alone vouches for peers */
struct takers *cluster_takers(const struct cluster *c);
/* Bytes of blobs that have come from anybody: other nodes, the bucket, registries. */
atomic_uint_fast64_t *cluster_received(struct cluster *c);
/* Whether the configuration has this among what is asked before the registry. */
bool cluster_asks(const struct cluster *c, enum config_tier tier);
/* Whether what passes between peers is encrypted: clients' logins go nowhere else. */
bool cluster_is_encrypted(const struct cluster *c);
const struct trust *cluster_trust(const struct cluster *c);

#endif
