#include "proxy/config.h"

#include "proxy/config_yaml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20, SECRET_MAX = 64 << 10, FETCHERS_MAX = 16, WORKERS_LIMIT = 8 };

static const char *const WELL_KNOWN[] = {
    "docker.io",      "ghcr.io",
    "quay.io",        "registry.k8s.io",
    "gcr.io",         "mcr.microsoft.com",
    "public.ecr.aws", "registry.gitlab.com",
    "*.pkg.dev",      "*.dkr.ecr.*.amazonaws.com",
    "*.azurecr.io",
};

/* ---- values ---- */

bool config_parse_amount(const char *text, struct amount *out)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    double n = strtod(text, &end);
    end += strspn(end, " ");
    *out = (struct amount){.bytes = -1, .percent = n};
    if (strcmp(end, "%") == 0)
        return n <= 100;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].unit) == 0) {
            double bytes = n * (double)((int64_t)1 << units[i].shift);
            out->percent = 0;
            out->bytes = (int64_t)bytes;
            return bytes < 9e18;
        }
    return false;
}

bool config_parse_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    double n = strtod(text, &end);
    if (n == 0 && *end == '\0') {
        *ms = 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ms = (int64_t)(n * units[i].ms);
            return n * units[i].ms < 1e15;
        }
    return false;
}

/* ---- reading the file ---- */

struct reading {
    struct config *c;
    const char *file, *text;
    struct err *err;
};

static bool bad(struct reading *r, const char *section, int nth, const char *key, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

static bool bad(struct reading *r, const char *section, int nth, const char *key, const char *fmt, ...)
{
    char why[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return err_set(r->err, ERR_INVALID, "%s: line %d: %s%s%s: %s", r->file,
                   config_yaml_line(r->text, section, nth, key), section ? section : "", section ? "." : "", key, why);
}

static void set(char **to, const char *text)
{
    free(*to);
    *to = text ? xstrdup(text) : NULL;
}

static bool take_duration(struct reading *r, const char *section, int nth, const char *key, const char *text,
                          int64_t *ms)
{
    if (!text || config_parse_duration(text, ms))
        return true;
    return bad(r, section, nth, key, "\"%s\" is not a time such as 500ms, 30s, 5m, 1h, 30d", text);
}

static bool take_amount(struct reading *r, const char *section, const char *key, const char *text, struct amount *out)
{
    if (!text || config_parse_amount(text, out))
        return true;
    return bad(r, section, 0, key, "\"%s\" is not a size such as 500MiB, 2TiB, 80%%", text);
}

static bool take_percent(struct reading *r, const char *key, const char *text, double *out)
{
    struct amount a;

    if (!text)
        return true;
    if (!config_parse_amount(text, &a) || a.bytes >= 0)
        return bad(r, "gc", 0, key, "\"%s\" is not a percentage such as 95%%", text);
    *out = a.percent;
    return true;
}

/* One of a list of words; *index stays as it is when there is no text. */
static bool take_word(struct reading *r, const char *section, int nth, const char *key, const char *text,
                      const char *const *words, int *index)
{
    if (!text)
        return true;
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) {
            *index = i;
            return true;
        }
    return bad(r, section, nth, key, "\"%s\" is none of the words that are possible here", text);
}

/* libcyaml would take any word for a yes. */
static bool take_bool(struct reading *r, const char *section, int nth, const char *key, const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
    int index = *out ? 1 : 0;

    if (!take_word(r, section, nth, key, text, words, &index))
        return false;
    *out = index % 2 == 1;
    return true;
}

static bool unsupported(struct reading *r, const char *section, int nth, const char *key)
{
    return bad(r, section, nth, key, "not supported by version " ENTREPOT_VERSION " yet");
}

static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:/", 6) == 0)
        return true;
    if (!colon || !isdigit((unsigned char)colon[1]))
        return false;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    return *end == '\0' && port >= 0 && port <= 65535;
}

static bool take_listen(struct reading *r, const struct yaml_config *y)
{
    for (uint32_t i = 0; i < y->listen_count; i++) {
        if (!is_address(y->listen[i].address))
            return bad(r, "listen", (int)i, "address", "\"%s\" is neither ADDR:PORT nor unix:/path",
                       y->listen[i].address);
        if (y->listen[i].tls)
            return unsupported(r, "listen", (int)i, "tls");
        set(&r->c->listen[i], y->listen[i].address);
        set(&r->c->listen[i + 1], NULL);
    }
    if (y->intercept)
        return unsupported(r, NULL, 0, "intercept");
    if (y->metrics && y->metrics->address && !is_address(y->metrics->address))
        return bad(r, "metrics", 0, "address", "\"%s\" is neither ADDR:PORT nor unix:/path", y->metrics->address);
    if (y->metrics && y->metrics->address)
        set(&r->c->metrics_address, y->metrics->address);
    if (y->admin && y->admin->socket)
        set(&r->c->admin_socket, y->admin->socket);
    return true;
}

static bool take_numbers(struct reading *r, const struct yaml_config *y)
{
    struct config *c = r->c;

    if (y->workers && (*y->workers < 0 || *y->workers > WORKERS_LIMIT))
        return bad(r, NULL, 0, "workers", "%d is not between 0 and %d", *y->workers, (int)WORKERS_LIMIT);
    if (y->workers && *y->workers > 0)
        c->workers = *y->workers;
    if (y->fetchers && (*y->fetchers < 1 || *y->fetchers > FETCHERS_MAX))
        return bad(r, NULL, 0, "fetchers", "%d is not between 1 and %d", *y->fetchers, (int)FETCHERS_MAX);
    if (y->fetchers)
        c->fetchers = *y->fetchers;
    return take_bool(r, NULL, 0, "offline", y->offline, &c->offline) &&
           take_bool(r, NULL, 0, "upstreams_any", y->upstreams_any, &c->upstreams_any);
}

static bool take_cache(struct reading *r, const struct yaml_config *y)
{
    static const char *const fetches[] = {"whole", "lazy", NULL}, *const policies[] = {"gdsf", "lru", NULL};
    struct config *c = r->c;
    int fetch = 0, policy = c->gc_lru ? 1 : 0;

    if (y->cache) {
        if (y->cache->path)
            set(&c->cache_path, y->cache->path);
        if (c->cache_path[0] != '/')
            return bad(r, "cache", 0, "path", "\"%s\" does not begin with /", c->cache_path);
        if (!take_amount(r, "cache", "max_size", y->cache->max_size, &c->max_size) ||
            !take_amount(r, "cache", "min_free", y->cache->min_free, &c->min_free) ||
            !take_word(r, "cache", 0, "fetch", y->cache->fetch, fetches, &fetch))
            return false;
        if (fetch == 1)
            return unsupported(r, "cache", 0, "fetch");
    }
    if (!y->gc)
        return true;
    if (!take_word(r, "gc", 0, "policy", y->gc->policy, policies, &policy) ||
        !take_percent(r, "high", y->gc->high, &c->gc_high) || !take_percent(r, "low", y->gc->low, &c->gc_low) ||
        !take_duration(r, "gc", 0, "grace", y->gc->grace, &c->gc_grace_ms) ||
        !take_duration(r, "gc", 0, "interval", y->gc->interval, &c->gc_interval_ms))
        return false;
    c->gc_lru = policy == 1;
    if (c->gc_low >= c->gc_high)
        return bad(r, "gc", 0, "low", "%g%% is not under high, %g%%", c->gc_low, c->gc_high);
    if (c->gc_interval_ms < 1000)
        return bad(r, "gc", 0, "interval", "less than 1s");
    return true;
}

static bool take_log_and_tags(struct reading *r, const struct yaml_config *y)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
    static const char *const formats[] = {"text", "json", "journal", NULL};
    struct config *c = r->c;
    int level = (int)c->log_level, format = (int)c->log_format;

    if (y->log && (!take_word(r, "log", 0, "level", y->log->level, levels, &level) ||
                   !take_word(r, "log", 0, "format", y->log->format, formats, &format)))
        return false;
    c->log_level = (enum log_level)level;
    c->log_format = (enum log_format)format;
    return !y->tags || (take_duration(r, "tags", 0, "ttl", y->tags->ttl, &c->tags_ttl_ms) &&
                        take_duration(r, "tags", 0, "max_stale", y->tags->max_stale, &c->tags_max_stale_ms) &&
                        take_duration(r, "tags", 0, "negative_ttl", y->tags->negative_ttl, &c->tags_negative_ttl_ms));
}

/* ---- upstreams ---- */

static void upstream_defaults(struct config_upstream *u)
{
    u->tags_ttl_ms = -1;
    u->connect_timeout_ms = 10000;
    u->stall_timeout_ms = 30000;
    u->parallel = 4;
    u->rate_reserve = 10;
}

static bool read_secret(const char *file, char **out, struct err *err)
{
    char text[SECRET_MAX];
    _cleanup_close_
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (n < 0)
        return err_errno(err, ERR_IO, "reading %s", file);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    *out = xstrndup(text, (size_t)n);
    explicit_bzero(text, sizeof(text));
    return true;
}

static bool take_credentials(struct reading *r, int nth, const struct yaml_credentials *y, struct config_upstream *u)
{
    struct err why;

    if (y->docker_config || y->helper || y->provider)
        return unsupported(r, "upstreams", nth, y->docker_config ? "docker_config" : y->helper ? "helper" : "provider");
    if (!y->username != !y->password_file)
        return bad(r, "upstreams", nth, "credentials", "username and password_file belong together");
    if (!y->username)
        return true;
    set(&u->username, y->username);
    set(&u->password_file, y->password_file);
    return read_secret(u->password_file, &u->password, &why) ||
           bad(r, "upstreams", nth, "password_file", "%s", why.msg);
}

static bool take_endpoint(struct reading *r, int nth, struct config_upstream *u, int i, const char *url)
{
    bool http = strncasecmp(url, "http://", 7) == 0;

    if (!http && strncasecmp(url, "https://", 8) != 0)
        return bad(r, "upstreams", nth, "endpoints", "\"%s\" begins with neither https:// nor http://", url);
    if (http && !u->insecure)
        return bad(r, "upstreams", nth, "endpoints", "\"%s\" is not encrypted: say insecure: true to allow that", url);
    if (strchr(url, '?') || strchr(url, '#') || strchr(url, '@'))
        return bad(r, "upstreams", nth, "endpoints", "an endpoint is scheme, host, port and path");
    set(&u->endpoints[i], url);
    return true;
}

static bool take_upstream(struct reading *r, int nth, const struct yaml_upstream *y)
{
    static const char *const accesses[] = {"shared", "client", NULL};
    struct config_upstream *u = &r->c->upstreams[r->c->upstream_count];
    int access_word = 0;

    for (int i = 0; i < r->c->upstream_count; i++)
        if (strcasecmp(r->c->upstreams[i].name, y->name) == 0)
            return bad(r, "upstreams", nth, "name", "\"%s\" is there twice", y->name);
    r->c->upstream_count++;
    upstream_defaults(u);
    set(&u->name, y->name);
    for (char *p = u->name; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
        if (!isalnum((unsigned char)*p) && !strchr(".-:*[]_", *p))
            return bad(r, "upstreams", nth, "name", "\"%s\" is not a registry's host", y->name);
    }
    if (!take_bool(r, "upstreams", nth, "insecure", y->insecure, &u->insecure))
        return false;
    for (uint32_t i = 0; i < y->endpoints_count; i++)
        if (!take_endpoint(r, nth, u, (int)i, y->endpoints[i]))
            return false;
    if (!take_word(r, "upstreams", nth, "access", y->access, accesses, &access_word))
        return false;
    if (access_word == 1)
        return unsupported(r, "upstreams", nth, "access");
    if (y->ca && access(y->ca, R_OK) != 0)
        return bad(r, "upstreams", nth, "ca", "%s: %s", y->ca, strerror(errno));
    set(&u->ca, y->ca);
    if (y->parallel && (*y->parallel < 1 || *y->parallel > 64))
        return bad(r, "upstreams", nth, "parallel", "%d is not between 1 and 64", *y->parallel);
    u->parallel = y->parallel ? *y->parallel : u->parallel;
    u->rate_reserve = y->rate_reserve ? *y->rate_reserve : u->rate_reserve;
    if (y->tags && !take_duration(r, "upstreams", nth, "ttl", y->tags->ttl, &u->tags_ttl_ms))
        return false;
    return take_duration(r, "upstreams", nth, "connect_timeout", y->connect_timeout, &u->connect_timeout_ms) &&
           take_duration(r, "upstreams", nth, "stall_timeout", y->stall_timeout, &u->stall_timeout_ms) &&
           (!y->credentials || take_credentials(r, nth, y->credentials, u));
}

static void add_well_known(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(WELL_KNOWN) && c->upstream_count < CONFIG_UPSTREAMS_MAX; i++) {
        bool there = false;
        for (int k = 0; k < c->upstream_count; k++)
            there = there || strcmp(c->upstreams[k].name, WELL_KNOWN[i]) == 0;
        if (there)
            continue;
        struct config_upstream *u = &c->upstreams[c->upstream_count++];
        upstream_defaults(u);
        set(&u->name, WELL_KNOWN[i]);
    }
    /* Docker Hub's registry does not live under the name it is known by. */
    for (int i = 0; i < c->upstream_count; i++)
        if (strcmp(c->upstreams[i].name, "docker.io") == 0 && !c->upstreams[i].endpoints[0])
            set(&c->upstreams[i].endpoints[0], "https://registry-1.docker.io");
}

/* ---- the whole ---- */

static bool apply_file(struct config *c, const char *file, struct err *err)
{
    struct yaml_config *y = NULL;
    _cleanup_fclose_
    FILE *f = fopen(file, "re");
    _cleanup_buf_ struct buf text = {0};

    if (!f)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "reading the configuration %s", file);
    size_t n = fread(buf_reserve(&text, FILE_MAX + 1), 1, FILE_MAX + 1, f);
    text.data[MIN(n, (size_t)FILE_MAX)] = '\0';
    if (n > FILE_MAX || memchr(text.data, '\0', n))
        return err_set(err, ERR_INVALID, "%s: not a text of at most 1 MiB", file);
    if (!config_yaml_parse(text.data, n, &y, err))
        return err_wrap(err, "%s", file);
    set(&c->file, file);
    struct reading r = {c, file, text.data, err};
    bool ok = !y || (take_listen(&r, y) && take_numbers(&r, y) && take_log_and_tags(&r, y) && take_cache(&r, y));
    for (uint32_t i = 0; ok && y && i < y->upstreams_count; i++)
        ok = take_upstream(&r, (int)i, &y->upstreams[i]);
    config_yaml_free(y);
    return ok;
}

static void defaults(struct config *c)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    memset(c, 0, sizeof(*c));
    set(&c->listen[0], "127.0.0.1:5000");
    if (geteuid() == 0)
        c->cache_path = xstrdup("/var/lib/entrepot");
    else if (xdg && xdg[0] == '/')
        c->cache_path = xasprintf("%s/entrepot", xdg);
    else
        c->cache_path = xasprintf("%s/.cache/entrepot", home && home[0] == '/' ? home : "/tmp");
    c->workers = (int)MAX(MIN(cores, (long)WORKERS_LIMIT), 1);
    c->fetchers = 2;
    c->log_level = LOG_LEVEL_INFO;
    c->max_size = (struct amount){.bytes = -1, .percent = 80};
    c->min_free = (struct amount){.bytes = -1, .percent = 5};
    c->gc_high = 95;
    c->gc_low = 85;
    c->gc_grace_ms = 3600 * 1000;
    c->gc_interval_ms = 60 * 1000;
    c->tags_ttl_ms = 5 * 60 * 1000;
    c->tags_max_stale_ms = (int64_t)30 * 86400 * 1000;
    c->tags_negative_ttl_ms = 10 * 1000;
}

static bool apply_overrides(struct config *c, const struct config_overrides *o, struct err *err)
{
    if (o->cache) {
        char *full = realpath(o->cache, NULL);
        _cleanup_free_
        char *cwd = getcwd(NULL, 0);
        set(&c->cache_path, full ? full : o->cache);
        if (!full && o->cache[0] != '/') {
            free(c->cache_path);
            c->cache_path = xasprintf("%s/%s", cwd ? cwd : "", o->cache);
        }
        free(full);
    }
    for (int i = 0; o->listen && o->listen[i]; i++) {
        if (i == CONFIG_LISTEN_MAX)
            return err_set(err, ERR_INVALID, "--listen: at most %d", (int)CONFIG_LISTEN_MAX);
        if (!is_address(o->listen[i]))
            return err_set(err, ERR_INVALID, "--listen: \"%s\" is neither ADDR:PORT nor unix:/path", o->listen[i]);
        set(&c->listen[i], o->listen[i]);
        set(&c->listen[i + 1], NULL);
    }
    c->offline = c->offline || o->offline;
    return true;
}

bool config_load(struct config *c, const struct config_overrides *o, struct err *err)
{
    const char *file = o->file;

    defaults(c);
    if (!file && access(CONFIG_DEFAULT_FILE, F_OK) == 0)
        file = CONFIG_DEFAULT_FILE;
    if ((file && !apply_file(c, file, err)) || !apply_overrides(c, o, err)) {
        config_free(c);
        return false;
    }
    if (!c->admin_socket) /* a cache of one's own has its socket with it */
        c->admin_socket =
            geteuid() == 0 && !o->cache ? xstrdup(CONFIG_DEFAULT_SOCKET) : xasprintf("%s/admin.sock", c->cache_path);
    add_well_known(c);
    return true;
}

void config_free(struct config *c)
{
    for (int i = 0; i < CONFIG_LISTEN_MAX; i++)
        free(c->listen[i]);
    for (int i = 0; i < c->upstream_count; i++) {
        struct config_upstream *u = &c->upstreams[i];
        for (int k = 0; k < CONFIG_ENDPOINTS_MAX; k++)
            free(u->endpoints[k]);
        free(u->name);
        free(u->username);
        free(u->password_file);
        if (u->password)
            explicit_bzero(u->password, strlen(u->password));
        free(u->password);
        free(u->ca);
    }
    free(c->file);
    free(c->admin_socket);
    free(c->metrics_address);
    free(c->cache_path);
    memset(c, 0, sizeof(*c));
}
