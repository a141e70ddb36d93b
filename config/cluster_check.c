/* What of `cluster` keeps nodes from each other, as far as this node's files tell. */
#include "config/config.h"

#include "base/cidr.h"
#include "base/tls_files.h"
#include "base/url.h"

#include <string.h>
#include <strings.h>

/* Of "10.0.0.7:5443" or "[fd00::7]:5443". The caller frees. */
static char *check_host(const char *address)
{
    bool bracketed = address[0] == '[';
    const char *end = bracketed ? strchr(address, ']') : strrchr(address, ':');

    return end ? xstrndup(address + bracketed, (size_t)(end - address) - bracketed) : xstrdup(address);
}

bool config_is_loopback(const char *address)
{
    static const char *const nets[] = {"127.0.0.0/8", "::1", "::ffff:127.0.0.0/104"};
    _cleanup_free_ char *host = check_host(address);
    const struct ip ip = ip_parse(host);
    struct cidr net;

    for (size_t i = 0; i < ARRAY_LEN(nets); i++)
        if (cidr_parse(nets[i], &net) && cidr_has(&net, &ip))
            return true;
    return strcasecmp(host, "localhost") == 0;
}

bool config_verify_cluster_tls(const struct config_cluster *c, struct err *err)
{
    const struct tls_files files = {c->tls.cert, c->tls.key, c->tls.client_ca};

    if (!files.cert || !c->advertise)
        return true;
    _cleanup_free_ char *ip = check_host(c->advertise);
    return tls_files_verify(&files, ip, err) || err_wrap(err, "cluster.tls");
}

/* An etcd that is at another machine; NULL: there is none. */
static const char *check_etcd_elsewhere(const struct config_cluster *c)
{
    char authority[256];

    for (int i = 0; c->etcd[i]; i++)
        if (url_authority(c->etcd[i], authority, sizeof(authority)) && !config_is_loopback(authority))
            return c->etcd[i];
    return NULL;
}

static char *check_order(const struct config_cluster *c, enum config_tier tier)
{
    bool has_peers = c->etcd[0] || c->dns, has_shared = c->shared.s3 != NULL;
    bool none = c->order[0] == TIER_NONE && (has_peers || has_shared);

    return xasprintf("cluster.order names %s, but there is no cluster.%s%s", tier == TIER_PEERS ? "peers" : "shared",
                     tier == TIER_PEERS ? "peers" : "shared",
                     !none       ? ""
                     : has_peers ? "; other nodes are asked for nothing either, since order leaves out peers"
                                 : "; the bucket is not read either, since order leaves out shared");
}

void config_check_cluster(const struct config_cluster *c, void (*warn)(void *arg, const char *text), void *arg)
{
    const char *etcd = check_etcd_elsewhere(c);

    if (c->advertise && config_is_loopback(c->advertise) && etcd) {
        _cleanup_free_ char *text = xasprintf(
            "cluster.advertise: %s is reached from this machine alone, but etcd is at another (%s): set it to "
            "an address of this node at which other nodes reach it",
            c->advertise, etcd);
        warn(arg, text);
    }
    for (int tier = TIER_PEERS; tier <= TIER_SHARED; tier++) {
        _cleanup_free_ char *text = c->absent[tier] ? check_order(c, (enum config_tier)tier) : NULL;
        if (text)
            warn(arg, text);
    }
}
