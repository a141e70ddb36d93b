/* Every key of the configuration: where its value goes in a struct yaml_config. */
#include "config/keys.h"

enum { TEXT_MAX = 4096, URL_MAX = 2048, HOST_MAX = 255, ADDRESS_MAX = 512 };

#define PUT(type, member, name)      .key = (name), .at = offsetof(type, member)
#define TEXT(type, member)           PUT(type, member, #member), .longest = TEXT_MAX
#define TEXT_IN(section, name)       PUT(struct yaml_config, section.name, #name), .longest = TEXT_MAX
#define TAG_TEXT(type, name)         PUT(type, tags.name, #name), .longest = TEXT_MAX
#define REQUIRED(type, member, most) PUT(type, member, #member), .shortest = 1, .longest = (most), .required = true
#define SECTION(name, of)            .key = (name), .kind = IS_SECTION, .fields = (of) /* members of the same struct */
#define ENTRIES(type, member)        NAMED_ENTRIES(type, member, #member)
#define NAMED_ENTRIES(type, member, name)                                                                              \
    PUT(type, member, name), .kind = IS_LIST, .entry = sizeof(((type *)0)->member[0]),                                 \
                             .entries = ARRAY_LEN(((type *)0)->member), .count = offsetof(type, member##_count)

static const struct yaml_field LISTEN_TLS[] = {
    {PUT(struct yaml_listen, tls.cert, "cert"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_listen, tls.key, "key"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_listen, tls.client_ca, "client_ca"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field LISTEN[] = {
    {REQUIRED(struct yaml_listen, address, ADDRESS_MAX)},
    {TEXT(struct yaml_listen, upstream)},
    {TEXT(struct yaml_listen, intercept)},
    {SECTION("tls", LISTEN_TLS)},
    {0},
};

static const struct yaml_field TAG_RULE[] = {
    {TEXT(struct yaml_tag_rule, repository)},
    {TEXT(struct yaml_tag_rule, tag)},
    {TAG_TEXT(struct yaml_tag_rule, ttl)},
    {TAG_TEXT(struct yaml_tag_rule, max_stale)},
    {TAG_TEXT(struct yaml_tag_rule, negative_ttl)},
    {TAG_TEXT(struct yaml_tag_rule, deleted)},
    {0},
};

static const struct yaml_field TAGS[] = {
    {TAG_TEXT(struct yaml_config, ttl)},
    {TAG_TEXT(struct yaml_config, max_stale)},
    {TAG_TEXT(struct yaml_config, negative_ttl)},
    {TAG_TEXT(struct yaml_config, deleted)},
    {ENTRIES(struct yaml_config, rules), .fields = TAG_RULE},
    {0},
};

static const struct yaml_field UPSTREAM_TAGS[] = {
    {TAG_TEXT(struct yaml_upstream, ttl)},
    {TAG_TEXT(struct yaml_upstream, max_stale)},
    {TAG_TEXT(struct yaml_upstream, negative_ttl)},
    {TAG_TEXT(struct yaml_upstream, deleted)},
    {0},
};

static const struct yaml_field CREDENTIALS[] = {
#define X(name) {PUT(struct yaml_credentials, options.name, #name), .longest = TEXT_MAX},
    CRED_KEYS(X)
#undef X
        {PUT(struct yaml_credentials, options.args, "args"), .kind = IS_LIST, .longest = TEXT_MAX,
         .entry = sizeof(char *), .entries = CRED_ARGS_MAX, .count = offsetof(struct yaml_credentials, args_count)},
    {0},
};

static const struct yaml_field ENDPOINT[] = {
    {REQUIRED(struct yaml_endpoint, url, URL_MAX)},
    {TEXT(struct yaml_endpoint, ns)},
    {TEXT(struct yaml_endpoint, credentials)},
    {0},
};

static const struct yaml_field UPSTREAM[] = {
    {REQUIRED(struct yaml_upstream, name, HOST_MAX)},
    {ENTRIES(struct yaml_upstream, endpoints), .fields = ENDPOINT, .is_first_field = true},
    {ENTRIES(struct yaml_upstream, trusted_hosts), .shortest = 1, .longest = URL_MAX},
    {TEXT(struct yaml_upstream, access)},
    {ENTRIES(struct yaml_upstream, credentials), .fields = CREDENTIALS, .is_list_of_one = true},
    {TEXT(struct yaml_upstream, ca)},
    {TEXT(struct yaml_upstream, ca_only)},
    {TEXT(struct yaml_upstream, client_cert)},
    {TEXT(struct yaml_upstream, client_key)},
    {TEXT(struct yaml_upstream, insecure)},
    {TEXT(struct yaml_upstream, parallel)},
    {TEXT(struct yaml_upstream, rate_reserve)},
    {TEXT(struct yaml_upstream, fetch)},
    {SECTION("tags", UPSTREAM_TAGS)},
    {TEXT(struct yaml_upstream, connect_timeout)},
    {TEXT(struct yaml_upstream, stall_timeout)},
    {0},
};

static const struct yaml_field INTERCEPT_CA[] = {
    {PUT(struct yaml_config, intercept.cert, "cert"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_config, intercept.key, "key"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field INTERCEPT[] = {
    {TEXT_IN(intercept, address)},
    {SECTION("ca", INTERCEPT_CA)},
    {NAMED_ENTRIES(struct yaml_config, intercept_hosts, "hosts"), .shortest = 1, .longest = HOST_MAX},
    {TEXT_IN(intercept, tunnel)},
    {NAMED_ENTRIES(struct yaml_config, intercept_allow, "allow"), .shortest = 1, .longest = HOST_MAX},
    {0},
};

static const struct yaml_field POLICY[] = {
    {NAMED_ENTRIES(struct yaml_config, policy_allow, "allow"), .shortest = 1, .longest = TEXT_MAX},
    {NAMED_ENTRIES(struct yaml_config, policy_deny, "deny"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field ADMIN[] = {{TEXT_IN(admin, socket)}, {0}};
static const struct yaml_field METRICS[] = {{TEXT_IN(metrics, address)}, {0}};
static const struct yaml_field LOG[] = {{TEXT_IN(log, level)}, {TEXT_IN(log, format)}, {0}};

static const struct yaml_field ACCESS_LOG[] = {
    {PUT(struct yaml_config, access_log.path, "path"), .shortest = 1, .longest = TEXT_MAX},
    {TEXT_IN(access_log, format)},
    {0},
};

static const struct yaml_field CLIENTS[] = {
    {TEXT_IN(clients, login)},
    {TEXT_IN(clients, grant_ttl)},
    {TEXT_IN(clients, login_for)},
    {ENTRIES(struct yaml_config, hosts), .shortest = 1, .longest = URL_MAX},
    {0},
};

static const struct yaml_field LIMITS[] = {
    {TEXT_IN(limits, connections)},
    {TEXT_IN(limits, per_client)},
    {TEXT_IN(limits, misses)},
    {TEXT_IN(limits, relays)},
    {0},
};

static const struct yaml_field CACHE[] = {
    {TEXT_IN(cache, path)},
    {TEXT_IN(cache, max_size)},
    {TEXT_IN(cache, min_free)},
    {TEXT_IN(cache, blob_max)},
    {TEXT_IN(cache, fetch)},
    {TEXT_IN(cache, readahead)},
    {0},
};

static const struct yaml_field GC[] = {
    {TEXT_IN(gc, policy)}, {TEXT_IN(gc, high)}, {TEXT_IN(gc, low)}, {TEXT_IN(gc, grace)}, {TEXT_IN(gc, interval)}, {0},
};

#define CLUSTER_TEXT(name, member, most)                                                                               \
    .key = (name), .at = offsetof(struct yaml_config, cluster.member), .shortest = 1, .longest = (most)
#define CLUSTER_LIST(name, member)                                                                                     \
    NAMED_ENTRIES(struct yaml_config, cluster_##member, (name)), .shortest = 1, .longest = URL_MAX

static const struct yaml_field CLUSTER_PEERS[] = {
    {CLUSTER_LIST("etcd", etcd)},
    {CLUSTER_TEXT("prefix", etcd_prefix, TEXT_MAX)},
    {CLUSTER_TEXT("ca", etcd_ca, TEXT_MAX)},
    {CLUSTER_TEXT("cert", etcd_cert, TEXT_MAX)},
    {CLUSTER_TEXT("key", etcd_key, TEXT_MAX)},
    {CLUSTER_TEXT("username", username, TEXT_MAX)},
    {CLUSTER_TEXT("password_file", password_file, TEXT_MAX)},
    {CLUSTER_TEXT("dns", dns, HOST_MAX)},
    {0},
};

static const struct yaml_field CLUSTER_TLS[] = {
    {CLUSTER_TEXT("cert", cert, TEXT_MAX)},
    {CLUSTER_TEXT("key", key, TEXT_MAX)},
    {CLUSTER_TEXT("ca", ca, TEXT_MAX)},
    {0},
};

static const struct yaml_field SHARED_CREDENTIALS[] = {
#define X(name) {CLUSTER_TEXT(#name, credentials.options.name, TEXT_MAX)},
    CRED_KEYS(X)
#undef X
        {0},
};

static const struct yaml_field SHARED[] = {
    {CLUSTER_TEXT("s3", s3, URL_MAX)},
    {CLUSTER_TEXT("bucket", bucket, HOST_MAX)},
    {PUT(struct yaml_config, cluster.prefix, "prefix"), .longest = TEXT_MAX},
    {CLUSTER_TEXT("region", region, HOST_MAX)},
    {SECTION("credentials", SHARED_CREDENTIALS)},
    {CLUSTER_TEXT("ca", shared_ca, TEXT_MAX)},
    {CLUSTER_TEXT("private", keep_private, TEXT_MAX)},
    {0},
};

static const struct yaml_field CLUSTER[] = {
    {SECTION("peers", CLUSTER_PEERS)},
    {CLUSTER_TEXT("advertise", advertise, ADDRESS_MAX)},
    {CLUSTER_TEXT("listen", listen, ADDRESS_MAX)},
    {PUT(struct yaml_config, cluster.zone, "zone"), .longest = TEXT_MAX},
    {SECTION("tls", CLUSTER_TLS)},
    {CLUSTER_TEXT("secret_file", secret_file, TEXT_MAX)},
    {SECTION("shared", SHARED)},
    {CLUSTER_LIST("order", order)},
    {0},
};

const struct yaml_field CONFIG_KEYS[] = {
    {ENTRIES(struct yaml_config, listen), .fields = LISTEN, .is_first_field = true},
    {SECTION("intercept", INTERCEPT)},
    {SECTION("policy", POLICY)},
    {SECTION("cluster", CLUSTER)},
    {SECTION("admin", ADMIN)},
    {SECTION("metrics", METRICS)},
    {TEXT(struct yaml_config, workers)},
    {TEXT(struct yaml_config, fetchers)},
    {SECTION("log", LOG)},
    {SECTION("access_log", ACCESS_LOG)},
    {SECTION("cache", CACHE)},
    {SECTION("gc", GC)},
    {SECTION("tags", TAGS)},
    {SECTION("clients", CLIENTS)},
    {SECTION("limits", LIMITS)},
    {TEXT(struct yaml_config, offline)},
    {TEXT(struct yaml_config, upstreams_any)},
    {ENTRIES(struct yaml_config, upstreams), .fields = UPSTREAM},
    {0},
};
