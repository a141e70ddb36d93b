#include "proxy/config_yaml.h"

#include <cyaml/cyaml.h>
#include <ctype.h>
#include <string.h>

#define TEXT(key, type, member)                                                                                        \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, 4096)

/* Inner structs of yaml_config have no names of their own. */
#define INNER(member) __typeof__(*((struct yaml_config *)0)->member)

static const cyaml_schema_field_t TLS[] = {
    TEXT("cert", struct yaml_tls, cert),
    TEXT("key", struct yaml_tls, key),
    TEXT("client_ca", struct yaml_tls, client_ca),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t LISTEN[] = {
    CYAML_FIELD_STRING_PTR("address", CYAML_FLAG_POINTER, struct yaml_listen, address, 1, 512),
    CYAML_FIELD_MAPPING_PTR("tls", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_listen, tls, TLS),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t INTERCEPT[] = {
    TEXT("address", struct yaml_intercept, address),
    CYAML_FIELD_MAPPING_PTR("ca", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_intercept, ca, TLS),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t TAGS[] = {
    TEXT("ttl", struct yaml_tags, ttl),
    TEXT("max_stale", struct yaml_tags, max_stale),
    TEXT("negative_ttl", struct yaml_tags, negative_ttl),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t CREDENTIALS[] = {
    TEXT("username", struct yaml_credentials, username),
    TEXT("password_file", struct yaml_credentials, password_file),
    TEXT("docker_config", struct yaml_credentials, docker_config),
    TEXT("helper", struct yaml_credentials, helper),
    TEXT("provider", struct yaml_credentials, provider),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t ENDPOINT = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 2048),
};

static const cyaml_schema_field_t UPSTREAM[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct yaml_upstream, name, 1, 255),
    CYAML_FIELD_SEQUENCE("endpoints", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_upstream, endpoints,
                         &ENDPOINT, 0, 8),
    TEXT("access", struct yaml_upstream, access),
    CYAML_FIELD_MAPPING_PTR("credentials", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_upstream, credentials,
                            CREDENTIALS),
    TEXT("ca", struct yaml_upstream, ca),
    TEXT("insecure", struct yaml_upstream, insecure),
    CYAML_FIELD_INT_PTR("parallel", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_upstream, parallel),
    CYAML_FIELD_INT_PTR("rate_reserve", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_upstream, rate_reserve),
    CYAML_FIELD_MAPPING_PTR("tags", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_upstream, tags, TAGS),
    TEXT("connect_timeout", struct yaml_upstream, connect_timeout),
    TEXT("stall_timeout", struct yaml_upstream, stall_timeout),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t ADMIN[] = {TEXT("socket", INNER(admin), socket), CYAML_FIELD_END};
static const cyaml_schema_field_t METRICS[] = {TEXT("address", INNER(metrics), address), CYAML_FIELD_END};
static const cyaml_schema_field_t LOG[] = {
    TEXT("level", INNER(log), level),
    TEXT("format", INNER(log), format),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t CACHE[] = {
    TEXT("path", INNER(cache), path),
    TEXT("max_size", INNER(cache), max_size),
    TEXT("min_free", INNER(cache), min_free),
    TEXT("fetch", INNER(cache), fetch),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t GC[] = {
    TEXT("policy", INNER(gc), policy), TEXT("high", INNER(gc), high),         TEXT("low", INNER(gc), low),
    TEXT("grace", INNER(gc), grace),   TEXT("interval", INNER(gc), interval), CYAML_FIELD_END,
};

static const cyaml_schema_value_t LISTEN_ENTRY = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_listen, LISTEN)};
static const cyaml_schema_value_t UPSTREAM_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_upstream, UPSTREAM)};

#define SECTION(key, member, fields)                                                                                   \
    CYAML_FIELD_MAPPING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_config, member, fields)

static const cyaml_schema_field_t TOP[] = {
    CYAML_FIELD_SEQUENCE("listen", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_config, listen, &LISTEN_ENTRY,
                         0, 16),
    SECTION("intercept", intercept, INTERCEPT),
    SECTION("admin", admin, ADMIN),
    SECTION("metrics", metrics, METRICS),
    CYAML_FIELD_INT_PTR("workers", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_config, workers),
    CYAML_FIELD_INT_PTR("fetchers", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_config, fetchers),
    SECTION("log", log, LOG),
    SECTION("cache", cache, CACHE),
    SECTION("gc", gc, GC),
    SECTION("tags", tags, TAGS),
    TEXT("offline", struct yaml_config, offline),
    TEXT("upstreams_any", struct yaml_config, upstreams_any),
    CYAML_FIELD_SEQUENCE("upstreams", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_config, upstreams,
                         &UPSTREAM_ENTRY, 0, 48),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t DOCUMENT = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_config, TOP)};

/* libcyaml says what is wrong in one line, and where in the lines after it, innermost first:
 *     Load: Unexpected key: foo
 *     Load: Backtrace:
 *       in mapping field 'cache' (line: 3, column: 1) */
struct complaint {
    char what[160];
    char key[64];
    int line;
};

static void listen_to(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
    struct complaint *c = ctx;
    char text[400];

    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    const char *at = strstr(text, "line: ");
    if (at && c->line == 0) {
        c->line = atoi(at + 6);
        const char *quote = strchr(text, '\'');
        if (quote && strchr(quote + 1, '\''))
            snprintf(c->key, sizeof(c->key), "%.*s", (int)strcspn(quote + 1, "'"), quote + 1);
    } else if (!at && c->what[0] == '\0' && !strstr(text, "Backtrace")) {
        const char *colon = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
        snprintf(c->what, sizeof(c->what), "%.150s", colon);
    }
}

bool config_yaml_parse(const char *text, size_t len, struct yaml_config **out, struct err *err)
{
    struct complaint c = {0};
    const cyaml_config_t cfg = {
        .log_fn = listen_to,
        .log_ctx = &c,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };

    *out = NULL;
    if (text[strspn(text, " \t\r\n")] == '\0')
        return true;
    cyaml_err_t rc = cyaml_load_data((const uint8_t *)text, len, &cfg, &DOCUMENT, (cyaml_data_t **)out, NULL);
    if (rc == CYAML_OK)
        return true;
    int line = c.line;
    const char *unexpected = strstr(c.what, "Unexpected key: ");
    if (unexpected) {
        snprintf(c.key, sizeof(c.key), "%.60s", unexpected + 16);
        line = config_yaml_line(text, NULL, 0, c.key) ? config_yaml_line(text, NULL, 0, c.key) : line;
        snprintf(c.what, sizeof(c.what), "unknown key");
    }
    return err_set(err, ERR_INVALID, "line %d: %s%s%s", line, c.key, c.key[0] ? ": " : "",
                   c.what[0] ? c.what : cyaml_strerror(rc));
}

void config_yaml_free(struct yaml_config *y)
{
    const cyaml_config_t cfg = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};

    if (y)
        cyaml_free(&cfg, &DOCUMENT, y, 0);
}

/* Whether a line's first key is `key`, after "- " perhaps or inside {…}. */
static bool has_key(const char *line, size_t len, const char *key)
{
    size_t key_len = strlen(key);

    for (const char *p = line; p + key_len < line + len; p++) {
        bool starts = p == line || isspace((unsigned char)p[-1]) || strchr("{,-", p[-1]);
        if (*p == '#')
            return false;
        if (starts && strncmp(p, key, key_len) == 0 && p[key_len] == ':')
            return true;
    }
    return false;
}

int config_yaml_line(const char *text, const char *section, int nth, const char *key)
{
    int line = 0, seen = -1;
    bool inside = section == NULL;

    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        line++;
        if (section && !isspace((unsigned char)*p) && *p != '-' && *p != '#' && len > 0) {
            inside = has_key(p, len, section) && strncmp(p, section, strlen(section)) == 0;
            seen = -1;
        }
        if (inside && section && p[strspn(p, " ")] == '-' && p[strspn(p, " ") + 1] == ' ')
            seen++;
        if (inside && (!section || seen == nth || seen < 0) && has_key(p, len, key))
            return line;
        p += len + (p[len] == '\n');
    }
    return 0;
}
