/* Beyond this node: who the peers are and how they trust each other, and the bucket that all nodes share. */
#include "config/read.h"

#include "base/cidr.h"
#include "base/secret.h"
#include "base/tls_files.h"

#include <errno.h>
#include <string.h>

enum {
    SECRET_LEAST = 32, /* bytes: as many as SHA-256 has */
    ZONE_LONGEST = 63,
    NAME_LONGEST = 253, /* RFC 1035 §3.1, as a text */
    LABEL_LONGEST = 63,
    BUCKET_SHORTEST = 3,
    BUCKET_LONGEST = 63,
    PREFIX_LONGEST = 256,
};

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool cluster_bad(struct config_reading *r, const char *key, const char *why)
{
    return config_bad(r, "cluster", 0, key, "%s", why);
}

static bool consists_of(const char *text, const char *characters)
{
    return text[strspn(text, characters)] == '\0';
}

/* A secret's file: whether it can be read. The content is read when it is needed, and again when it has changed. */
static bool cluster_take_file(struct config_reading *r, const char *key, const char *file, char **out)
{
    struct err why = {0};

    if (!file)
        return true;
    if (file[0] != '/')
        return config_bad(r, "cluster", 0, key, "\"%s\" is not the full path of a file", file);
    config_set(out, file);
    if (r->no_secrets)
        return true;
    _cleanup_secret_ char *text = secret_read(file, &why);
    return text || cluster_bad(r, key, why.msg);
}

/* ---- who the peers are ---- */

static bool cluster_take_url(struct config_reading *r, const char *key, const char *url, char **out)
{
    const char *fault = config_endpoint_fault(url, true);

    if (fault && strchr(url, '@')) /* what stands before it may be a password */
        return config_bad(r, "cluster", 0, key, "this URL %s", fault);
    if (fault)
        return config_bad(r, "cluster", 0, key, "\"%s\" %s", url, fault);
    config_set(out, url);
    for (size_t len = strlen(*out); (*out)[len - 1] == '/'; len--)
        (*out)[len - 1] = '\0';
    return true;
}

/* A host, or a name of SRV records: "_entrepot._tcp.example.com". */
static bool cluster_is_name(const char *name)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len <= NAME_LONGEST && consists_of(name, LETTERS_AND_DIGITS "-_.") && !ip_parse(name).bits;

    for (const char *label = name; ok && *label;) {
        size_t n = strcspn(label, ".");
        ok = n > 0 && n <= LABEL_LONGEST;
        label += n + (label[n] == '.');
    }
    return ok;
}

static bool take_dns(struct config_reading *r, const struct yaml_config *y)
{
    const struct {
        const char *key, *given;
    } of_etcd[] = {
        {"peers.prefix", y->cluster.etcd_prefix}, {"peers.ca", y->cluster.etcd_ca},
        {"peers.cert", y->cluster.etcd_cert},     {"peers.key", y->cluster.etcd_key},
        {"peers.username", y->cluster.username},  {"peers.password_file", y->cluster.password_file},
    };

    for (size_t i = 0; i < ARRAY_LEN(of_etcd); i++)
        if (of_etcd[i].given)
            return cluster_bad(r, of_etcd[i].key, "goes with etcd, and not with dns");
    if (!cluster_is_name(y->cluster.dns))
        return config_bad(r, "cluster", 0, "peers.dns", "\"%s\" is not a name such as entrepot.example.com",
                          y->cluster.dns);
    config_set(&r->c->cluster.dns, y->cluster.dns);
    return true;
}

/* The files of TLS with etcd. An authority that is given is the only one. */
static bool take_etcd_trust(struct config_reading *r, const struct yaml_config *y)
{
    struct trust *t = &r->c->cluster.etcd_trust;
    const char *fault = "";
    struct err err = {0};
    char key[32];

    if (!y->cluster.etcd_cert != !y->cluster.etcd_key)
        return cluster_bad(r, y->cluster.etcd_cert ? "peers.cert" : "peers.key",
                           y->cluster.etcd_cert ? "there is no key: it needs both" : "there is no cert: it needs both");
    config_set(&t->ca, y->cluster.etcd_ca);
    config_set(&t->client_cert, y->cluster.etcd_cert);
    config_set(&t->client_key, y->cluster.etcd_key);
    t->ca_only = t->ca != NULL;
    if (r->no_secrets || trust_check(t, &fault, &err))
        return true;
    snprintf(key, sizeof(key), "peers.%s", strncmp(fault, "client_", 7) == 0 ? fault + 7 : fault);
    return cluster_bad(r, key, err.msg);
}

static bool take_etcd(struct config_reading *r, const struct yaml_config *y)
{
    struct config_cluster *c = &r->c->cluster;
    const char *prefix = y->cluster.etcd_prefix ? y->cluster.etcd_prefix : "/entrepot";
    char key[32];

    for (int i = 0; i < y->cluster_etcd_count; i++) {
        snprintf(key, sizeof(key), "peers.etcd[%d]", i);
        if (!cluster_take_url(r, key, y->cluster_etcd[i], &c->etcd[i]))
            return false;
    }
    if (prefix[0] != '/' || !prefix[1] || strlen(prefix) > PREFIX_LONGEST ||
        !consists_of(prefix, LETTERS_AND_DIGITS "-_./:"))
        return config_bad(r, "cluster", 0, "peers.prefix", "\"%s\" is not a prefix of keys such as /entrepot", prefix);
    config_set(&c->prefix, prefix);
    for (size_t len = strlen(prefix); len > 1 && c->prefix[len - 1] == '/'; len--)
        c->prefix[len - 1] = '\0';
    if (!y->cluster.username != !y->cluster.password_file)
        return cluster_bad(r, y->cluster.username ? "peers.username" : "peers.password_file",
                           "username and password_file belong together");
    config_set(&c->username, y->cluster.username);
    return cluster_take_file(r, "peers.password_file", y->cluster.password_file, &c->password_file) &&
           take_etcd_trust(r, y);
}

static bool peers_are_given(const struct yaml_config *y)
{
    return y->cluster_etcd_count > 0 || y->cluster.dns || y->cluster.etcd_prefix || y->cluster.etcd_ca ||
           y->cluster.etcd_cert || y->cluster.etcd_key || y->cluster.username || y->cluster.password_file;
}

/* ---- this node among them ---- */

/* Other nodes connect to it: an address in numbers, of one machine, and a port. */
static bool is_reachable(const char *text)
{
    static const uint8_t unspecified[16] = {0};
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[';

    if (!colon || strncmp(text, "unix:", 5) == 0 || !config_is_address(text) || strtol(colon + 1, NULL, 10) == 0)
        return false;
    _cleanup_free_ char *host = xstrndup(text + bracketed, (size_t)(colon - text) - 2 * bracketed);
    const struct ip ip = ip_parse(host);
    return ip.bits > 0 && (ip.bits == 32 || bracketed) && memcmp(ip.raw, unspecified, (size_t)ip.bits / 8) != 0;
}

static bool take_addresses(struct config_reading *r, const struct yaml_config *y)
{
    struct config_cluster *c = &r->c->cluster;
    const char *listen = y->cluster.listen ? y->cluster.listen : y->cluster.advertise,
               *key = y->cluster.listen ? "listen" : "advertise";

    if (!y->cluster.advertise)
        return !y->cluster.listen || cluster_bad(r, "listen", "there is no advertise: where peers reach this node");
    if (!is_reachable(y->cluster.advertise))
        return config_bad(r, "cluster", 0, "advertise",
                          "\"%s\" is not where other nodes reach this one: its IP address and a port, such as "
                          "10.0.0.7:5443 or [fd00::7]:5443",
                          y->cluster.advertise);
    if (!config_is_address(listen) || strncmp(listen, "unix:", 5) == 0)
        return config_bad(r, "cluster", 0, key, "\"%s\" is not ADDR:PORT (in numbers)", listen);
    if (config_is_listened_on(r->c, listen) || (r->c->metrics_address && strcmp(r->c->metrics_address, listen) == 0))
        return config_bad(r, "cluster", 0, key, "\"%s\" is listed twice", listen);
    config_set(&c->advertise, y->cluster.advertise);
    config_set(&c->listen, listen);
    return true;
}

static bool take_zone(struct config_reading *r, const char *zone)
{
    if (strlen(zone) > ZONE_LONGEST || !consists_of(zone, LETTERS_AND_DIGITS "-_./:"))
        return config_bad(r, "cluster", 0, "zone", "\"%s\" is not up to 63 letters, digits and -_./:", zone);
    config_set(&r->c->cluster.zone, zone);
    return true;
}

/* ---- how peers trust each other ---- */

static bool take_cluster_tls(struct config_reading *r, const struct yaml_config *y)
{
    const struct tls_files files = {y->cluster.cert, y->cluster.key, y->cluster.ca};
    struct config_tls *t = &r->c->cluster.tls;
    const char *fault = "";
    struct err err = {0};
    char key[32];

    if (!files.cert && !files.key && !files.client_ca)
        return true;
    if (!files.cert || !files.key || !files.client_ca)
        return config_bad(r, "cluster", 0, "tls", "there is no %s: TLS between peers needs cert, key and ca",
                          !files.cert  ? "cert"
                          : !files.key ? "key"
                                       : "ca");
    config_set(&t->cert, files.cert);
    config_set(&t->key, files.key);
    config_set(&t->client_ca, files.client_ca);
    if (r->no_secrets || tls_files_check(&files, &fault, &err))
        return true;
    snprintf(key, sizeof(key), "tls.%s", strcmp(fault, "client_ca") == 0 ? "ca" : fault);
    return cluster_bad(r, key, err.msg);
}

static bool take_secret(struct config_reading *r, const struct yaml_config *y)
{
    struct config_cluster *c = &r->c->cluster;
    struct err err = {0};

    if (!cluster_take_file(r, "secret_file", y->cluster.secret_file, &c->secret_file))
        return false;
    if (!c->secret_file || r->no_secrets)
        return true;
    _cleanup_secret_ char *text = secret_read(c->secret_file, &err);
    return (text && strlen(text) >= SECRET_LEAST) ||
           config_bad(r, "cluster", 0, "secret_file",
                      "%s: holds less than %d bytes; `head -c 32 /dev/urandom | base64` makes enough", c->secret_file,
                      (int)SECRET_LEAST);
}

static bool take_peers(struct config_reading *r, const struct yaml_config *y)
{
    const struct config_cluster *c = &r->c->cluster;

    if (!take_addresses(r, y) || !take_zone(r, y->cluster.zone ? y->cluster.zone : "") || !take_cluster_tls(r, y) ||
        !take_secret(r, y))
        return false;
    if (y->cluster_etcd_count == 0 && !y->cluster.dns && config_yaml_given(r->yaml, "cluster.peers.etcd"))
        return cluster_bad(r, "peers.etcd", "there is no URL in it: one of etcd's, or more");
    if (!peers_are_given(y))
        return !c->advertise || cluster_bad(r, "advertise", "there are no peers: cluster.peers says who they are");
    if (y->cluster_etcd_count > 0 && y->cluster.dns)
        return cluster_bad(r, "peers.dns", "goes without etcd: one of them says who the peers are");
    if (y->cluster_etcd_count == 0 && !y->cluster.dns)
        return cluster_bad(r, "peers", "there is neither etcd nor dns: one of them says who the peers are");
    if (!c->advertise)
        return cluster_bad(r, "peers", "needs cluster.advertise: the address and port where peers reach this node");
    if (!c->tls.cert && !c->secret_file)
        return cluster_bad(r, "peers",
                           "needs cluster.secret_file, or cluster.tls: else anybody could be a peer of this node");
    return y->cluster.dns ? take_dns(r, y) : take_etcd(r, y);
}

/* ---- the bucket ---- */

static bool take_shared_credentials(struct config_reading *r, const struct yaml_config *y)
{
    const struct cred_options *given = &y->cluster.credentials.options;
    struct cred_options *o = &r->c->cluster.shared.credentials;
    const char *key = "", *fault;
    char path[64];

    if (!cred_options_given(given))
        return true;
    fault = cred_options_fault(given, &key);
    snprintf(path, sizeof(path), "shared.credentials.%s", key);
    if (fault)
        return cluster_bad(r, path, fault);
    cred_options_copy(o, given);
    if (o->command && !r->no_secrets && access(o->command, X_OK) != 0)
        return config_bad(r, "cluster", 0, "shared.credentials.command", "%s: %s", o->command, strerror(errno));
    return cluster_take_file(r, "shared.credentials.password_file", given->password_file, &o->password_file) &&
           cluster_take_file(r, "shared.credentials.docker_config", given->docker_config, &o->docker_config) &&
           cluster_take_file(r, "shared.credentials.key_file", given->key_file, &o->key_file) &&
           cluster_take_file(r, "shared.credentials.client_secret_file", given->client_secret_file,
                             &o->client_secret_file);
}

/* Of the names of objects; it ends with a slash. */
static bool take_shared_prefix(struct config_reading *r, const char *prefix)
{
    size_t len = strlen(prefix);

    if (prefix[0] == '/' || len > PREFIX_LONGEST || !consists_of(prefix, LETTERS_AND_DIGITS "-_./") ||
        strstr(prefix, "//") || strstr(prefix, ".."))
        return config_bad(r, "cluster", 0, "shared.prefix", "\"%s\" is not a prefix such as entrepot/", prefix);
    free(r->c->cluster.shared.prefix);
    r->c->cluster.shared.prefix = xasprintf("%s%s", prefix, len > 0 && prefix[len - 1] != '/' ? "/" : "");
    return true;
}

static bool take_bucket_name(struct config_reading *r, const char *name)
{
    size_t len = strlen(name);

    if (len < BUCKET_SHORTEST || len > BUCKET_LONGEST || !consists_of(name, LETTERS_AND_DIGITS "-_.") ||
        strchr("-_.", name[0]) || strstr(name, ".."))
        return config_bad(r, "cluster", 0, "shared.bucket", "\"%s\" is not a bucket's name", name);
    config_set(&r->c->cluster.shared.bucket, name);
    return true;
}

/* The authorities of the bucket's server, in place of the system's. */
static bool take_shared_ca(struct config_reading *r, const char *file)
{
    struct config_shared *s = &r->c->cluster.shared;
    const struct trust trust = {.ca = (char *)file, .ca_only = true};
    const char *fault;
    struct err err = {0};

    config_set(&s->ca, file);
    return !file || r->no_secrets || trust_check(&trust, &fault, &err) || cluster_bad(r, "shared.ca", err.msg);
}

static bool take_shared(struct config_reading *r, const struct yaml_config *y)
{
    struct config_shared *s = &r->c->cluster.shared;
    const char *region = y->cluster.region ? y->cluster.region : "us-east-1";
    bool given = y->cluster.s3 || y->cluster.bucket || y->cluster.prefix || y->cluster.region || y->cluster.shared_ca ||
                 y->cluster.keep_private || cred_options_given(&y->cluster.credentials.options);

    if (!given)
        return true;
    if (!y->cluster.s3 || !y->cluster.bucket)
        return config_bad(r, "cluster", 0, "shared",
                          "there is no %s: a bucket needs s3 (its URL) and bucket (its name)",
                          y->cluster.s3 ? "bucket" : "s3");
    if (!cluster_take_url(r, "shared.s3", y->cluster.s3, &s->s3) || !take_bucket_name(r, y->cluster.bucket) ||
        !take_shared_prefix(r, y->cluster.prefix ? y->cluster.prefix : "entrepot/"))
        return false;
    if (!consists_of(region, LETTERS_AND_DIGITS "-_"))
        return config_bad(r, "cluster", 0, "shared.region", "\"%s\" is not a region such as us-east-1", region);
    config_set(&s->region, region);
    return take_shared_credentials(r, y) && take_shared_ca(r, y->cluster.shared_ca) &&
           config_take_bool(r, "cluster", 0, "shared.private", y->cluster.keep_private, &s->keep_private);
}

/* Of those that there are. */
static bool take_order(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const tiers[] = {"none", "peers", "shared", NULL};
    struct config_cluster *c = &r->c->cluster;
    int wanted[2] = {TIER_PEERS, TIER_SHARED}, count = 2;
    char key[24];

    if (y->cluster_order_count > 0)
        count = y->cluster_order_count;
    for (int i = 0; i < y->cluster_order_count; i++) {
        snprintf(key, sizeof(key), "order[%d]", i);
        if (!config_take_word(r, "cluster", 0, key, y->cluster_order[i], tiers + 1, &wanted[i]))
            return false;
        wanted[i]++;
        if (i == 1 && wanted[0] == wanted[1])
            return config_bad(r, "cluster", 0, key, "\"%s\" is listed twice", y->cluster_order[i]);
    }
    for (int i = 0, n = 0; i < count; i++) {
        bool there = wanted[i] == TIER_PEERS ? c->etcd[0] || c->dns : c->shared.s3 != NULL;
        c->absent[wanted[i]] = !there && y->cluster_order_count > 0;
        if (there)
            c->order[n++] = (enum config_tier)wanted[i];
    }
    return true;
}

bool config_take_cluster(struct config_reading *r, const struct yaml_config *y)
{
    return take_peers(r, y) && take_shared(r, y) && take_order(r, y);
}

/* ---- as a value ---- */

/* Every text of it. */
#define CLUSTER_TEXTS(X)                                                                                               \
    X(prefix)                                                                                                          \
    X(username)                                                                                                        \
    X(password_file)                                                                                                   \
    X(dns)                                                                                                             \
    X(advertise)                                                                                                       \
    X(listen)                                                                                                          \
    X(zone)                                                                                                            \
    X(tls.cert)                                                                                                        \
    X(tls.key)                                                                                                         \
    X(tls.client_ca)                                                                                                   \
    X(secret_file)                                                                                                     \
    X(shared.s3)                                                                                                       \
    X(shared.bucket)                                                                                                   \
    X(shared.prefix)                                                                                                   \
    X(shared.region)                                                                                                   \
    X(shared.ca)

void config_free_cluster(struct config_cluster *c)
{
#define X(member) free(c->member);
    CLUSTER_TEXTS(X)
#undef X
    for (int i = 0; i < CONFIG_ETCD_MAX; i++)
        free(c->etcd[i]);
    trust_clear(&c->etcd_trust);
    cred_options_free(&c->shared.credentials);
    memset(c, 0, sizeof(*c));
}

void config_copy_cluster(struct config_cluster *to, const struct config_cluster *from)
{
    memset(to, 0, sizeof(*to));
#define X(member) config_set(&to->member, from->member);
    CLUSTER_TEXTS(X)
#undef X
    for (int i = 0; i < CONFIG_ETCD_MAX; i++)
        config_set(&to->etcd[i], from->etcd[i]);
    trust_copy(&to->etcd_trust, &from->etcd_trust);
    cred_options_copy(&to->shared.credentials, &from->shared.credentials);
    to->shared.keep_private = from->shared.keep_private;
    memcpy(to->order, from->order, sizeof(to->order));
    memcpy(to->absent, from->absent, sizeof(to->absent));
}
