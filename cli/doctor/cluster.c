/* The cluster: who the nodes are, whether each can be reached, and this one, the bucket, and the clocks. Everything at
 * once, and for five seconds at most:
 *
 *     etcd ──▶ each URL: the list of nodes           peers ──▶ HEAD /cluster/life at each address (cluster_peers.c)
 *     DNS ───▶ the name (cluster_dns.c)              bucket ─▶ a blob that it has not (cluster_shared.c)
 *     files ─▶ certificates, secrets (cluster_files.c)
 */
#include "cli/doctor/cluster.h"

#include "base/secret.h"

#include <event2/event.h>
#include <string.h>

enum { CLUSTER_ASK_S = 5 };

/* ---- etcd ---- */

struct cluster_etcd {
    struct cluster_look *all;
    const char *url;
    struct etcd *client;
    char *prefix, *own; /* keys: of all nodes, of this one */
    bool done;
};

static bool cluster_etcd_has(const struct etcd_answer *a, const char *key)
{
    for (int i = 0; i < a->count; i++)
        if (strcmp(a->kvs[i].key, key) == 0)
            return true;
    return false;
}

static void cluster_take_nodes(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct cluster_etcd *e = arg;
    json_t *findings = e->all->findings;
    bool refused = err && (err->code == ERR_DENIED || (err->code == ERR_INVALID && err->status >= 400));
    _cleanup_free_ char *what = xasprintf("it answers, and has %d nodes", a ? a->count : 0);

    e->done = true;
    if (refused)
        doctor_add_cluster(findings, DOCTOR_BROKEN, e->url, "it refuses this node", err->msg,
                           "check username, password_file and the user's role, or cert and key, under cluster.peers");
    else if (err)
        doctor_add_cluster(findings, DOCTOR_WARNING, e->url, "it does not answer", err->msg,
                           "check cluster.peers (URL, ca, cert, key), the firewall, and etcd itself");
    else
        doctor_add_cluster(findings, DOCTOR_OK, e->url, what, NULL, NULL);
    e->all->etcd_answered = e->all->etcd_answered || !err || refused;
    if (a && e->all->peers && !a->more && !cluster_etcd_has(a, e->own))
        doctor_add_cluster(findings, DOCTOR_WARNING, e->url, "this node is not among them",
                           "the daemon has not entered it", "entrepot peers says what etcd answers the daemon");
    doctor_cluster_end(e->all);
}

/* A client for each URL: of one for all, the first that answers would do. */
static void cluster_ask_etcd(struct cluster_look *all, const char *url)
{
    const char *const urls[] = {url, NULL};
    const struct config_cluster *c = all->config;
    struct cluster_etcd *e = xcalloc(1, sizeof(*e));
    struct err err = {0};

    *e = (struct cluster_etcd){.all = all,
                               .url = url,
                               .prefix = xasprintf("%s/nodes/", c->prefix),
                               .own = xasprintf("%s/nodes/%s", c->prefix, c->advertise)};
    e->client = etcd_new(&(struct etcd_options){.loop = all->loop,
                                                .engine = all->engine,
                                                .endpoints = urls,
                                                .trust = &c->etcd_trust,
                                                .username = c->username,
                                                .password_file = c->password_file},
                         &err);
    all->waiting++;
    if (e->client)
        etcd_range(e->client, &(struct etcd_range){.prefix = e->prefix, .limit = PEERS_MAX}, cluster_take_nodes, e);
    else
        cluster_take_nodes(e, NULL, &err);
}

/* ---- all of it ---- */

/* NULL: there is no secret, or this user cannot read it. */
static struct proofs *cluster_read_proofs(const struct config_cluster *c)
{
    struct err err = {0};
    _cleanup_secret_ char *secret = c->secret_file ? secret_read(c->secret_file, &err) : NULL;

    return secret ? proofs_new(secret) : NULL;
}

static void cluster_time_out(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct cluster_look *all = arg;

    loop_stop(all->loop);
}

static bool cluster_open(struct cluster_look *all, struct err *err)
{
    all->loop = loop_new("doctor-cluster", err);
    all->engine = all->loop ? transfer_engine_new(all->loop, err) : NULL;
    return all->engine != NULL;
}

/* Nothing of it is freed: the process ends. */
void doctor_look_at_cluster(const struct config *c, const json_t *known, json_t *findings)
{
    struct cluster_look *all = xcalloc(1, sizeof(*all));
    struct timeval most = {CLUSTER_ASK_S, 0};
    struct err err = {0};

    if (!c->cluster.advertise && !c->cluster.shared.s3)
        return;
    *all = (struct cluster_look){.config = &c->cluster, .findings = findings, .daemon_answers = known != NULL};
    all->trust = (struct trust){c->cluster.tls.client_ca, true, c->cluster.tls.cert, c->cluster.tls.key};
    all->peers = json_is_array(json_object_get(known, "peers")) ? json_object_get(known, "peers") : NULL;
    all->reached = json_object();
    doctor_look_at_cluster_files(&c->cluster, findings);
    if (!cluster_open(all, &err)) {
        doctor_add_cluster(findings, DOCTOR_UNKNOWN, NULL, "it could not be looked at", err.msg, NULL);
        return;
    }
    if (c->cluster.dns) /* first: nothing waits while it blocks */
        doctor_look_at_cluster_dns(all);
    struct event *timer = event_new(loop_base(all->loop), -1, 0, cluster_time_out, all);
    event_add(timer, &most);
    for (int i = 0; c->cluster.etcd[i]; i++)
        cluster_ask_etcd(all, c->cluster.etcd[i]);
    all->proofs = cluster_read_proofs(&c->cluster);
    doctor_ask_cluster_peers(all);
    if (c->cluster.shared.s3)
        doctor_look_at_shared(all);
    if (all->waiting > 0)
        loop_run(all->loop);
    if (c->cluster.etcd[0] && !all->etcd_answered)
        doctor_add_cluster(findings, DOCTOR_BROKEN, NULL, "etcd does not answer",
                           "the nodes that the daemon knows stay, others are not found", NULL);
    doctor_judge_cluster_peers(all);
}
