/* The upstreams of the configuration, and those that need none. */
#include "config/read.h"

#include "base/ref.h"
#include "base/secret.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
    PARALLEL_MAX = 64,
    RESERVE_MAX = 1000000,
    STARS_MAX = 3, /* in a pattern; more would only make it slow to match */
};

static const char *const WELL_KNOWN[] = {
    "docker.io",      "ghcr.io",
    "quay.io",        "registry.k8s.io",
    "gcr.io",         "mcr.microsoft.com",
    "public.ecr.aws", "registry.gitlab.com",
    "*.pkg.dev",      "*.dkr.ecr.*.amazonaws.com",
    "*.azurecr.io",
};

static const struct {
    const char *name, *hosts;
} PRIVATE_LINKS[] = {
    {"*.dkr.ecr.*.amazonaws.com", "*.amazonaws.com"},
    {"*.azurecr.io", "*.blob.core.windows.net"},
    {"*.pkg.dev", "*.googleapis.com"},
};

static void upstream_defaults(struct config_upstream *u)
{
    u->tags = CONFIG_TAGS_UNSET;
    u->connect_timeout_ms = 10000;
    u->stall_timeout_ms = 30000;
    u->parallel = 4;
    u->fetch = CONFIG_FETCH_UNSET;
    u->rate_reserve = 10;
}

/* Checks only that the file can be read; its content is read when it is needed, and again when it has changed. */
static bool upstream_take_file(struct config_reading *r, int nth, const char *where, const char *key, const char *file)
{
    struct err why = {0};
    char path[64];

    if (!file || r->no_secrets)
        return true;
    _cleanup_secret_ char *text = secret_read(file, &why);
    snprintf(path, sizeof(path), "%s.%s", where, key);
    return text || config_bad(r, "upstreams", nth, path, "%s", why.msg);
}

static bool take_command(struct config_reading *r, int nth, const char *where, const char *command)
{
    char path[64];

    if (!command || r->no_secrets || access(command, X_OK) == 0)
        return true;
    snprintf(path, sizeof(path), "%s.command", where);
    return config_bad(r, "upstreams", nth, path, "%s: %s", command, strerror(errno));
}

/* `where`: "credentials", or "credentials[1]". */
static bool take_identity(struct config_reading *r, int nth, const char *where, const struct yaml_credentials *y,
                          struct config_upstream *u)
{
    const struct cred_options *given = &y->options;
    const char *key, *fault;
    char path[64];

    if (!cred_options_given(given))
        return true;
    fault = cred_options_fault(given, &key);
    snprintf(path, sizeof(path), "%s.%s", where, fault ? key : "");
    if (fault)
        return config_bad(r, "upstreams", nth, path, "%s", fault);
    cred_options_copy(&u->credentials[u->credentials_count++], given);
    return upstream_take_file(r, nth, where, "password_file", given->password_file) &&
           upstream_take_file(r, nth, where, "docker_config", given->docker_config) &&
           upstream_take_file(r, nth, where, "key_file", given->key_file) &&
           upstream_take_file(r, nth, where, "client_secret_file", given->client_secret_file) &&
           take_command(r, nth, where, given->command);
}

static bool take_credentials(struct config_reading *r, int nth, const struct yaml_upstream *y,
                             struct config_upstream *u)
{
    char where[24] = "credentials";

    for (int i = 0; i < y->credentials_count; i++) {
        if (y->credentials_count > 1)
            snprintf(where, sizeof(where), "credentials[%d]", i);
        if (!take_identity(r, nth, where, &y->credentials[i], u))
            return false;
    }
    return true;
}

static bool take_endpoint(struct config_reading *r, int nth, int i, const struct yaml_endpoint *y,
                          struct config_upstream *u)
{
    const char *fault = config_endpoint_fault(y->url, u->insecure);
    bool ns = false;
    char key[40];

    snprintf(key, sizeof(key), "endpoints[%d]", i);
    if (fault && strchr(y->url, '@')) /* what stands before it may be a password */
        return config_bad(r, "upstreams", nth, key, "this endpoint %s", fault);
    if (fault)
        return config_bad(r, "upstreams", nth, key, "\"%s\" %s", y->url, fault);
    config_set(&u->endpoints[i], y->url);
    snprintf(key, sizeof(key), "endpoints[%d].ns", i);
    if (!config_take_bool(r, "upstreams", nth, key, y->ns, &ns))
        return false;
    snprintf(key, sizeof(key), "endpoints[%d].credentials", i);
    if (!config_take_bool(r, "upstreams", nth, key, y->credentials, &u->endpoint_logins[i]))
        return false;
    u->endpoint_ns[i] = !y->ns ? UPSTREAM_NS_AUTO : ns ? UPSTREAM_NS_ON : UPSTREAM_NS_OFF;
    return true;
}

static bool take_endpoints(struct config_reading *r, int nth, const struct yaml_upstream *y, struct config_upstream *u)
{
    for (int i = 0; i < y->endpoints_count; i++)
        if (!take_endpoint(r, nth, i, &y->endpoints[i], u))
            return false;
    return true;
}

bool config_is_host_pattern(const char *text)
{
    _cleanup_free_ char *host = xstrdup(text);
    int stars = 0;

    for (char *p = host; *p; p++) {
        stars += *p == '*';
        *p = *p == '*' ? 'x' : *p;
    }
    return stars <= STARS_MAX && ref_host_valid(host, strlen(host));
}

static bool take_trusted(struct config_reading *r, int nth, const struct yaml_upstream *y, struct config_upstream *u)
{
    char key[32];

    for (int i = 0; i < y->trusted_hosts_count; i++) {
        snprintf(key, sizeof(key), "trusted_hosts[%d]", i);
        if (!config_is_host_pattern(y->trusted_hosts[i]) || strchr(y->trusted_hosts[i], ':'))
            return config_bad(r, "upstreams", nth, key,
                              "\"%s\" is neither a host, without a port, nor a pattern of hosts", y->trusted_hosts[i]);
        config_set(&u->trusted_hosts[i], y->trusted_hosts[i]);
    }
    return true;
}

/* A host, or a pattern of hosts. */
static bool upstream_take_name(struct config_reading *r, int nth, const char *name, struct config_upstream *u)
{
    size_t len = strlen(name);

    if (len > 4 && strcmp(name + len - 4, ":443") == 0) /* as requests have it: ref_canonical_host() */
        return config_bad(r, "upstreams", nth, "name", "\"%s\": leave out the port 443, which is the usual one", name);
    if (!config_is_host_pattern(name))
        return config_bad(r, "upstreams", nth, "name", "\"%s\" is neither a registry's host nor a pattern of hosts",
                          name);
    for (int i = 0; i < r->c->upstream_count; i++)
        if (r->c->upstreams[i].name && strcasecmp(r->c->upstreams[i].name, name) == 0)
            return config_bad(r, "upstreams", nth, "name", "\"%s\" is listed twice", name);
    if (strcasecmp(name, "registry-1.docker.io") == 0 || strcasecmp(name, "index.docker.io") == 0)
        return config_bad(r, "upstreams", nth, "name", "Docker Hub is called " REF_DEFAULT_HOST " here");
    config_set(&u->name, name);
    for (char *p = u->name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return true;
}

static bool take_timeout(struct config_reading *r, int nth, const char *key, const char *text, int64_t *ms)
{
    if (!config_take_duration(r, "upstreams", nth, key, text, ms))
        return false;
    return *ms > 0 || config_bad(r, "upstreams", nth, key, "\"%s\" is zero", text);
}

/* The files are read again for each connection. */
static bool take_trust(struct config_reading *r, int nth, const struct yaml_upstream *y, struct trust *t)
{
    struct err why = {0};
    const char *key;

    if (!config_take_bool(r, "upstreams", nth, "ca_only", y->ca_only, &t->ca_only))
        return false;
    if (t->ca_only && !y->ca)
        return config_bad(r, "upstreams", nth, "ca_only", "is about ca, which is not there");
    if (y->client_key && !y->client_cert)
        return config_bad(r, "upstreams", nth, "client_key", "is that of client_cert, which is not there");
    config_set(&t->ca, y->ca);
    config_set(&t->client_cert, y->client_cert);
    config_set(&t->client_key, y->client_key);
    return r->no_secrets || trust_check(t, &key, &why) || config_bad(r, "upstreams", nth, key, "%s", why.msg);
}

bool config_take_upstream(struct config_reading *r, int nth, const struct yaml_upstream *y)
{
    static const char *const accesses[] = {"shared", "client", NULL};
    struct config_upstream *u = &r->c->upstreams[r->c->upstream_count++];
    int access_word = 0;

    upstream_defaults(u);
    if (!upstream_take_name(r, nth, y->name, u) ||
        !config_take_bool(r, "upstreams", nth, "insecure", y->insecure, &u->insecure) ||
        !take_endpoints(r, nth, y, u) || !take_trusted(r, nth, y, u) ||
        !config_take_word(r, "upstreams", nth, "access", y->access, accesses, &access_word))
        return false;
    u->client_access = access_word == 1;
    if (u->client_access && y->credentials_count > 0)
        return config_bad(r, "upstreams", nth, "access", "is client, so that the credentials would never be used");
    return take_trust(r, nth, y, &u->trust) &&
           config_take_int(r, "upstreams", nth, "parallel", y->parallel, 1, PARALLEL_MAX, &u->parallel) &&
           config_take_fetch(r, "upstreams", nth, y->fetch, &u->fetch) &&
           config_take_int(r, "upstreams", nth, "rate_reserve", y->rate_reserve, 0, RESERVE_MAX, &u->rate_reserve) &&
           config_take_upstream_tags(r, nth, &y->tags, &u->tags) &&
           take_timeout(r, nth, "connect_timeout", y->connect_timeout, &u->connect_timeout_ms) &&
           take_timeout(r, nth, "stall_timeout", y->stall_timeout, &u->stall_timeout_ms) &&
           take_credentials(r, nth, y, u);
}

enum config_fetch config_fetch_for(const struct config *c, const struct config_upstream *u)
{
    return u->fetch == CONFIG_FETCH_UNSET ? c->fetch : u->fetch;
}

void config_add_well_known(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(WELL_KNOWN) && c->upstream_count < CONFIG_UPSTREAMS_MAX; i++) {
        bool there = false;
        for (int k = 0; k < c->upstream_count; k++)
            there = there || strcmp(c->upstreams[k].name, WELL_KNOWN[i]) == 0;
        if (there)
            continue;
        struct config_upstream *u = &c->upstreams[c->upstream_count++];
        upstream_defaults(u);
        u->built_in = true;
        config_set(&u->name, WELL_KNOWN[i]);
    }
    /* Within a cloud's network its own services have private addresses; only the cloud can register names there. */
    for (int i = 0; i < c->upstream_count; i++)
        for (size_t k = 0; k < ARRAY_LEN(PRIVATE_LINKS); k++)
            if (strcmp(c->upstreams[i].name, PRIVATE_LINKS[k].name) == 0 && !c->upstreams[i].trusted_hosts[0])
                config_set(&c->upstreams[i].trusted_hosts[0], PRIVATE_LINKS[k].hosts);
    /* Docker Hub's registry has another host than its name. */
    for (int i = 0; i < c->upstream_count; i++)
        if (strcmp(c->upstreams[i].name, "docker.io") == 0 && !c->upstreams[i].endpoints[0])
            config_set(&c->upstreams[i].endpoints[0], "https://registry-1.docker.io");
}
