/* Each node, asked as the daemon asks it: TLS, the secret as it is in the file now, its clock. This node too, at the
 * address that others are told. */
#include "cli/doctor/cluster.h"

#include "base/clock.h"
#include "cluster/ask.h"

#include <string.h>

enum { CLUSTER_ASK_MS = 5000, CLUSTER_PEERS_MAX = 64, CLUSTER_CLOCK_S = 30 };

struct cluster_peer {
    struct cluster_look *all;
    const char *address;
    bool is_self;
};

/* What is wrong with a node: all NULL, nothing. */
struct cluster_verdict {
    const char *what, *why, *advice;
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

/* ---- another node ---- */

static struct cluster_verdict cluster_judge_failure(const struct err *err, bool encrypted)
{
    if (strstr(err->msg, "it does not speak TLS there"))
        return (struct cluster_verdict){"it does not speak TLS", "this node has cluster.tls, and that one has none",
                                        "set cluster.tls on all nodes, or on none"};
    return (struct cluster_verdict){"this node cannot be reached", err->msg,
                                    encrypted
                                        ? "check that entrepot runs there, the firewall, and on both nodes cluster.tls"
                                        : "check that entrepot runs there, and the firewall"};
}

static struct cluster_verdict cluster_judge_answer(const struct transfer_response *r, bool encrypted)
{
    if (!r->peer[0] && r->is_entrepot && !encrypted)
        return (struct cluster_verdict){
            "an entrepot answers there, but not as a node",
            "it has cluster.tls, and this node has none; or this is its address for engines",
            "set cluster.tls on all nodes, or on none; compare cluster.advertise there"};
    if (!r->peer[0])
        return (struct cluster_verdict){"what answers there is no node of a cluster", NULL,
                                        "compare cluster.advertise and cluster.listen there"};
    if (strstr(r->peer, "refused=proof"))
        return (struct cluster_verdict){"it refuses this node",
                                        "it has another cluster.secret_file, or only one of the two has any",
                                        "copy the same file to both nodes, and restart where it was replaced"};
    if (strstr(r->peer, "refused=version"))
        return (struct cluster_verdict){"it refuses this node", "it does not understand this version's requests",
                                        "upgrade the older one"};
    return (struct cluster_verdict){NULL, NULL, NULL};
}

static void cluster_judge_peer(const struct cluster_peer *p, const struct transfer_response *r, const struct err *err)
{
    struct cluster_look *all = p->all;
    bool encrypted = all->config->tls.cert != NULL;
    const struct cluster_verdict v = err ? cluster_judge_failure(err, encrypted) : cluster_judge_answer(r, encrypted);
    bool reached = !v.what && !strstr(r->peer, "refused=");

    if (v.what)
        doctor_add_cluster(all->findings, DOCTOR_WARNING, p->address, v.what, v.why, v.advice);
    json_object_set_new(all->reached, p->address, json_boolean(reached));
    all->peers_reached += reached;
}

/* ---- this one ---- */

/* Who says that he is there: nodes that are older do not. */
static bool cluster_is_another(const char *peer, const char *address, char other[PEER_NAME_MAX + 1])
{
    const char *who = strstr(peer, "self=");

    snprintf(other, PEER_NAME_MAX + 1, "%.*s", who ? (int)strcspn(who + 5, "; ") : 0, who ? who + 5 : "");
    return who && strcmp(other, address) != 0;
}

static void cluster_judge_self(const struct cluster_peer *p, const struct transfer_response *r, const struct err *err)
{
    static const char advice[] = "set it to an address of this node at which others reach it, and cluster.listen, if "
                                 "that is another one; restart it if that was changed";
    bool refused = !err && strstr(r->peer, "refused=proof");
    char other[PEER_NAME_MAX + 1];
    const char *what = err           ? "this node is not reached at its cluster.advertise"
                       : !r->peer[0] ? "what answers at this node's cluster.advertise is no node"
                       : refused || cluster_is_another(r->peer, p->address, other)
                           ? "another node answers at this node's cluster.advertise"
                           : NULL;
    const char *why = err ? err->msg
                      : refused
                          ? "it does not take this node's proof; or the secret's file was replaced after the start"
                      : what && r->peer[0] ? other
                                           : NULL;

    doctor_add_cluster(p->all->findings, what ? DOCTOR_WARNING : DOCTOR_OK, p->address,
                       what ? what : "this node answers at its cluster.advertise", why, what ? advice : NULL);
}

/* ---- asking ---- */

static void cluster_take_peer(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct cluster_peer *p = arg;

    if (p->is_self)
        cluster_judge_self(p, r, err);
    else
        cluster_judge_peer(p, r, err);
    if (!err && !p->is_self)
        cluster_compare_clock(p, r->date);
    doctor_cluster_end(p->all);
}

static void cluster_ask_peer(struct cluster_look *all, const char *address, bool is_self)
{
    bool encrypted = all->config->tls.cert != NULL;
    _cleanup_free_ char *url = xasprintf("http%s://%s" ASK_LIFE_PATH, encrypted ? "s" : "", address),
                        *peer = xasprintf("v=%d; hops=%d", ASK_VERSION, (int)ASK_HOPS_MAX),
                        *peer_line = xasprintf(ASK_HEADER ": %s", peer);
    _cleanup_free_ char *proof_line = NULL;
    static const char *const anybody[] = {"*", NULL};
    struct cluster_peer *p = xcalloc(1, sizeof(*p));
    char proof[PROOF_MAX];

    *p = (struct cluster_peer){all, address, is_self};
    if (all->proofs) {
        proof_make(all->proofs, &(struct proof_of){"HEAD", ASK_LIFE_PATH, address, peer, "", ""}, proof);
        proof_line = xasprintf(PROOF_HEADER ": %s", proof);
    }
    const char *const headers[] = {peer_line, proof_line, NULL};
    all->waiting++;
    all->peers_asked += !is_self;
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

void doctor_ask_cluster_peers(struct cluster_look *all)
{
    const json_t *p;
    size_t i;

    json_array_foreach(all->peers, i, p) {
        bool is_self = json_is_true(json_object_get(p, "self"));
        if (is_self)
            cluster_ask_peer(all, all->config->advertise, true);
        else if (all->peers_asked < CLUSTER_PEERS_MAX)
            cluster_ask_peer(all, cli_text(p, "address"), false);
    }
}

/* ---- all of them ---- */

/* What the daemon has learnt of those of which nothing is told yet. */
static void cluster_look_at_failing(const struct cluster_look *all)
{
    const json_t *p;
    size_t i;

    json_array_foreach(all->peers, i, p) {
        const json_t *reached = json_object_get(all->reached, cli_text(p, "address"));
        if (!json_is_true(json_object_get(p, "failing")) || json_is_false(reached))
            continue;
        _cleanup_free_ char *why =
            xasprintf("%lld s ago: %s", (long long)cli_bytes(p, "failed_ago_seconds"), cli_text(p, "why"));
        doctor_add_cluster(all->findings, DOCTOR_WARNING, cli_text(p, "address"),
                           "the daemon's last request to this node failed", why, NULL);
    }
}

static void cluster_look_at_loopback(const struct cluster_look *all)
{
    const json_t *p;
    size_t i;

    json_array_foreach(config_is_loopback(all->config->advertise) ? all->peers : NULL, i, p)
        if (!config_is_loopback(cli_text(p, "address"))) {
            doctor_add_cluster(all->findings, DOCTOR_WARNING, all->config->advertise,
                               "others cannot reach this node: its cluster.advertise is of this machine alone",
                               cli_text(p, "address"), "set it to an address of this node at which others reach it");
            return;
        }
}

void doctor_judge_cluster_peers(const struct cluster_look *all)
{
    _cleanup_free_ char *what = xasprintf("%d of %d other nodes can be reached", all->peers_reached, all->peers_asked);

    if (!all->config->advertise)
        return;
    cluster_look_at_loopback(all);
    if (!all->daemon_answers)
        doctor_add_cluster(all->findings, DOCTOR_UNKNOWN, NULL, "the other nodes could not be looked at",
                           "the daemon, which has the list of them, does not answer", NULL);
    else if (!all->peers)
        doctor_add_cluster(all->findings, DOCTOR_WARNING, NULL, "the daemon runs without a cluster",
                           "it was started with another configuration", "restart it");
    else if (all->peers_asked > 0)
        doctor_add_cluster(all->findings, all->peers_reached == all->peers_asked ? DOCTOR_OK : DOCTOR_WARNING, NULL,
                           what, NULL, NULL);
    else
        doctor_add_cluster(all->findings, DOCTOR_WARNING, NULL, "this node is the only one",
                           "no other has entered itself yet, or they are not found", "entrepot peers has the list");
    cluster_look_at_failing(all);
}
