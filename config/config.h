/* config.h - the configuration: read once at the start (and on SIGHUP), plain values afterwards.
 *
 * A struct config owns its strings; it does not change while threads use it. The file is YAML; every key is
 * optional, unknown keys and impossible values are errors that name file, line and key.
 */
#ifndef ENTREPOT_CONFIG_CONFIG_H
#define ENTREPOT_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/cidr.h"
#include "base/err.h"
#include "base/log.h"
#include "config/credentials.h"
#include "config/trust.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    CONFIG_LISTEN_MAX = 16,
    CONFIG_READAHEAD_MAX = 16,
    CONFIG_UPSTREAMS_MAX = 64,
    CONFIG_ENDPOINTS_MAX = 8,
    CONFIG_HOSTS_MAX = 32,
    CONFIG_TRUSTED_MAX = 32,
    CONFIG_CREDENTIALS_MAX = 8,
    CONFIG_RULES_MAX = 64,
    CONFIG_ALLOW_MAX = 64,
    CONFIG_ETCD_MAX = 8,
};

/* A time that never comes: `ttl: never`. Sums of two of them do not overflow. */
#define CONFIG_NEVER_MS (INT64_MAX / 4)

#define CONFIG_DEFAULT_FILE   "/etc/entrepot/config.yaml"
#define CONFIG_DEFAULT_SOCKET "/run/entrepot/admin.sock"

/* An amount of disk: bytes, or a share of the file system. */
struct amount {
    int64_t bytes;  /* -1 if it is a share */
    double percent; /* of the file system */
};

/* How long tags are fresh, and what happens then. -1: not set here; the next more general place decides. */
struct config_tags {
    int64_t ttl_ms, max_stale_ms, negative_ttl_ms;
    int keep_deleted; /* 1: a tag that upstream deletes is served up to max_stale; 0: it is removed at once */
};
#define CONFIG_TAGS_UNSET ((struct config_tags){-1, -1, -1, -1})

struct config_tag_rule {
    char *repository, *tag; /* patterns (fnmatch(3)) of the full name and the tag; NULL: any */
    struct config_tags tags;
};

/* Which images may be pulled (policy.c). */
struct config_image_pattern {
    char *text;         /* as it was written; NULL ends a list */
    char *name;         /* of full names */
    char *tag, *digest; /* NULL: any */
};

struct config_policy {
    struct config_image_pattern allow[CONFIG_RULES_MAX + 1]; /* none: everything */
    struct config_image_pattern deny[CONFIG_RULES_MAX + 1];  /* beats allow */
};

/* What is asked for. */
struct config_image {
    const char *name;         /* in full */
    const char *tag, *digest; /* one of them, or none: the repository itself */
    bool is_part;             /* a blob or a list: it is the repository that counts */
    /* whether the manifest of that digest lists this one; NULL: no */
    bool (*is_listed_by)(void *arg, const char *digest);
    void *arg;
};

/* Whether an endpoint serves many registries and needs ns= to know which one is meant: another entrepot. */
enum upstream_ns {
    UPSTREAM_NS_AUTO, /* from when it turns out to be one */
    UPSTREAM_NS_ON,
    UPSTREAM_NS_OFF,
};

/* What is fetched of a blob of which only closed ranges are asked for. */
enum config_fetch {
    CONFIG_FETCH_AUTO,  /* those; all of it once a client asks for the whole, or for more than half */
    CONFIG_FETCH_WHOLE, /* all of it */
    CONFIG_FETCH_LAZY,  /* what is asked for, and never more */
    CONFIG_FETCH_UNSET, /* of an upstream: as the cache's */
};

/* The words of enum config_fetch, NULL-terminated. */
extern const char *const CONFIG_FETCHES[];

struct config_upstream {
    char *name;                                /* a host; `*` stands for anything without a slash */
    char *endpoints[CONFIG_ENDPOINTS_MAX + 1]; /* NULL-terminated; none: https://<the requested host> */
    enum upstream_ns endpoint_ns[CONFIG_ENDPOINTS_MAX];
    bool endpoint_logins[CONFIG_ENDPOINTS_MAX]; /* credentials and clients' logins are sent to it, as to the last one */
    char *trusted_hosts[CONFIG_TRUSTED_MAX + 1];             /* NULL-terminated; their addresses may be private */
    struct cred_options credentials[CONFIG_CREDENTIALS_MAX]; /* those that are given come first */
    int credentials_count;
    struct trust trust;
    bool insecure;
    bool client_access; /* clients' own identities alone */
    bool built_in;      /* not in the file */
    bool ad_hoc;        /* not in the configuration; a client has named it (upstreams_any) */
    struct config_tags tags;
    int64_t connect_timeout_ms, stall_timeout_ms;
    int parallel, rate_reserve;
    enum config_fetch fetch;
};

/* Where the value of a key comes from, if not from the defaults. */
struct config_source {
    char *path;         /* "cache.max_size"; of a list, that of the list */
    int line;           /* in the file */
    char *variable;     /* of the environment; NULL: none */
    const char *option; /* of the command line; NULL: none */
};

struct config {
    atomic_int users; /* of one that config_new() made */
    bool is_counted;
    struct config_source *sources;
    int source_count;
    char *ignored;                            /* variables that look like ours, and are no keys; NULL: none */
    char *file;                               /* where it came from; NULL: the built-in defaults */
    char *listen[CONFIG_LISTEN_MAX + 1];      /* NULL-terminated */
    char *listen_upstream[CONFIG_LISTEN_MAX]; /* of each: the one registry it is for; NULL: for all */
    struct config_tls {
        char *cert, *key; /* files; both NULL: plain HTTP */
        char *client_ca;  /* clients need a certificate of one of these authorities; NULL: none */
    } listen_tls[CONFIG_LISTEN_MAX];
    bool listen_intercept[CONFIG_LISTEN_MAX]; /* TLS by name */
    struct config_intercept {
        char *address;                         /* of the forward proxy; NULL: there is none */
        char *cert, *key;                      /* the authority's files */
        char *hosts[CONFIG_UPSTREAMS_MAX + 1]; /* NULL-terminated; none: every upstream */
        bool tunnel;                           /* what is not opened is passed on; else it is refused */
        struct cidr allow[CONFIG_ALLOW_MAX];   /* clients */
        int allow_count;
    } intercept;
    /* other nodes, and a bucket: sources beside the registries (cluster.c) */
    struct config_cluster {
        char *etcd[CONFIG_ETCD_MAX +
                   1]; /* URLs that say who the peers are; NULL-terminated, none: by `dns`, or no peers */
        char *prefix;  /* of the keys there: "/entrepot" */
        char *username, *password_file; /* NULL: none */
        struct trust etcd_trust;
        char *dns;       /* a name whose addresses, or SRV records ("_entrepot._tcp.example.com"), are the peers */
        char *advertise; /* ADDR:PORT, where peers reach this node; NULL: it has no peers */
        char *listen;    /* where that is listened on */
        char *zone;      /* "": none */
        struct config_tls tls; /* mutual TLS between peers, client_ca is cluster.tls.ca; all NULL: none */
        char *secret_file;     /* shared by all nodes; NULL: none */
        struct config_shared {
            char *s3; /* its URL; NULL: there is no bucket */
            char *bucket, *prefix, *region, *ca;
            struct cred_options credentials; /* anonymous, if none is given */
            bool keep_private;               /* private content goes there, too: `private` */
        } shared;
        enum config_tier { TIER_NONE, TIER_PEERS, TIER_SHARED } order[2]; /* who is asked first */
        bool absent[3]; /* by enum config_tier: `order` names it, but it is not configured */
    } cluster;
    char *admin_socket;
    char *metrics_address; /* NULL: on the first listener */
    int workers, fetchers;
    struct config_limits {
        int connections, per_client; /* of clients; per_client: of an address that is not loopback, 0: no limit */
        int misses;                  /* requests that wait for one upstream's answer */
        int relays;                  /* blobs passed on without caching */
    } limits;
    enum log_level log_level;
    enum log_format log_format;
    struct config_access_log {
        char *path;  /* NULL: none; "-": the log */
        bool common; /* format */
    } access_log;
    char *cache_path;
    struct amount max_size, min_free;
    int64_t blob_max; /* bytes */
    int readahead;    /* layers */
    enum config_fetch fetch;
    double gc_high, gc_low; /* percent of max_size */
    int64_t gc_grace_ms, gc_interval_ms;
    bool gc_lru; /* policy */
    struct config_policy policy;
    struct config_tags tags;
    struct config_tag_rule tag_rules[CONFIG_RULES_MAX];
    int tag_rule_count;
    bool offline, upstreams_any;
    int64_t grant_ttl_ms;
    enum config_login { LOGIN_AUTO, LOGIN_ON, LOGIN_OFF } login;
    char *login_for;                   /* the registry of a login that names none; NULL: such a login is not used */
    char *hosts[CONFIG_HOSTS_MAX + 1]; /* patterns of the names under which clients know this node (pages.h) */
    struct config_upstream upstreams[CONFIG_UPSTREAMS_MAX];
    int upstream_count;
};

/* Options of the command line that replace keys of the file. NULL and false: not given. */
struct config_overrides {
    const char *file;          /* --config; NULL: CONFIG_DEFAULT_FILE if there is one, else the defaults */
    const char *cache;         /* --cache */
    const char *const *listen; /* --listen, NULL-terminated */
    bool offline;
    bool no_environment; /* ENTREPOT_… is not looked at */
    bool no_secrets;     /* do not read passwords: a command that only looks for the socket may not be allowed to */
};

/* Errors: ERR_INVALID (file, line and key are in the message), ERR_NOT_FOUND. */
bool config_load(struct config *c, const struct config_overrides *o, struct err *err);
void config_free(struct config *c);
/* The same, counted: it is freed with its last reference, of which the caller has the first. NULL with an error. Any
 * thread may take and return references; of a configuration that is not counted these do nothing. */
struct config *config_new(const struct config_overrides *o, struct err *err);
const struct config *config_ref(const struct config *c);
void config_unref(const struct config *c); /* may be NULL */
/* Whether requests to an upstream would be the same under both: what they say about tags and blobs is not compared. */
bool config_upstream_is_same(const struct config_upstream *a, const struct config_upstream *b);
/* The upstream that serves `host`: the one of that name, else one whose pattern matches, else NULL. Ignores case. A
 * pattern matches well-formed hosts only, so that nothing else can become part of an endpoint. */
const struct config_upstream *config_find_upstream(const struct config *c, const char *host);
/* "nexus.test:8083" becomes "nexus.test" if that upstream has this endpoint, and none goes by the name with the
 * port. */
void config_name_alias(const struct config *c, char *host);
/* Whether a host matches a name or pattern of upstreams; ignores case. The host must be well-formed. */
bool config_host_matches(const char *pattern, const char *host);
/* Whether there is a forward proxy or a listener that intercepts. */
bool config_intercepts(const struct config *c);
/* The hosts and patterns that are intercepted: intercept.hosts, or what of the upstreams' names a certificate can be
 * for, which no address and no pattern such as "*" is. NULL-terminated; config_free_hosts() frees it. */
char **config_intercept_hosts(const struct config *c);
void config_free_hosts(char **hosts);
/* Whether intercept.allow has the client: its address, or none for a unix socket, which is of this machine. */
bool config_may_intercept(const struct config *c, const struct sockaddr *client);
bool config_has_policy(const struct config *c);
/* Whether it may be pulled. If not, *why is the pattern of policy.deny, or "": none of policy.allow has it. */
bool config_admits(const struct config *c, const struct config_image *im, const char **why);
/* The pattern of policy.deny with a digest that this one matches; NULL: there is none. */
const char *config_denies_digest(const struct config *c, const char *name, const char *digest);
/* The settings of a tag of a repository (full name) of this upstream: each key from the first rule that matches and
 * sets it, else from the upstream, else from `tags`. All are set in the result. Any thread. */
struct config_tags config_tags_for(const struct config *c, const struct config_upstream *u, const char *repository,
                                   const char *tag);
/* Appends the effective configuration as YAML, without secrets; config_load() can read it. */
void config_print(const struct config *c, struct buf *out);
/* The same, with where each key comes from as a comment beside it. */
void config_print_sources(const struct config *c, struct buf *out);
/* The same as JSON; the caller decrefs it. */
json_t *config_json(const struct config *c);
/* An object: of each key of config_json() that is in no list, by its path, where it comes from: {"from": "default"},
 * {"from": "file", "file", "line"}, {"from": "environment", "variable"}, {"from": "command line", "option"}. */
json_t *config_sources_json(const struct config *c);
/* A list of what differs, as config_json() shows it: {"key": "upstreams[ghcr.io].parallel", "from", "to", "needs"}, the
 * last "restart" or "reload"; null is what one of them does not have. The caller decrefs it. */
json_t *config_changes(const struct config *from, const struct config *to);
bool config_needs_restart(const char *key);
/* Sets the keys that need a restart to those of `from`; with `listen` that list, too; with `authority` intercept.ca. */
void config_keep(struct config *c, const struct config *from, bool listen, bool authority);
/* Every key and section that the environment can set, with its variable. */
void config_each_variable(void (*fn)(void *arg, const char *path, const char *variable), void *arg);
/* The source of the key at `path`, or of the list around it; NULL: it has its default. */
const struct config_source *config_source_of(const struct config *c, const char *path);

/* The file system of a cache, and how much of it the cache's blobs use. Bytes. */
struct config_disk {
    int64_t total, available, used;
};
/* Blocks. The folder need not exist yet. False if its file system cannot be asked. */
bool config_look_at_disk(const char *path, struct config_disk *disk);
/* What applies to this upstream. */
enum config_fetch config_fetch_for(const struct config *c, const struct config_upstream *u);
/* Warns if cache.max_size or cache.min_free cannot be met on that file system. */
void config_check_limits(const struct config *c, const struct config_disk *d, void (*warn)(void *arg, const char *text),
                         void *arg);

/* Whether others would accept the certificate of cluster.tls, if there is one. Errors: ERR_INVALID, ERR_IO. */
bool config_verify_cluster_tls(const struct config_cluster *c, struct err *err);
/* Warns of what else in `cluster` does not do what it seems to. */
void config_check_cluster(const struct config_cluster *c, void (*warn)(void *arg, const char *text), void *arg);
/* Whether HOST:PORT is of this machine alone. */
bool config_is_loopback(const char *address);

/* "500MiB", "2TiB", "80%"; "5m", "30d". False if they are neither. */
bool config_parse_amount(const char *text, struct amount *out);
bool config_parse_duration(const char *text, int64_t *ms);
/* Whether it is ADDR:PORT, [v6]:PORT, *:PORT or unix:/path, with a numeric address or "localhost". */
bool config_is_address(const char *text);
/* What is wrong with an upstream's endpoint, as a text that follows the URL; NULL: nothing. */
const char *config_endpoint_fault(const char *url, bool insecure);

#endif
