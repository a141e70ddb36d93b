/* cluster.h - what doctor looks at of a cluster: cluster_look.c ◀ cluster_dns.c, cluster_files.c, cluster_peers.c,
 * cluster_shared.c ◀ cluster.c. Internal to this folder; on one loop. */
#ifndef ENTREPOT_CLI_DOCTOR_CLUSTER_H
#define ENTREPOT_CLI_DOCTOR_CLUSTER_H

#include "cli/doctor/doctor.h"

#include "cluster/etcd.h"
#include "cluster/peers.h"
#include "cluster/proof.h"
#include "config/config.h"
#include "upstream/transfer.h"

struct cluster_look {
    const struct config_cluster *config;
    json_t *findings;
    bool daemon_answers;
    const json_t *peers; /* as the daemon knows them; NULL: it has no cluster, or does not answer */
    struct loop *loop;
    struct transfer_engine *engine;
    struct trust trust;             /* between peers */
    struct proofs *proofs;          /* the same; NULL: there is no secret, or it cannot be read */
    int waiting;                    /* for so many answers */
    int peers_asked, peers_reached; /* without this node */
    json_t *reached;                /* by address: whether */
    bool etcd_answered;
};

void doctor_add_cluster(json_t *findings, enum doctor_level level, const char *subject, const char *what,
                        const char *why, const char *advice);
/* One of those that are waited for has ended. */
void doctor_cluster_end(struct cluster_look *all);

void doctor_look_at_cluster_files(const struct config_cluster *c, json_t *findings);
/* Begins to ask each node, and this one; then what they make together, when all has ended. */
void doctor_ask_cluster_peers(struct cluster_look *all);
void doctor_judge_cluster_peers(const struct cluster_look *all);
/* Blocks, for a few seconds at most. */
void doctor_look_at_cluster_dns(struct cluster_look *all);
/* Begins to ask the bucket. */
void doctor_look_at_shared(struct cluster_look *all);

#endif
