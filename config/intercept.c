/* Interception: the forward proxy, listeners that registries' names lead to, and the authority for both. */
#include "config/read.h"

#include "base/authority.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

/* Clients of this machine. */
static const char *const LOOPBACK[] = {"127.0.0.0/8", "::1"};

bool config_take_listen_intercept(struct config_reading *r, int nth, const struct yaml_listen *y)
{
    bool *on = &r->c->listen_intercept[nth];

    if (!config_take_bool(r, "listen", nth, "intercept", y->intercept, on))
        return false;
    if (!*on)
        return true;
    if (y->tls.cert || y->tls.key || y->tls.client_ca)
        return config_bad(r, "listen", nth, "intercept",
                          "goes without tls: its certificates are made for each registry");
    if (y->upstream)
        return config_bad(r, "listen", nth, "intercept", "goes without upstream: the client's TLS names the registry");
    return strncmp(y->address, "unix:", 5) != 0 ||
           config_bad(r, "listen", nth, "intercept", "a unix socket has no TLS");
}

static bool take_forward(struct config_reading *r, const char *address)
{
    if (!address)
        return true;
    if (strncmp(address, "unix:", 5) == 0)
        return config_bad(r, "intercept", 0, "address", "a proxy cannot be a unix socket (HTTPS_PROXY)");
    if (!config_take_address(r, "intercept", 0, address))
        return false;
    config_set(&r->c->intercept.address, address);
    return true;
}

/* They may not be there yet. */
static bool take_ca_file(struct config_reading *r, const char *key, const char *file, char **out)
{
    size_t len = strlen(file);

    if (file[0] != '/' || file[len - 1] == '/')
        return config_bad(r, "intercept", 0, key, "\"%s\" is not the full path of a file", file);
    config_set(out, file);
    return true;
}

static bool take_ca(struct config_reading *r, const char *cert, const char *key)
{
    struct config_intercept *i = &r->c->intercept;

    if (!cert && !key)
        return true;
    if (!cert || !key)
        return config_bad(r, "intercept", 0, "ca", "there is no %s: it needs both cert and key", cert ? "key" : "cert");
    if (strcmp(cert, key) == 0)
        return config_bad(r, "intercept", 0, "ca.key", "is the same file as cert");
    return take_ca_file(r, "ca.cert", cert, &i->cert) && take_ca_file(r, "ca.key", key, &i->key);
}

static bool intercept_take_host(struct config_reading *r, int nth, const char *text, char **out)
{
    _cleanup_free_ char *host = xstrdup(text);
    char key[32];

    snprintf(key, sizeof(key), "hosts[%d]", nth);
    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!config_is_host_pattern(host) || !authority_subtree_of(host))
        return config_bad(r, "intercept", 0, key,
                          "\"%s\" is neither a registry's host, without a port, nor a pattern such as *.example.com",
                          text);
    config_set(out, host);
    return true;
}

static bool take_allow(struct config_reading *r, char *const *nets, int count)
{
    struct config_intercept *c = &r->c->intercept;
    char key[32];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "allow[%d]", i);
        if (!cidr_parse(nets[i], &c->allow[i]))
            return config_bad(r, "intercept", 0, key, "\"%s\" is neither an address nor a net such as 10.0.0.0/8",
                              nets[i]);
        c->allow_count = i + 1;
    }
    return true;
}

bool config_take_intercept(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const tunnels[] = {"any", "none", NULL};
    int tunnel = 0;

    if (!take_forward(r, y->intercept.address) || !take_ca(r, y->intercept.cert, y->intercept.key) ||
        !config_take_word(r, "intercept", 0, "tunnel", y->intercept.tunnel, tunnels, &tunnel))
        return false;
    r->c->intercept.tunnel = tunnel == 0;
    for (int i = 0; i < y->intercept_hosts_count; i++)
        if (!intercept_take_host(r, i, y->intercept_hosts[i], &r->c->intercept.hosts[i]))
            return false;
    return take_allow(r, y->intercept_allow, y->intercept_allow_count);
}

void config_finish_intercept(struct config *c)
{
    struct config_intercept *i = &c->intercept;

    if (!i->cert) {
        i->cert = xasprintf("%s/ca.crt", c->cache_path);
        i->key = xasprintf("%s/ca.key", c->cache_path);
    }
    for (size_t k = 0; i->allow_count == 0 && k < ARRAY_LEN(LOOPBACK); k++)
        cidr_parse(LOOPBACK[k], &i->allow[k]);
    if (i->allow_count == 0)
        i->allow_count = ARRAY_LEN(LOOPBACK);
}

void config_free_intercept(struct config *c)
{
    struct config_intercept *i = &c->intercept;

    free(i->address);
    free(i->cert);
    free(i->key);
    for (int k = 0; k < CONFIG_UPSTREAMS_MAX; k++)
        free(i->hosts[k]);
}

/* ---- what it says ---- */

bool config_intercepts(const struct config *c)
{
    bool any = c->intercept.address != NULL;

    for (int i = 0; i < CONFIG_LISTEN_MAX; i++)
        any = any || c->listen_intercept[i];
    return any;
}

/* A registry with a port is meant by its name, too: the port is not in a certificate. */
static void add_host(char **hosts, const char *name)
{
    size_t len = strcspn(name, ":");
    char *host = xstrndup(name, len);
    int count = 0;

    while (hosts[count] && strcmp(hosts[count], host) != 0)
        count++;
    if (!hosts[count] && authority_subtree_of(host))
        hosts[count] = host;
    else
        free(host);
}

char **config_intercept_hosts(const struct config *c)
{
    char **hosts = xcalloc(CONFIG_UPSTREAMS_MAX + 1, sizeof(*hosts));

    for (int i = 0; c->intercept.hosts[i]; i++)
        add_host(hosts, c->intercept.hosts[i]);
    for (int i = 0; !c->intercept.hosts[0] && i < c->upstream_count; i++)
        add_host(hosts, c->upstreams[i].name);
    return hosts;
}

void config_free_hosts(char **hosts)
{
    for (char **h = hosts; *h; h++)
        free(*h);
    free(hosts);
}

bool config_may_intercept(const struct config *c, const struct sockaddr *client)
{
    const struct ip ip = ip_of(client);

    for (int i = 0; i < c->intercept.allow_count; i++)
        if (cidr_has(&c->intercept.allow[i], &ip))
            return true;
    return client->sa_family == AF_UNIX;
}
