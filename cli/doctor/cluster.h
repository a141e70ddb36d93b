/* cluster.h - what doctor looks at of a cluster: cluster_look.c ◀ cluster_dns.c, cluster_shared.c ◀ cluster.c. Internal
 * to this folder; on one loop. */
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
    const json_t *peers; /* as the daemon knows them; NULL: it does not, or does not run */
    struct loop *loop;
    struct transfer_engine *engine;
    struct trust trust;    /* between peers */
    struct proofs *proofs; /* the same; NULL: there is no secret, or it cannot be read */
    int waiting;           /* for so many answers */
    int peers_asked, peers_reached;
    bool etcd_answered;
};

void doctor_add_cluster(json_t *findings, enum doctor_level level, const char *subject, const char *what,
                        const char *why, const char *advice);
/* One of those that are waited for has ended. */
void doctor_cluster_end(struct cluster_look *all);

/* Blocks, for a few seconds at most. */
void doctor_look_at_cluster_dns(struct cluster_look *all);
/* Begins to ask the bucket. */
void doctor_look_at_shared(struct cluster_look *all);

#endif
