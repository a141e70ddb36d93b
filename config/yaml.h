/* yaml.h - the configuration file as libcyaml reads it: text, nothing understood yet. Internal to
 * config.c. */
#ifndef ENTREPOT_CONFIG_YAML_H
#define ENTREPOT_CONFIG_YAML_H

#include "base/buf.h"
#include "base/err.h"
#include "config/credentials.h"

#include <stdint.h>

struct yaml_tls {
    char *cert, *key, *client_ca;
};

struct yaml_listen {
    char *address, *upstream;
    struct yaml_tls *tls;
};

struct yaml_intercept {
    char *address;
    struct yaml_tls *ca;
};

struct yaml_tag_rule {
    char *repository, *tag, *ttl, *max_stale, *negative_ttl, *deleted;
};

struct yaml_tags {
    char *ttl, *max_stale, *negative_ttl, *deleted;
    struct yaml_tag_rule *rules;
    uint32_t rules_count;
};

struct yaml_credentials {
#define X(key) char *key;
    CRED_KEYS(X)
#undef X
    char **args;
    uint32_t args_count;
};

struct yaml_endpoint {
    char *url, *ns, *credentials;
};

struct yaml_upstream {
    char *name;
    struct yaml_endpoint *endpoints; /* one that is a URL alone in the file has that as its url here */
    uint32_t endpoints_count;
    char **trusted_hosts;
    uint32_t trusted_hosts_count;
    char *access;
    struct yaml_credentials *credentials; /* one that is no list in the file is a list of one here */
    uint32_t credentials_count;
    char *ca, *ca_only, *client_cert, *client_key;
    char *insecure;
    char *parallel, *rate_reserve;
    struct yaml_tags *tags;
    char *connect_timeout, *stall_timeout;
};

struct yaml_config {
    struct yaml_listen *listen;
    uint32_t listen_count;
    struct yaml_intercept *intercept;
    struct {
        char *socket;
    } * admin;
    struct {
        char *address;
    } * metrics;
    char *workers, *fetchers;
    struct {
        char *level, *format;
    } * log;
    struct {
        char *path, *max_size, *min_free, *blob_max, *fetch;
    } * cache;
    struct {
        char *policy, *high, *low, *grace, *interval;
    } * gc;
    struct yaml_tags *tags;
    struct {
        char *login, *grant_ttl, *login_for;
        char **hosts;
        uint32_t hosts_count;
    } * clients;
    struct {
        char *connections, *per_client, *misses, *relays;
    } * limits;
    char *offline, *upstreams_any;
    struct yaml_upstream *upstreams;
    uint32_t upstreams_count;
};

/* Parses; errors name line and key. The result is freed with config_yaml_free(); NULL in *out for an empty document. */
bool config_yaml_parse(const char *text, size_t len, struct yaml_config **out, struct err *err);
void config_yaml_free(struct yaml_config *y);
/* The same text with every upstream's credentials as a list, and every endpoint as a mapping. False if it is not YAML.
 */
bool config_yaml_make_lists(const char *text, size_t len, struct buf *out);
/* The line (from 1) of the key or entry at `path` ("gc.low", "upstreams[1].tags.ttl"), the nth (from 0) of that name;
 * if it is not there, the line of the nearest thing around it. For messages. */
int config_yaml_line(const char *text, const char *path, int nth);

#endif
