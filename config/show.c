/* Shows a configuration: as JSON, which is printed as YAML, too. */
#include "config/config.h"

#include "base/ref.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* ---- as JSON ---- */

static json_t *show_text(const char *s)
{
    json_t *j = json_string(s);

    return j ? j : json_string("(not UTF-8)");
}

static json_t *amount(const struct amount *a)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    int64_t n = a->bytes;
    size_t unit = 0;

    if (n < 0)
        return json_sprintf("%.10g%%", a->percent);
    while (n > 0 && n % 1024 == 0 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    return json_sprintf("%lld%s", (long long)n, units[unit]);
}

static json_t *duration(int64_t ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;

    if (ms >= CONFIG_NEVER_MS)
        return json_string("never");
    while (ms == 0 ? i < 3 : ms % units[i].ms != 0)
        i++;
    return json_sprintf("%lld%s", (long long)(ms / units[i].ms), units[i].unit);
}

/* Adds the keys that are set here to an object that may have others. */
static void add_tags(json_t *j, const struct config_tags *t)
{
    if (t->ttl_ms >= 0)
        json_object_set_new(j, "ttl", duration(t->ttl_ms));
    if (t->max_stale_ms >= 0)
        json_object_set_new(j, "max_stale", duration(t->max_stale_ms));
    if (t->negative_ttl_ms >= 0)
        json_object_set_new(j, "negative_ttl", duration(t->negative_ttl_ms));
    if (t->keep_deleted >= 0)
        json_object_set_new(j, "deleted", json_string(t->keep_deleted ? "keep" : "drop"));
}

static json_t *clients(const struct config *c)
{
    static const char *const logins[] = {"auto", "on", "off"};
    json_t *j = json_pack("{s:s, s:o, s:s*}", "login", logins[c->login], "grant_ttl", duration(c->grant_ttl_ms),
                          "login_for", c->login_for);
    json_t *hosts = json_array();

    for (int i = 0; c->hosts[i]; i++)
        json_array_append_new(hosts, show_text(c->hosts[i]));
    if (c->hosts[0])
        json_object_set(j, "hosts", hosts);
    json_decref(hosts);
    return j;
}

static json_t *tags(const struct config *c)
{
    json_t *j = json_object(), *rules = json_array();

    add_tags(j, &c->tags);
    for (int i = 0; i < c->tag_rule_count; i++) {
        json_t *rule = json_object();
        if (c->tag_rules[i].repository)
            json_object_set_new(rule, "repository", show_text(c->tag_rules[i].repository));
        if (c->tag_rules[i].tag)
            json_object_set_new(rule, "tag", show_text(c->tag_rules[i].tag));
        add_tags(rule, &c->tag_rules[i].tags);
        json_array_append_new(rules, rule);
    }
    if (c->tag_rule_count > 0)
        json_object_set(j, "rules", rules);
    json_decref(rules);
    return j;
}

/* There is no secret in them: those are in files, or in the environment. */
static json_t *credentials(const struct cred_options *o)
{
    json_t *j = json_object(), *args = json_array();

#define X(key)                                                                                                         \
    if (o->key)                                                                                                        \
        json_object_set_new(j, #key, show_text(o->key));
    CRED_KEYS(X)
#undef X
    for (int i = 0; o->args[i]; i++)
        json_array_append_new(args, show_text(o->args[i]));
    if (o->args[0])
        json_object_set(j, "args", args);
    json_decref(args);
    return j;
}

/* As short as it can be written. */
static json_t *endpoint(const struct config_upstream *u, int i)
{
    bool ns_is_set = u->endpoint_ns[i] != UPSTREAM_NS_AUTO;

    if (!ns_is_set && !u->endpoint_logins[i])
        return show_text(u->endpoints[i]);
    json_t *j = json_pack("{s:o}", "url", show_text(u->endpoints[i]));
    if (ns_is_set)
        json_object_set_new(j, "ns", json_boolean(u->endpoint_ns[i] == UPSTREAM_NS_ON));
    if (u->endpoint_logins[i])
        json_object_set_new(j, "credentials", json_true());
    return j;
}

static json_t *upstream(const struct config_upstream *u)
{
    json_t *j = json_pack("{s:o}", "name", show_text(u->name)), *endpoints = json_array();

    for (int i = 0; u->endpoints[i]; i++)
        json_array_append_new(endpoints, endpoint(u, i));
    if (u->endpoints[0])
        json_object_set(j, "endpoints", endpoints);
    json_decref(endpoints);
    json_t *trusted = json_array();
    for (int i = 0; u->trusted_hosts[i]; i++)
        json_array_append_new(trusted, show_text(u->trusted_hosts[i]));
    if (u->trusted_hosts[0])
        json_object_set(j, "trusted_hosts", trusted);
    json_decref(trusted);
    json_object_set_new(j, "access", json_string(u->client_access ? "client" : "shared"));
    json_t *identities = json_array();
    for (int i = 0; i < u->credentials_count; i++)
        json_array_append_new(identities, credentials(&u->credentials[i]));
    if (u->credentials_count > 0)
        json_object_set(j, "credentials", u->credentials_count > 1 ? identities : json_array_get(identities, 0));
    json_decref(identities);
    if (u->trust.ca) {
        json_object_set_new(j, "ca", show_text(u->trust.ca));
        json_object_set_new(j, "ca_only", json_boolean(u->trust.ca_only));
    }
    if (u->trust.client_cert)
        json_object_set_new(j, "client_cert", show_text(u->trust.client_cert));
    if (u->trust.client_key)
        json_object_set_new(j, "client_key", show_text(u->trust.client_key));
    json_object_set_new(j, "insecure", json_boolean(u->insecure));
    json_object_set_new(j, "parallel", json_integer(u->parallel));
    if (u->fetch != CONFIG_FETCH_UNSET)
        json_object_set_new(j, "fetch", json_string(CONFIG_FETCHES[u->fetch]));
    json_object_set_new(j, "rate_reserve", json_integer(u->rate_reserve));
    json_t *own = json_object();
    add_tags(own, &u->tags);
    if (json_object_size(own) > 0)
        json_object_set(j, "tags", own);
    json_decref(own);
    json_object_set_new(j, "connect_timeout", duration(u->connect_timeout_ms));
    json_object_set_new(j, "stall_timeout", duration(u->stall_timeout_ms));
    return j;
}

bool config_upstream_is_same(const struct config_upstream *a, const struct config_upstream *b)
{
    static const char *const others[] = {"tags", "fetch", "parallel"};
    json_t *first = upstream(a), *second = upstream(b);

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        json_object_del(first, others[i]);
        json_object_del(second, others[i]);
    }
    bool same = json_equal(first, second);
    json_decref(first);
    json_decref(second);
    return same;
}

static json_t *listener(const struct config *c, int i)
{
    const struct config_tls *t = &c->listen_tls[i];
    json_t *j = json_pack("{s:o}", "address", show_text(c->listen[i]));

    if (c->listen_upstream[i])
        json_object_set_new(j, "upstream", show_text(c->listen_upstream[i]));
    if (c->listen_intercept[i])
        json_object_set_new(j, "intercept", json_true());
    if (!t->cert)
        return j;
    json_t *tls = json_pack("{s:o, s:o}", "cert", show_text(t->cert), "key", show_text(t->key));
    if (t->client_ca)
        json_object_set_new(tls, "client_ca", show_text(t->client_ca));
    json_object_set_new(j, "tls", tls);
    return j;
}

/* The keys that say something, and no section without them: a cache that intercepts nothing has nothing to show. */
static json_t *intercept(const struct config *c)
{
    const struct config_intercept *i = &c->intercept;
    json_t *hosts = json_array(), *allow = json_array();
    char net[CIDR_TEXT];

    for (int k = 0; i->hosts[k]; k++)
        json_array_append_new(hosts, show_text(i->hosts[k]));
    for (int k = 0; k < i->allow_count; k++)
        json_array_append_new(allow, json_string(cidr_format(&i->allow[k], net)));
    json_t *j = json_object();
    if (i->address)
        json_object_set_new(j, "address", show_text(i->address));
    json_object_set_new(j, "ca", json_pack("{s:o, s:o}", "cert", show_text(i->cert), "key", show_text(i->key)));
    if (i->hosts[0])
        json_object_set(j, "hosts", hosts);
    json_object_set_new(j, "tunnel", json_string(i->tunnel ? "any" : "none"));
    json_object_set(j, "allow", allow);
    json_decref(hosts);
    json_decref(allow);
    return j;
}

static void add_patterns(json_t *j, const char *key, const struct config_image_pattern *list)
{
    json_t *texts = json_array();

    for (; list->text; list++)
        json_array_append_new(texts, show_text(list->text));
    if (json_array_size(texts) > 0)
        json_object_set(j, key, texts);
    json_decref(texts);
}

static json_t *policy(const struct config *c)
{
    json_t *j = json_object();

    add_patterns(j, "allow", c->policy.allow);
    add_patterns(j, "deny", c->policy.deny);
    return j;
}

static void show_add_text(json_t *j, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(j, key, show_text(text));
}

/* Unless there is nothing in it. */
static void add_section(json_t *j, const char *key, json_t *section)
{
    if (json_is_array(section) ? json_array_size(section) > 0 : json_object_size(section) > 0)
        json_object_set(j, key, section);
    json_decref(section);
}

static json_t *show_peers(const struct config_cluster *c)
{
    json_t *j = json_object(), *etcd = json_array();

    for (int i = 0; c->etcd[i]; i++)
        json_array_append_new(etcd, show_text(c->etcd[i]));
    add_section(j, "etcd", etcd);
    show_add_text(j, "prefix", c->prefix);
    show_add_text(j, "ca", c->etcd_trust.ca);
    show_add_text(j, "cert", c->etcd_trust.client_cert);
    show_add_text(j, "key", c->etcd_trust.client_key);
    show_add_text(j, "username", c->username);
    show_add_text(j, "password_file", c->password_file);
    show_add_text(j, "dns", c->dns);
    return j;
}

static json_t *show_shared(const struct config_shared *s)
{
    json_t *j = json_object();

    if (!s->s3)
        return j;
    show_add_text(j, "s3", s->s3);
    show_add_text(j, "bucket", s->bucket);
    json_object_set_new(j, "prefix", show_text(s->prefix)); /* "" is not the default */
    show_add_text(j, "region", s->region);
    add_section(j, "credentials", credentials(&s->credentials));
    show_add_text(j, "ca", s->ca);
    json_object_set_new(j, "private", json_boolean(s->keep_private));
    return j;
}

/* What is set; without a cluster that is nothing. */
static json_t *show_cluster(const struct config_cluster *c)
{
    static const char *const tiers[] = {[TIER_PEERS] = "peers", [TIER_SHARED] = "shared"};
    json_t *j = json_object(), *tls = json_object(), *order = json_array();

    add_section(j, "peers", show_peers(c));
    show_add_text(j, "advertise", c->advertise);
    show_add_text(j, "listen", c->listen);
    show_add_text(j, "zone", c->zone);
    show_add_text(tls, "cert", c->tls.cert);
    show_add_text(tls, "key", c->tls.key);
    show_add_text(tls, "ca", c->tls.client_ca);
    add_section(j, "tls", tls);
    show_add_text(j, "secret_file", c->secret_file);
    add_section(j, "shared", show_shared(&c->shared));
    for (size_t i = 0; i < ARRAY_LEN(c->order) && c->order[i] != TIER_NONE; i++)
        json_array_append_new(order, json_string(tiers[c->order[i]]));
    add_section(j, "order", order);
    return j;
}

json_t *config_json(const struct config *c)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"}, *const formats[] = {"text", "json",
                                                                                                "journal"};
    json_t *j = json_object(), *listen = json_array(), *upstreams = json_array();

    for (int i = 0; c->listen[i]; i++)
        json_array_append_new(listen, listener(c, i));
    for (int i = 0; i < c->upstream_count; i++)
        json_array_append_new(upstreams, upstream(&c->upstreams[i]));
    json_object_set_new(j, "listen", listen);
    if (config_intercepts(c))
        json_object_set_new(j, "intercept", intercept(c));
    if (config_has_policy(c))
        json_object_set_new(j, "policy", policy(c));
    add_section(j, "cluster", show_cluster(&c->cluster));
    json_object_set_new(j, "admin", json_pack("{s:o}", "socket", show_text(c->admin_socket)));
    if (c->metrics_address)
        json_object_set_new(j, "metrics", json_pack("{s:o}", "address", show_text(c->metrics_address)));
    json_object_set_new(j, "workers", json_integer(c->workers));
    json_object_set_new(j, "fetchers", json_integer(c->fetchers));
    json_object_set_new(j, "log",
                        json_pack("{s:s, s:s}", "level", levels[c->log_level], "format", formats[c->log_format]));
    if (c->access_log.path)
        json_object_set_new(j, "access_log",
                            json_pack("{s:o, s:s}", "path", show_text(c->access_log.path), "format",
                                      c->access_log.common ? "common" : "json"));
    json_object_set_new(j, "cache",
                        json_pack("{s:o, s:o, s:o, s:o, s:s, s:i}", "path", show_text(c->cache_path), "max_size",
                                  amount(&c->max_size), "min_free", amount(&c->min_free), "blob_max",
                                  amount(&(struct amount){.bytes = c->blob_max}), "fetch", CONFIG_FETCHES[c->fetch],
                                  "readahead", c->readahead));
    json_object_set_new(j, "gc",
                        json_pack("{s:s, s:o, s:o, s:o, s:o}", "policy", c->gc_lru ? "lru" : "gdsf", "high",
                                  json_sprintf("%.10g%%", c->gc_high), "low", json_sprintf("%.10g%%", c->gc_low),
                                  "grace", duration(c->gc_grace_ms), "interval", duration(c->gc_interval_ms)));
    json_object_set_new(j, "tags", tags(c));
    json_object_set_new(j, "clients", clients(c));
    json_object_set_new(j, "limits",
                        json_pack("{s:i, s:i, s:i, s:i}", "connections", c->limits.connections, "per_client",
                                  c->limits.per_client, "misses", c->limits.misses, "relays", c->limits.relays));
    json_object_set_new(j, "offline", json_boolean(c->offline));
    json_object_set_new(j, "upstreams_any", json_boolean(c->upstreams_any));
    json_object_set_new(j, "upstreams", upstreams);
    return j;
}

/* ---- as YAML ---- */

/* Whether every YAML parser reads it as this text without quotes. A JSON string is valid YAML, too. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    size_t safe = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./%-");
    char *end;

    if (strncmp(s, "https://", 8) == 0 || strncmp(s, "http://", 7) == 0)
        return strpbrk(s, "[]{},#\\\"' ") == NULL;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    (void)strtod(s, &end);
    return safe > 0 && s[safe] == '\0' && (isalnum((unsigned char)*s) || *s == '/') && *end;
}

/* Prints a configuration, `path` being where it is; `c` NULL: without sources. */
struct printing {
    const struct config *c;
    struct buf *out;
    char path[128];
    int lists; /* around it; what they contain has their source */
};

/* Behind the value, or behind the key of a list. */
static void print_origin(struct printing *p)
{
    const struct config_source *s = p->c && p->lists == 0 ? config_source_of(p->c, p->path) : NULL;

    if (!p->c || p->lists > 0)
        return;
    if (!s)
        buf_adds(p->out, "  # default");
    else if (s->option || s->variable)
        buf_addf(p->out, "  # %s", s->option ? s->option : s->variable);
    else
        buf_addf(p->out, "  # %s:%d", p->c->file, s->line);
}

static void print_value(struct printing *p, const json_t *value)
{
    _cleanup_free_ char *quoted = json_dumps(value, JSON_ENCODE_ANY);
    const char *s = json_string_value(value);

    buf_adds(p->out, s && is_plain(s) ? s : quoted);
    print_origin(p);
    buf_adds(p->out, "\n");
}

static void print_part(struct printing *p, const json_t *part, int indent);

static void print_entry(struct printing *p, const json_t *value, int indent)
{
    if (json_is_object(value) || json_is_array(value)) {
        if (json_is_array(value))
            print_origin(p);
        buf_adds(p->out, "\n");
        print_part(p, value, indent + 2);
    } else {
        buf_adds(p->out, " ");
        print_value(p, value);
    }
}

static void print_entries(struct printing *p, const json_t *list, int indent)
{
    json_t *value;
    size_t i;

    p->lists++;
    json_array_foreach(list, i, value) {
        buf_addf(p->out, "%*s-", indent, "");
        if (!json_is_object(value)) {
            print_entry(p, value, indent);
            continue;
        }
        /* an entry's first key stands beside its dash */
        struct buf entry = {0}, *whole = p->out;
        p->out = &entry;
        print_part(p, value, indent + 2);
        p->out = whole;
        buf_adds(whole, entry.data + indent + 1);
        buf_free(&entry);
    }
    p->lists--;
}

/* Recursion is as deep as what config_json() makes. */
static void print_part(struct printing *p, const json_t *part, int indent)
{
    const size_t len = strlen(p->path);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)part, key, value) {
        buf_addf(p->out, "%*s%s:", indent, "", key);
        snprintf(p->path + len, sizeof(p->path) - len, "%s%s", len ? "." : "", key);
        print_entry(p, value, indent);
        p->path[len] = '\0';
    }
    print_entries(p, part, indent);
}

static void print_all(const struct config *c, bool sources, struct buf *out)
{
    json_t *j = config_json(c);
    struct printing p = {.c = sources ? c : NULL, .out = out};

    buf_addf(out, "# from %s\n", c->file ? c->file : "the built-in defaults");
    print_part(&p, j, 0);
    json_decref(j);
}

void config_print(const struct config *c, struct buf *out)
{
    print_all(c, false, out);
}

void config_print_sources(const struct config *c, struct buf *out)
{
    print_all(c, true, out);
}
