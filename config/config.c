#include "config/read.h"

#include "base/ref.h"
#include "base/tls_files.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { GRANT_TTL_MAX_MS = 300 * 1000, FILE_MAX = 1 << 20, FETCHERS_MAX = 16, WORKERS_LIMIT = 8, LIMIT_MAX = 1 << 20 };

/* ---- sections of the file ---- */

static bool take_amount(struct config_reading *r, const char *section, const char *key, const char *text,
                        struct amount *out)
{
    if (!text || config_parse_amount(text, out))
        return true;
    return config_bad(r, section, 0, key, "\"%s\" is not a size such as 500MiB, 2TiB, 80%%", text);
}

static bool take_percent(struct config_reading *r, const char *key, const char *text, double *out)
{
    struct amount a;

    if (!text)
        return true;
    if (!config_parse_amount(text, &a) || a.bytes >= 0)
        return config_bad(r, "gc", 0, key, "\"%s\" is not a percentage such as 95%%", text);
    *out = a.percent;
    return true;
}

/* Files are looked at now: a certificate without its key is an error before anything listens. A command that only looks
 * for the socket may not be allowed to read the key. */
static bool take_tls(struct config_reading *r, int nth, const struct yaml_listen *y)
{
    const struct tls_files files = {y->tls.cert, y->tls.key, y->tls.client_ca};
    struct config_tls *t = &r->c->listen_tls[nth];
    const char *fault;
    char key[32];
    struct err err;

    if (!files.cert && !files.key && !files.client_ca)
        return true;
    if (!files.cert || !files.key)
        return config_bad(r, "listen", nth, "tls", "there is no %s: TLS needs both cert and key",
                          files.cert ? "key" : "cert");
    if (strncmp(y->address, "unix:", 5) == 0)
        return config_bad(r, "listen", nth, "tls", "a unix socket is plain HTTP");
    if (!r->no_secrets && !tls_files_check(&files, &fault, &err)) {
        snprintf(key, sizeof(key), "tls.%s", fault);
        return config_bad(r, "listen", nth, key, "%s", err.msg);
    }
    config_set(&t->cert, files.cert);
    config_set(&t->key, files.key);
    config_set(&t->client_ca, files.client_ca);
    return true;
}

static bool take_listen(struct config_reading *r, const struct yaml_config *y)
{
    struct config *c = r->c;

    if (y->listen_count > 0)
        config_set(&c->listen[0], NULL);
    for (int i = 0; i < y->listen_count; i++) {
        if (!config_take_address(r, "listen", i, y->listen[i].address))
            return false;
        if (!take_tls(r, i, &y->listen[i]) || !config_take_listen_intercept(r, i, &y->listen[i]))
            return false;
        config_set(&c->listen[i], y->listen[i].address);
        config_set(&c->listen_upstream[i], y->listen[i].upstream);
    }
    if (!config_take_intercept(r, y))
        return false;
    if (y->metrics.address) {
        if (!config_take_address(r, "metrics", 0, y->metrics.address))
            return false;
        config_set(&c->metrics_address, y->metrics.address);
    }
    if (!y->admin.socket)
        return true;
    config_set(&c->admin_socket, y->admin.socket);
    _cleanup_free_ char *address = xasprintf("unix:%s", c->admin_socket);
    if (config_is_listened_on(c, address))
        return config_bad(r, "admin", 0, "socket", "\"%s\" is listed twice", c->admin_socket);
    return config_is_address(address) ||
           config_bad(r, "admin", 0, "socket", "\"%s\" does not begin with /, or is too long for a socket",
                      c->admin_socket);
}

/* A key that names one registry. `any`: it need not be configured (upstreams_any). */
static bool check_registry(struct config_reading *r, const char *section, int nth, const char *key, char *name,
                           bool any)
{
    if (!name)
        return true;
    ref_canonical_host(name);
    if (!ref_host_valid(name, strlen(name)) || strlen(name) > REF_HOST_MAX)
        return config_bad(r, section, nth, key, "\"%s\" is not a registry's host", name);
    return any || config_find_upstream(r->c, name) ||
           config_bad(r, section, nth, key, "\"%s\" is neither configured under upstreams nor built in", name);
}

/* Once all upstreams are known. */
static bool check_registries(struct config_reading *r)
{
    for (int i = 0; i < CONFIG_LISTEN_MAX; i++)
        if (!check_registry(r, "listen", i, "upstream", r->c->listen_upstream[i], r->c->upstreams_any))
            return false;
    return check_registry(r, "clients", 0, "login_for", r->c->login_for, false); /* passwords: to known ones only */
}

static bool take_numbers(struct config_reading *r, const struct yaml_config *y)
{
    struct config *c = r->c;
    int workers = 0;

    if (!config_take_int(r, NULL, 0, "workers", y->workers, 0, WORKERS_LIMIT, &workers) ||
        !config_take_int(r, NULL, 0, "fetchers", y->fetchers, 1, FETCHERS_MAX, &c->fetchers))
        return false;
    c->workers = workers > 0 ? workers : c->workers;
    return config_take_bool(r, NULL, 0, "offline", y->offline, &c->offline) &&
           config_take_bool(r, NULL, 0, "upstreams_any", y->upstreams_any, &c->upstreams_any);
}

static bool take_cache(struct config_reading *r, const struct yaml_config *y)
{
    struct config *c = r->c;
    struct amount blob_max = {.bytes = c->blob_max};

    if (y->cache.path)
        config_set(&c->cache_path, y->cache.path);
    if (c->cache_path && c->cache_path[0] != '/')
        return config_bad(r, "cache", 0, "path", "\"%s\" does not begin with /", c->cache_path);
    if (!take_amount(r, "cache", "max_size", y->cache.max_size, &c->max_size) ||
        !take_amount(r, "cache", "min_free", y->cache.min_free, &c->min_free) ||
        !take_amount(r, "cache", "blob_max", y->cache.blob_max, &blob_max) ||
        !config_take_int(r, "cache", 0, "readahead", y->cache.readahead, 0, CONFIG_READAHEAD_MAX, &c->readahead) ||
        !config_take_fetch(r, "cache", 0, y->cache.fetch, &c->fetch))
        return false;
    if (c->max_size.bytes == 0 || (c->max_size.bytes < 0 && c->max_size.percent <= 0))
        return config_bad(r, "cache", 0, "max_size", "\"%s\" leaves no room for the cache", y->cache.max_size);
    if (c->min_free.bytes < 0 && c->min_free.percent >= 100)
        return config_bad(r, "cache", 0, "min_free", "\"%s\" leaves no room for the cache", y->cache.min_free);
    if (blob_max.bytes <= 0)
        return config_bad(r, "cache", 0, "blob_max", "\"%s\" is not a size such as 64GiB", y->cache.blob_max);
    c->blob_max = blob_max.bytes;
    return true;
}

static bool take_gc(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const policies[] = {"gdsf", "lru", NULL};
    struct config *c = r->c;
    int policy = 0;

    if (!config_take_word(r, "gc", 0, "policy", y->gc.policy, policies, &policy) ||
        !take_percent(r, "high", y->gc.high, &c->gc_high) || !take_percent(r, "low", y->gc.low, &c->gc_low) ||
        !config_take_duration(r, "gc", 0, "grace", y->gc.grace, &c->gc_grace_ms) ||
        !config_take_duration(r, "gc", 0, "interval", y->gc.interval, &c->gc_interval_ms))
        return false;
    c->gc_lru = policy == 1;
    if (c->gc_low >= c->gc_high)
        return config_bad(r, "gc", 0, y->gc.low ? "low" : "high", "low is %g%%, which is not under high, %g%%",
                          c->gc_low, c->gc_high);
    if (c->gc_interval_ms < 1000)
        return config_bad(r, "gc", 0, "interval", "\"%s\" is less than 1s", y->gc.interval);
    return true;
}

static bool take_access_log(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const formats[] = {"json", "common", NULL};
    struct config_access_log *a = &r->c->access_log;
    int format = a->common;

    if (!config_take_word(r, "access_log", 0, "format", y->access_log.format, formats, &format))
        return false;
    a->common = format == 1;
    if (!y->access_log.path)
        return true;
    config_set(&a->path, y->access_log.path);
    return a->path[0] == '/' || strcmp(a->path, "-") == 0 ||
           config_bad(r, "access_log", 0, "path", "\"%s\" does not begin with /, and is not - (the log)", a->path);
}

static bool take_log_and_tags(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
    static const char *const formats[] = {"text", "json", "journal", NULL};
    struct config *c = r->c;
    int level = (int)c->log_level, format = (int)c->log_format;

    if (!config_take_word(r, "log", 0, "level", y->log.level, levels, &level) ||
        !config_take_word(r, "log", 0, "format", y->log.format, formats, &format))
        return false;
    c->log_level = (enum log_level)level;
    c->log_format = (enum log_format)format;
    return take_access_log(r, y) && config_take_tags(r, y);
}

static bool take_hosts(struct config_reading *r, char *const *hosts, int count)
{
    for (int i = 0; i < count; i++) {
        if (!config_is_host_pattern(hosts[i]) || strchr(hosts[i], ':'))
            return config_bad(r, "clients", 0, "hosts",
                              "\"%s\" is neither a host, without a port, nor a pattern of hosts", hosts[i]);
        config_set(&r->c->hosts[i], hosts[i]);
    }
    return true;
}

static bool take_clients(struct config_reading *r, const struct yaml_config *y)
{
    static const char *const logins[] = {"auto", "on", "off", NULL};
    struct config *c = r->c;
    int login = (int)c->login;

    if (!config_take_word(r, "clients", 0, "login", y->clients.login, logins, &login) ||
        !config_take_duration(r, "clients", 0, "grant_ttl", y->clients.grant_ttl, &c->grant_ttl_ms))
        return false;
    c->login = (enum config_login)login;
    config_set(&c->login_for, y->clients.login_for);
    if (!take_hosts(r, y->hosts, y->hosts_count))
        return false;
    return (c->grant_ttl_ms >= 1000 && c->grant_ttl_ms <= GRANT_TTL_MAX_MS) ||
           config_bad(r, "clients", 0, "grant_ttl", "\"%s\" is not from 1s to 5m", y->clients.grant_ttl);
}

static bool take_limits(struct config_reading *r, const struct yaml_config *y)
{
    struct config_limits *l = &r->c->limits;

    return config_take_int(r, "limits", 0, "connections", y->limits.connections, 1, LIMIT_MAX, &l->connections) &&
           config_take_int(r, "limits", 0, "per_client", y->limits.per_client, 0, LIMIT_MAX, &l->per_client) &&
           config_take_int(r, "limits", 0, "misses", y->limits.misses, 1, LIMIT_MAX, &l->misses) &&
           config_take_int(r, "limits", 0, "relays", y->limits.relays, 1, LIMIT_MAX, &l->relays);
}

/* ---- the whole ---- */

static bool read_text(const char *file, struct buf *text, struct err *err)
{
    _cleanup_fclose_ FILE *f = fopen(file, "re");

    if (!f)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "reading the configuration %s", file);
    text->len = fread(buf_reserve(text, FILE_MAX + 2), 1, FILE_MAX + 1, f);
    text->data[text->len] = '\0';
    if (ferror(f))
        return err_errno(err, ERR_IO, "reading the configuration %s", file);
    if (text->len > FILE_MAX || memchr(text->data, '\0', text->len))
        return err_set(err, ERR_INVALID, "%s: not a text of at most 1 MiB", file);
    return true;
}

static bool take_sections(struct config_reading *r, const struct yaml_config *y)
{
    bool ok = take_listen(r, y) && take_numbers(r, y) && take_log_and_tags(r, y) && take_clients(r, y) &&
              take_limits(r, y) && take_cache(r, y) && take_gc(r, y);
    for (int i = 0; ok && i < y->upstreams_count; i++)
        ok = config_take_upstream(r, i, &y->upstreams[i]);
    if (ok)
        config_add_well_known(r->c);
    return ok && config_take_policy(r, y) && config_take_cluster(r, y) && check_registries(r);
}

/* The file, if there is one, and the environment. */
static bool apply_file(struct config *c, const char *file, const struct config_overrides *o, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};

    if (file && !read_text(file, &text, err))
        return false;
    struct yaml_config *y = config_yaml_parse(text.data ? text.data : "", text.len, err);
    if (!y)
        return err_wrap(err, "%s", file);
    config_set(&c->file, file);
    struct config_reading r = {c, file, y, o->no_secrets, err};
    bool ok = (o->no_environment || config_take_environment(&r)) && take_sections(&r, y);
    if (ok)
        config_note_sources(c, y);
    config_yaml_free(y);
    return ok;
}

/* The folder that StateDirectory= or RuntimeDirectory= of entrepot's own unit made. One of another service, which the
 * process has inherited, is not used. */
static char *service_folder(const char *variable)
{
    const char *path = getenv(variable), *base = path ? strrchr(path, '/') : NULL;

    return base && path[0] == '/' && !strchr(path, ':') && strcmp(base, "/entrepot") == 0 ? xstrdup(path) : NULL;
}

/* NULL: there is no default here. */
static char *default_cache(void)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
    char *state = service_folder("STATE_DIRECTORY");

    if (state || geteuid() == 0)
        return state ? state : xstrdup("/var/lib/entrepot");
    if (xdg && xdg[0] == '/')
        return xasprintf("%s/entrepot", xdg);
    return home && home[0] == '/' ? xasprintf("%s/.cache/entrepot", home) : NULL;
}

/* JOURNAL_STREAM has the device and inode of the journal's stream (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char ours[64];

    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static void defaults(struct config *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    memset(c, 0, sizeof(*c));
    config_set(&c->listen[0], "127.0.0.1:5000");
    c->cache_path = default_cache();
    c->workers = (int)MAX(MIN(cores, (long)WORKERS_LIMIT), 1);
    c->fetchers = 2;
    c->log_level = LOG_LEVEL_INFO;
    c->log_format = stderr_is_journal() ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
    c->max_size = (struct amount){.bytes = -1, .percent = 80};
    c->blob_max = (int64_t)64 << 30;
    c->readahead = 3;
    c->min_free = (struct amount){.bytes = -1, .percent = 20}; /* kubelet evicts below 15 % and 10 % */
    c->gc_high = 95;
    c->gc_low = 85;
    c->gc_grace_ms = 3600 * 1000;
    c->gc_interval_ms = 60 * 1000;
    c->tags = (struct config_tags){
        .ttl_ms = 5 * 60 * 1000, .max_stale_ms = (int64_t)30 * 86400 * 1000, .negative_ttl_ms = 10 * 1000};
    c->intercept.tunnel = true;
    c->grant_ttl_ms = 5 * 60 * 1000;
    c->limits = (struct config_limits){.connections = 8192, .per_client = 1024, .misses = 256, .relays = 256};
}

static void clear_tls(struct config_tls *t)
{
    free(t->cert);
    free(t->key);
    free(t->client_ca);
    memset(t, 0, sizeof(*t));
}

/* Replaces the listeners of the file. */
static bool override_listen(struct config *c, const char *const *listen, struct err *err)
{
    if (listen && listen[0]) {
        config_note_option(c, "listen", "--listen");
        config_set(&c->listen[0], NULL);
    }
    for (int i = 0; listen && listen[i]; i++) {
        if (i == CONFIG_LISTEN_MAX)
            return err_set(err, ERR_INVALID, "--listen: at most %d", (int)CONFIG_LISTEN_MAX);
        if (!config_is_address(listen[i]))
            return err_set(err, ERR_INVALID, "--listen: \"%s\" is not ADDR:PORT (in numbers) or unix:/path", listen[i]);
        if (config_is_listened_on(c, listen[i]))
            return err_set(err, ERR_INVALID, "--listen: \"%s\" is listed twice", listen[i]);
        config_set(&c->listen[i], listen[i]);
        config_set(&c->listen_upstream[i], NULL);
        clear_tls(&c->listen_tls[i]);
        c->listen_intercept[i] = false;
        config_set(&c->listen[i + 1], NULL);
    }
    return true;
}

static bool apply_overrides(struct config *c, const struct config_overrides *o, struct err *err)
{
    if (o->cache) {
        config_note_option(c, "cache.path", "--cache");
        char *full = realpath(o->cache, NULL);
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        config_set(&c->cache_path, full ? full : o->cache);
        if (!full && o->cache[0] != '/') {
            free(c->cache_path);
            c->cache_path = xasprintf("%s/%s", cwd ? cwd : "", o->cache);
        }
        free(full);
    }
    if (o->offline)
        config_note_option(c, "offline", "--offline");
    c->offline = c->offline || o->offline;
    return override_listen(c, o->listen, err);
}

static char *default_socket(const struct config *c, bool cache_given)
{
    _cleanup_free_ char *run = cache_given ? NULL : service_folder("RUNTIME_DIRECTORY");

    if (run)
        return xasprintf("%s/admin.sock", run);
    /* with --cache the socket is in the folder of the cache */
    return geteuid() == 0 && !cache_given ? xstrdup(CONFIG_DEFAULT_SOCKET) : xasprintf("%s/admin.sock", c->cache_path);
}

bool config_load(struct config *c, const struct config_overrides *o, struct err *err)
{
    const char *file = o->file;

    defaults(c);
    if (!file && access(CONFIG_DEFAULT_FILE, F_OK) == 0)
        file = CONFIG_DEFAULT_FILE;
    bool ok = apply_file(c, file, o, err) && apply_overrides(c, o, err);
    if (ok && !c->cache_path)
        ok = err_set(err, ERR_INVALID,
                     "there is no folder for the cache: HOME is not set; set cache.path or give --cache");
    if (!ok) {
        config_free(c);
        return false;
    }
    if (!c->admin_socket)
        c->admin_socket = default_socket(c, o->cache != NULL);
    config_add_well_known(c);
    config_finish_intercept(c);
    return true;
}

void config_free(struct config *c)
{
    for (int i = 0; i <= CONFIG_LISTEN_MAX; i++)
        free(c->listen[i]);
    for (int i = 0; i < CONFIG_LISTEN_MAX; i++)
        free(c->listen_upstream[i]);
    for (int i = 0; i < CONFIG_LISTEN_MAX; i++)
        clear_tls(&c->listen_tls[i]);
    for (int i = 0; i < c->upstream_count; i++) {
        struct config_upstream *u = &c->upstreams[i];
        for (int k = 0; k < CONFIG_ENDPOINTS_MAX; k++)
            free(u->endpoints[k]);
        free(u->name);
        for (int k = 0; k < CONFIG_TRUSTED_MAX; k++)
            free(u->trusted_hosts[k]);
        for (int k = 0; k < u->credentials_count; k++)
            cred_options_free(&u->credentials[k]);
        trust_clear(&u->trust);
    }
    for (int i = 0; i < c->tag_rule_count; i++) {
        free(c->tag_rules[i].repository);
        free(c->tag_rules[i].tag);
    }
    config_free_intercept(c);
    config_free_cluster(&c->cluster);
    config_free_sources(c);
    config_free_policy(c);
    free(c->file);
    free(c->admin_socket);
    free(c->metrics_address);
    free(c->access_log.path);
    free(c->login_for);
    for (int i = 0; i < CONFIG_HOSTS_MAX; i++)
        free(c->hosts[i]);
    free(c->cache_path);
    memset(c, 0, sizeof(*c));
}

/* ---- counted ---- */

struct config *config_new(const struct config_overrides *o, struct err *err)
{
    struct config *c = xcalloc(1, sizeof(*c));

    if (!config_load(c, o, err)) {
        free(c);
        return NULL;
    }
    c->is_counted = true;
    atomic_init(&c->users, 1);
    return c;
}

const struct config *config_ref(const struct config *c)
{
    if (c->is_counted)
        atomic_fetch_add(&((struct config *)c)->users, 1);
    return c;
}

void config_unref(const struct config *c)
{
    struct config *own = (struct config *)c;

    if (!c || !c->is_counted || atomic_fetch_sub(&own->users, 1) > 1)
        return;
    config_free(own);
    free(own);
}
