/* yaml.h - the configuration file as it is written: its keys as text, nothing understood yet. Between the files of
 * config/. Main thread.
 *
 * A key that is not in the file is NULL here. Texts belong to the document, which lives as long as the struct.
 */
#ifndef ENTREPOT_CONFIG_YAML_H
#define ENTREPOT_CONFIG_YAML_H

#include "config/config.h"

#include <yaml.h>
#include <string.h>

/* Beside them there are the built-in ones (CONFIG_UPSTREAMS_MAX). */
enum { YAML_UPSTREAMS_MAX = 48 };

struct yaml_listen {
    char *address, *upstream, *intercept;
    struct {
        char *cert, *key, *client_ca;
    } tls;
};

struct yaml_tags {
    char *ttl, *max_stale, *negative_ttl, *deleted;
};

struct yaml_tag_rule {
    char *repository, *tag;
    struct yaml_tags tags; /* in the file these keys stand beside the others */
};

struct yaml_credentials {
    struct cred_options options;
    int args_count; /* of options.args */
};

struct yaml_endpoint {
    char *url, *ns, *credentials;
};

struct yaml_upstream {
    char *name;
    struct yaml_endpoint endpoints[CONFIG_ENDPOINTS_MAX]; /* in the file: a URL, or a mapping */
    int endpoints_count;
    char *trusted_hosts[CONFIG_TRUSTED_MAX];
    int trusted_hosts_count;
    char *access;
    struct yaml_credentials credentials[CONFIG_CREDENTIALS_MAX]; /* in the file: one mapping, or a list of them */
    int credentials_count;
    char *ca, *ca_only, *client_cert, *client_key;
    char *insecure;
    char *parallel, *rate_reserve, *fetch;
    struct yaml_tags tags;
    char *connect_timeout, *stall_timeout;
};

/* Where a key comes from. */
struct yaml_given {
    char path[128];    /* "cache.max_size"; of a list, that of the list */
    char variable[80]; /* of the environment; "": from the file */
    int line;          /* in the file */
};

struct yaml_config {
    yaml_document_t document;
    yaml_document_t *variables; /* what of the environment is YAML */
    int variables_count;
    struct yaml_given *given;
    int given_count;
    struct yaml_listen listen[CONFIG_LISTEN_MAX];
    int listen_count;
    struct {
        char *address, *cert, *key, *tunnel;
    } intercept;
    char *intercept_hosts[CONFIG_UPSTREAMS_MAX];
    int intercept_hosts_count;
    char *intercept_allow[CONFIG_ALLOW_MAX];
    int intercept_allow_count;
    char *policy_allow[CONFIG_RULES_MAX], *policy_deny[CONFIG_RULES_MAX];
    int policy_allow_count, policy_deny_count;
    struct {
        char *etcd_prefix, *etcd_ca, *etcd_cert, *etcd_key, *username, *password_file, *dns; /* peers */
        char *advertise, *listen, *zone, *cert, *key, *ca, *secret_file;
        char *s3, *bucket, *prefix, *region, *shared_ca, *keep_private; /* shared */
        struct yaml_credentials credentials;
    } cluster;
    char *cluster_etcd[CONFIG_ETCD_MAX], *cluster_order[2];
    int cluster_etcd_count, cluster_order_count;
    struct {
        char *socket;
    } admin;
    struct {
        char *address;
    } metrics;
    char *workers, *fetchers;
    struct {
        char *level, *format;
    } log;
    struct {
        char *path, *format;
    } access_log;
    struct {
        char *path, *max_size, *min_free, *blob_max, *fetch, *readahead;
    } cache;
    struct {
        char *policy, *high, *low, *grace, *interval;
    } gc;
    struct yaml_tags tags;
    struct yaml_tag_rule rules[CONFIG_RULES_MAX];
    int rules_count;
    struct {
        char *login, *grant_ttl, *login_for;
    } clients;
    char *hosts[CONFIG_HOSTS_MAX];
    int hosts_count;
    struct {
        char *connections, *per_client, *misses, *relays;
    } limits;
    char *offline, *upstreams_any;
    struct yaml_upstream upstreams[YAML_UPSTREAMS_MAX];
    int upstreams_count;
};

/* Parses; NULL with an error (ERR_INVALID) that names line and key. An empty text has no key. */
struct yaml_config *config_yaml_parse(const char *text, size_t len, struct err *err);
void config_yaml_free(struct yaml_config *y);
/* Sets the key or section at `path`, one of config_yaml_each_key(), to the value of a variable of the environment.
 * Both are borrowed. The sections that lead to a key should be set before it. */
bool config_yaml_set(struct yaml_config *y, const char *path, const char *variable, const char *text, struct err *err);
/* Every key that is in no list, and every section. */
void config_yaml_each_key(void (*fn)(void *arg, const char *path), void *arg);
/* Whether a key is this one, or in it: "tags.rules[0].ttl" is in "tags" and in "tags.rules". */
static inline bool config_path_is_in(const char *path, const char *whole)
{
    size_t len = strlen(whole);

    return strncmp(whole, path, len) == 0 && (path[len] == '\0' || path[len] == '.' || path[len] == '[');
}

/* What `path`, or the list around it, comes from; NULL: it is not given. */
const struct yaml_given *config_yaml_given(const struct yaml_config *y, const char *path);

/* ---- document.c ---- */

/* The document is the caller's, unless it fails. */
bool config_document_parse(yaml_document_t *out, const char *text, size_t len, struct err *err);
/* The line (from 1) of the key or entry at `path` ("gc.low", "upstreams[1].tags.ttl"); if it is not there, the line of
 * the nearest thing around it. For messages. */
int config_yaml_line(struct yaml_config *y, const char *path);

#endif
