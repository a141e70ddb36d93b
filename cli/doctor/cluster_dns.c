/* The name under which the nodes are found. */
#include "cli/doctor/cluster.h"

#include "cluster/dns_lookup.h"

#include <string.h>
#include <sys/socket.h>

void doctor_look_at_cluster_dns(struct cluster_look *all)
{
    const struct config_cluster *c = all->config;
    bool is_v6 = c->advertise[0] == '[', is_srv = c->dns[0] == '_';
    struct dns_wanted wanted = {c->dns,
                                is_srv  ? AF_UNSPEC
                                : is_v6 ? AF_INET6
                                        : AF_INET,
                                atoi(strrchr(c->advertise, ':') + 1)};
    struct members_table nodes = {0};
    struct err err = {0};
    int64_t ttl_s;

    if (!dns_lookup(&wanted, &nodes, &ttl_s, &err)) {
        doctor_add_cluster(all->findings, DOCTOR_BROKEN, c->dns, "the name does not resolve", err.msg,
                           "check cluster.peers.dns and the resolver (/etc/resolv.conf); in Kubernetes, dnsPolicy: "
                           "ClusterFirstWithHostNet");
    } else {
        _cleanup_free_ char *what = xasprintf("the name leads to %zu nodes", nodes.count);
        doctor_add_cluster(all->findings, DOCTOR_OK, c->dns, what, NULL, NULL);
        if (!is_srv && !members_table_has(&nodes, c->advertise))
            doctor_add_cluster(all->findings, DOCTOR_WARNING, c->dns, "this node is not among them", c->advertise,
                               "others do not find it: add its address to the name, or correct cluster.advertise");
    }
    members_table_clear(&nodes);
}
