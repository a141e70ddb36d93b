/* The files of a cluster's node: secrets that others can read, and certificates. */
#include "cli/doctor/cluster.h"

#include <sys/stat.h>

static void cluster_look_at_file(const char *file, const char *key, json_t *findings)
{
    struct stat st;
    bool open = file && stat(file, &st) == 0 && st.st_mode & S_IRWXO;
    _cleanup_free_ char *what = xasprintf("%s: every user of this machine can read %s", key, file ? file : "");
    _cleanup_free_ char *advice = xasprintf("chmod o= %s", file ? file : "");

    if (open)
        doctor_add_cluster(findings, DOCTOR_WARNING, NULL, what, "it is a secret", advice);
}

static void cluster_take_warning(void *findings, const char *text)
{
    doctor_add_cluster(findings, DOCTOR_WARNING, NULL, text, NULL, NULL);
}

static void cluster_verify(const struct config_cluster *c, json_t *findings)
{
    struct err err = {0};

    config_check_cluster(c, cluster_take_warning, findings);
    if (!config_verify_cluster_tls(c, &err))
        doctor_add_cluster(findings, DOCTOR_BROKEN, NULL, "other nodes do not accept this one's certificate", err.msg,
                           NULL);
    else if (c->tls.cert && c->advertise)
        doctor_add_cluster(findings, DOCTOR_OK, NULL, "cluster.tls.cert is of cluster.tls.ca, and for this address",
                           NULL, NULL);
}

void doctor_look_at_cluster_files(const struct config_cluster *c, json_t *findings)
{
    cluster_look_at_file(c->secret_file, "cluster.secret_file", findings);
    cluster_look_at_file(c->tls.key, "cluster.tls.key", findings);
    cluster_look_at_file(c->password_file, "cluster.peers.password_file", findings);
    cluster_look_at_file(c->etcd_trust.client_key, "cluster.peers.key", findings);
    cluster_look_at_file(c->shared.credentials.password_file, "cluster.shared.credentials.password_file", findings);
    if (c->tls.cert)
        doctor_look_at_certificate(c->tls.cert, TOPIC_CLUSTER, NULL, "cluster.tls.cert", findings);
    cluster_verify(c, findings);
    if (c->etcd_trust.client_cert)
        doctor_look_at_certificate(c->etcd_trust.client_cert, TOPIC_CLUSTER, NULL, "cluster.peers.cert", findings);
    if (!c->tls.cert && c->advertise)
        doctor_add_cluster(findings, DOCTOR_WARNING, NULL, "what passes between nodes is not encrypted",
                           "there is no cluster.tls", "private content is then fetched by each node itself");
}
