/* Looking things up in a configuration, and showing it. */
#include "proxy/config.h"

#include <string.h>
#include <strings.h>

/* A `*` stands for anything but a slash; hosts have none. */
static bool matches(const char *pattern, const char *host)
{
    for (; *pattern; pattern++, host++) {
        if (*pattern == '*') {
            for (const char *rest = host; *rest; rest++)
                if (matches(pattern + 1, rest + 1))
                    return true;
            return false;
        }
        if (*pattern != *host)
            return false;
    }
    return *host == '\0';
}

const struct config_upstream *config_find_upstream(const struct config *c, const char *host)
{
    for (int i = 0; i < c->upstream_count; i++)
        if (strcasecmp(c->upstreams[i].name, host) == 0)
            return &c->upstreams[i];
    for (int i = 0; i < c->upstream_count; i++)
        if (strchr(c->upstreams[i].name, '*') && matches(c->upstreams[i].name, host))
            return &c->upstreams[i];
    return NULL;
}

static void amount(struct buf *b, const char *key, const struct amount *a)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    int64_t n = a->bytes;
    size_t unit = 0;

    if (n < 0) {
        buf_addf(b, "  %s: %g%%\n", key, a->percent);
        return;
    }
    while (n > 0 && n % 1024 == 0 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    buf_addf(b, "  %s: %lld%s\n", key, (long long)n, units[unit]);
}

static void duration(struct buf *b, const char *indent, const char *key, int64_t ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;

    while (ms % units[i].ms != 0 || (ms == 0 && i + 2 < ARRAY_LEN(units)))
        i++;
    buf_addf(b, "%s%s: %lld%s\n", indent, key, (long long)(ms / units[i].ms), units[i].unit);
}

static void upstream(struct buf *b, const struct config_upstream *u)
{
    buf_addf(b, "  - name: \"%s\"\n", u->name);
    if (u->endpoints[0])
        buf_adds(b, "    endpoints:\n");
    for (int i = 0; u->endpoints[i]; i++)
        buf_addf(b, "      - %s\n", u->endpoints[i]);
    if (u->username)
        buf_addf(b, "    credentials: {username: \"%s\", password_file: \"%s\"}\n", u->username, u->password_file);
    if (u->ca)
        buf_addf(b, "    ca: \"%s\"\n", u->ca);
    if (u->insecure)
        buf_adds(b, "    insecure: true\n");
    if (u->tags_ttl_ms >= 0) {
        buf_adds(b, "    tags:\n");
        duration(b, "      ", "ttl", u->tags_ttl_ms);
    }
    duration(b, "    ", "connect_timeout", u->connect_timeout_ms);
    duration(b, "    ", "stall_timeout", u->stall_timeout_ms);
}

void config_print(const struct config *c, struct buf *b)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"}, *const formats[] = {"text", "json",
                                                                                                "journal"};

    buf_addf(b, "# from %s\nlisten:\n", c->file ? c->file : "the built-in defaults");
    for (int i = 0; c->listen[i]; i++)
        buf_addf(b, "  - address: \"%s\"\n", c->listen[i]);
    buf_addf(b, "admin: {socket: \"%s\"}\n", c->admin_socket);
    if (c->metrics_address)
        buf_addf(b, "metrics: {address: \"%s\"}\n", c->metrics_address);
    buf_addf(b, "workers: %d\nfetchers: %d\n", c->workers, c->fetchers);
    buf_addf(b, "log: {level: %s, format: %s}\n", levels[c->log_level], formats[c->log_format]);
    buf_addf(b, "cache:\n  path: \"%s\"\n", c->cache_path);
    amount(b, "max_size", &c->max_size);
    amount(b, "min_free", &c->min_free);
    buf_addf(b, "  fetch: whole\ngc:\n  policy: %s\n  high: %g%%\n  low: %g%%\n", c->gc_lru ? "lru" : "gdsf",
             c->gc_high, c->gc_low);
    duration(b, "  ", "grace", c->gc_grace_ms);
    duration(b, "  ", "interval", c->gc_interval_ms);
    buf_adds(b, "tags:\n");
    duration(b, "  ", "ttl", c->tags_ttl_ms);
    duration(b, "  ", "max_stale", c->tags_max_stale_ms);
    duration(b, "  ", "negative_ttl", c->tags_negative_ttl_ms);
    buf_addf(b, "offline: %s\nupstreams_any: %s\nupstreams:\n", c->offline ? "true" : "false",
             c->upstreams_any ? "true" : "false");
    for (int i = 0; i < c->upstream_count; i++)
        upstream(b, &c->upstreams[i]);
}
