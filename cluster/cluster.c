#include "cluster/cluster.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

#include <string.h>

struct cluster {
    const struct config_cluster *config;
    struct ledger *ledger;
    struct member self;
    struct trust trust; /* its texts are the configuration's */
    struct peers *peers;
    struct proofs *proofs;
    struct takers *takers;
    atomic_uint_fast64_t received;
    struct members *members;
    struct bucket *bucket;
};

static bool read_secret(struct cluster *c, struct err *err)
{
    if (!c->config->secret_file)
        return true;
    _cleanup_secret_ char *secret = secret_read(c->config->secret_file, err);
    if (!secret)
        return err_wrap(err, "cluster.secret_file");
    if (strlen(secret) < PROOF_SECRET_MIN)
        return err_set(err, ERR_INVALID, "cluster.secret_file: %s has less than %d characters", c->config->secret_file,
                       (int)PROOF_SECRET_MIN);
    c->proofs = proofs_new(secret);
    return true;
}

static void cluster_warn(void *arg UNUSED, const char *text)
{
    log_warn("%s", text);
}

/* Nothing of it holds up a pull. */
static void cluster_check(const struct config_cluster *config)
{
    struct err err = {0};

    if (!config_verify_cluster_tls(config, &err))
        log_warn("%s", err.msg);
    config_check_cluster(config, cluster_warn, NULL);
}

struct cluster *cluster_new(const struct config_cluster *config, struct ledger *ledger, struct err *err)
{
    struct cluster *c = xcalloc(1, sizeof(*c));

    c->config = config;
    c->takers = takers_new();
    c->ledger = ledger;
    c->trust = (struct trust){
        .ca = config->tls.client_ca, .ca_only = true, .client_cert = config->tls.cert, .client_key = config->tls.key};
    snprintf(c->self.address, sizeof(c->self.address), "%s", config->advertise ? config->advertise : "");
    snprintf(c->self.zone, sizeof(c->self.zone), "%s", config->zone ? config->zone : "");
    snprintf(c->self.version, sizeof(c->self.version), "%s", ENTREPOT_VERSION);
    c->self.since_s = clock_now_s();
    c->peers = peers_new(&c->self);
    if (!read_secret(c, err)) {
        cluster_free(c);
        return NULL;
    }
    cluster_check(config);
    return c;
}

bool cluster_start(struct cluster *c, struct cred_workers *workers, const struct bucket_files *files, struct err *err)
{
    if (c->config->advertise && !(c->members = members_start(c->config, &c->self, c->peers, c->ledger, err)))
        return err_wrap(err, "cluster.peers");
    if (c->config->shared.s3 && !(c->bucket = bucket_start(&c->config->shared, workers, files, err)))
        return err_wrap(err, "cluster.shared");
    return true;
}

void cluster_stop(struct cluster *c)
{
    if (c->members)
        members_stop(c->members);
    if (c->bucket)
        bucket_stop(c->bucket);
}

void cluster_free(struct cluster *c)
{
    if (!c)
        return;
    members_free(c->members);
    bucket_free(c->bucket);
    proofs_free(c->proofs);
    takers_free(c->takers);
    peers_free(c->peers);
    free(c);
}

const struct config_cluster *cluster_config(const struct cluster *c)
{
    return c->config;
}

struct peers *cluster_peers(const struct cluster *c)
{
    return c->peers;
}

struct bucket *cluster_bucket(const struct cluster *c)
{
    return c->bucket;
}

struct proofs *cluster_proofs(const struct cluster *c)
{
    return c->proofs;
}

struct takers *cluster_takers(const struct cluster *c)
{
    return c->takers;
}

atomic_uint_fast64_t *cluster_received(struct cluster *c)
{
    return &c->received;
}

bool cluster_asks(const struct cluster *c, enum config_tier tier)
{
    return c->config->order[0] == tier || c->config->order[1] == tier;
}

bool cluster_is_encrypted(const struct cluster *c)
{
    return c->config->tls.cert != NULL;
}

const struct trust *cluster_trust(const struct cluster *c)
{
    return cluster_is_encrypted(c) ? &c->trust : NULL;
}
