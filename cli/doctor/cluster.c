/* The cluster: who the nodes are, whether each can be reached, the bucket, and the clocks. Everything at once, and for
 * five seconds at most:
 *
 *     etcd ──▶ each URL: the list of nodes           peers ──▶ HEAD /cluster/life at each address: TLS, secret, Date
 *     DNS ───▶ the name (cluster_dns.c)              bucket ─▶ a blob that it has not (cluster_shared.c)
 *
 * Nodes are asked as the daemon asks them, with the secret as it is in the file now.
 */
#include "cli/doctor/cluster.h"

#include "base/clock.h"
#include "base/secret.h"
#include "base/tls_files.h"
#include "cluster/ask.h"

#include <event2/event.h>
#include <string.h>
#include <sys/stat.h>

enum { CLUSTER_ASK_MS = 5000, CLUSTER_PEERS_MAX = 64, CLUSTER_CLOCK_S = 30 };

/* ---- files ---- */

static void cluster_look_at_file(const char *file, const char *key, json_t *findings)
{
    struct stat st;
    bool open = file && stat(file, &st) == 0 && st.st_mode & S_IRWXO;
    _cleanup_free_ char *what = xasprintf("%s: every user of this machine can read %s", key, file ? file : "");
    _cleanup_free_ char *advice = xasprintf("chmod o= %s", file ? file : "");

    if (open)
        doctor_add_cluster(findings, DOCTOR_WARNING, NULL, what, "it is a secret", advice);
}

static void cluster_look_at_files(const struct config_cluster *c, json_t *findings)
{
    cluster_look_at_file(c->secret_file, "cluster.secret_file", findings);
    cluster_look_at_file(c->tls.key, "cluster.tls.key", findings);
    cluster_look_at_file(c->password_file, "cluster.peers.password_file", findings);
    cluster_look_at_file(c->etcd_trust.client_key, "cluster.peers.key", findings);
    cluster_look_at_file(c->shared.credentials.password_file, "cluster.shared.credentials.password_file", findings);
    if (c->tls.cert)
        doctor_look_at_certificate(c->tls.cert, TOPIC_CLUSTER, NULL, "cluster.tls.cert", findings);
    if (c->etcd_trust.client_cert)
        doctor_look_at_certificate(c->etcd_trust.client_cert, TOPIC_CLUSTER, NULL, "cluster.peers.cert", findings);
    if (!c->tls.cert && c->advertise)
        doctor_add_cluster(findings, DOCTOR_WARNING, NULL, "what passes between nodes is not encrypted",
                           "there is no cluster.tls", "private content is then fetched by each node itself");
}

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
    _cleanup_free_ char *what = xasprintf("it answers, and has %d nodes", a ? a->count : 0);

    e->done = true;
    if (err && err->code == ERR_DENIED)
        doctor_add_cluster(findings, DOCTOR_BROKEN, e->url, "it refuses this node", err->msg,
                           "check username, password_file and the user's role, or cert and key, under cluster.peers");
    else if (err)
        doctor_add_cluster(findings, DOCTOR_WARNING, e->url, "it does not answer", err->msg,
                           "check cluster.peers (URL, ca, cert, key), the firewall, and etcd itself");
    else
        doctor_add_cluster(findings, DOCTOR_OK, e->url, what, NULL, NULL);
    e->all->etcd_answered = e->all->etcd_answered || !err;
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

/* ---- peers ---- */

struct cluster_peer {
    struct cluster_look *all;
    const char *address;
};

static bool cluster_take_head(void *arg UNUSED, const struct transfer_response *r UNUSED)
{
    return true;
}

static bool cluster_take_data(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED)
{
    return true;
}

static void cluster_compare_clock(const struct cluster_peer *p, int64_t date)
{
    int64_t ahead_s = date - clock_now_s();
    _cleanup_free_ char *what = xasprintf("its clock is %lld s %s", (long long)(ahead_s < 0 ? -ahead_s : ahead_s),
                                          ahead_s < 0 ? "behind" : "ahead");

    if (date > 0 && (ahead_s > CLUSTER_CLOCK_S || ahead_s < -CLUSTER_CLOCK_S))
        doctor_add_cluster(p->all->findings, DOCTOR_WARNING, p->address, what,
                           "nodes whose clocks differ by more than a minute refuse each other",
                           "synchronise both: timedatectl set-ntp true, or chrony");
}

static void cluster_take_peer(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct cluster_peer *p = arg;
    struct cluster_look *all = p->all;
    bool encrypted = all->config->tls.cert != NULL;

    if (err)
        doctor_add_cluster(all->findings, DOCTOR_WARNING, p->address, "this node cannot be reached", err->msg,
                           encrypted ? "check that entrepot runs there, the firewall, and on both nodes cluster.tls"
                                     : "check that entrepot runs there, and the firewall");
    else if (!r->is_entrepot && !r->peer[0])
        doctor_add_cluster(all->findings, DOCTOR_WARNING, p->address, "what answers there is no node of a cluster",
                           NULL, "compare cluster.advertise and cluster.listen there");
    else if (strstr(r->peer, "refused=proof"))
        doctor_add_cluster(all->findings, DOCTOR_WARNING, p->address, "it refuses this node",
                           "it has another cluster.secret_file, or only one of the two has any",
                           "copy the same file to both nodes, and restart where it was replaced");
    else if (strstr(r->peer, "refused=version"))
        doctor_add_cluster(all->findings, DOCTOR_WARNING, p->address, "it refuses this node",
                           "it does not understand this version's requests", "upgrade the older one");
    else
        all->peers_reached += !strstr(r->peer, "refused=");
    if (!err)
        cluster_compare_clock(p, r->date);
    doctor_cluster_end(all);
}

/* NULL: there is no secret, or this user cannot read it. */
static struct proofs *cluster_read_proofs(const struct config_cluster *c)
{
    struct err err = {0};
    _cleanup_secret_ char *secret = c->secret_file ? secret_read(c->secret_file, &err) : NULL;

    return secret ? proofs_new(secret) : NULL;
}

static void cluster_ask_peer(struct cluster_look *all, const char *address)
{
    bool encrypted = all->config->tls.cert != NULL;
    _cleanup_free_ char *url = xasprintf("http%s://%s" ASK_LIFE_PATH, encrypted ? "s" : "", address),
                        *peer = xasprintf("v=%d; hops=%d", ASK_VERSION, (int)ASK_HOPS_MAX),
                        *peer_line = xasprintf(ASK_HEADER ": %s", peer);
    _cleanup_free_ char *proof_line = NULL;
    static const char *const anybody[] = {"*", NULL};
    struct cluster_peer *p = xcalloc(1, sizeof(*p));
    char proof[PROOF_MAX];

    *p = (struct cluster_peer){all, address};
    if (all->proofs) {
        proof_make(all->proofs, &(struct proof_of){"HEAD", ASK_LIFE_PATH, address, peer, "", ""}, proof);
        proof_line = xasprintf(PROOF_HEADER ": %s", proof);
    }
    const char *const headers[] = {peer_line, proof_line, NULL};
    all->waiting++;
    all->peers_asked++;
    transfer_start(all->engine, &(struct transfer_request){.method = "HEAD",
                                                           .url = url,
                                                           .headers = headers,
                                                           .range_first = -1,
                                                           .trust = encrypted ? &all->trust : NULL,
                                                           .shown_to = anybody,
                                                           .internal = true,
                                                           .connect_timeout_ms = CLUSTER_ASK_MS / 2,
                                                           .total_timeout_ms = CLUSTER_ASK_MS - 500,
                                                           .on_head = cluster_take_head,
                                                           .on_data = cluster_take_data,
                                                           .on_done = cluster_take_peer,
                                                           .arg = p});
}

static void cluster_ask_peers(struct cluster_look *all, const json_t *peers)
{
    const json_t *p;
    size_t i;

    json_array_foreach(peers, i, p)
        if (!json_is_true(json_object_get(p, "self")) && all->peers_asked < CLUSTER_PEERS_MAX)
            cluster_ask_peer(all, cli_text(p, "address"));
}

static void cluster_judge_peers(const struct cluster_look *all)
{
    _cleanup_free_ char *what = xasprintf("%d of %d other nodes can be reached", all->peers_reached, all->peers_asked);

    if (all->config->advertise && !all->peers)
        doctor_add_cluster(all->findings, DOCTOR_UNKNOWN, NULL, "the other nodes could not be looked at",
                           "the daemon has no list of them", NULL);
    else if (all->peers_asked > 0)
        doctor_add_cluster(all->findings, all->peers_reached == all->peers_asked ? DOCTOR_OK : DOCTOR_WARNING, NULL,
                           what, NULL, NULL);
    else if (all->peers)
        doctor_add_cluster(all->findings, DOCTOR_WARNING, NULL, "this node is the only one",
                           "no other has entered itself yet, or they are not found", "entrepot peers has the list");
}

/* What the daemon has learnt. */
static void cluster_look_at_resting(const json_t *peers, json_t *findings)
{
    const json_t *p;
    size_t i;

    json_array_foreach(peers, i, p)
        if (json_integer_value(json_object_get(p, "resting_seconds")) > 0)
            doctor_add_cluster(findings, DOCTOR_WARNING, cli_text(p, "address"),
                               "the daemon passes this node over for a while", cli_text(p, "why"), NULL);
}

/* ---- all of it ---- */

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
    struct timeval most = {CLUSTER_ASK_MS / 1000, 0};
    struct err err = {0};

    if (!c->cluster.advertise && !c->cluster.shared.s3)
        return;
    *all = (struct cluster_look){.config = &c->cluster, .findings = findings};
    all->trust = (struct trust){c->cluster.tls.client_ca, true, c->cluster.tls.cert, c->cluster.tls.key};
    all->peers = json_is_array(json_object_get(known, "peers")) ? json_object_get(known, "peers") : NULL;
    cluster_look_at_files(&c->cluster, findings);
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
    cluster_ask_peers(all, all->peers);
    if (c->cluster.shared.s3)
        doctor_look_at_shared(all);
    if (all->waiting > 0)
        loop_run(all->loop);
    if (c->cluster.etcd[0] && !all->etcd_answered)
        doctor_add_cluster(findings, DOCTOR_BROKEN, NULL, "etcd does not answer",
                           "the nodes that the daemon knows stay, others are not found", NULL);
    cluster_judge_peers(all);
    cluster_look_at_resting(all->peers, findings);
}
