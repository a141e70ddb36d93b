#include "config/yaml.h"

#include <cyaml/cyaml.h>
#include <string.h>

/* Numbers and truth values are text as well: libcyaml would take 4.5 for 4, and any word for a yes. */
#define TEXT(key, type, member)                                                                                        \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, 4096)

/* A section may be there without a key in it: all of them commented out, say. */
#define SECTION_IN(type, key, member, fields)                                                                          \
    CYAML_FIELD_MAPPING_PTR(key, CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, type, member, fields)

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
    TEXT("upstream", struct yaml_listen, upstream),
    SECTION_IN(struct yaml_listen, "tls", tls, TLS),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t INTERCEPT[] = {
    TEXT("address", struct yaml_intercept, address),
    SECTION_IN(struct yaml_intercept, "ca", ca, TLS),
    CYAML_FIELD_END,
};

#define TAG_TIMES(type)                                                                                                \
    TEXT("ttl", type, ttl), TEXT("max_stale", type, max_stale), TEXT("negative_ttl", type, negative_ttl),              \
        TEXT("deleted", type, deleted)

static const cyaml_schema_field_t TAG_RULE[] = {
    TEXT("repository", struct yaml_tag_rule, repository),
    TEXT("tag", struct yaml_tag_rule, tag),
    TAG_TIMES(struct yaml_tag_rule),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t TAG_RULE_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_tag_rule, TAG_RULE)};

static const cyaml_schema_field_t TAGS[] = {
    TAG_TIMES(struct yaml_tags),
    CYAML_FIELD_SEQUENCE("rules", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_tags, rules,
                         &TAG_RULE_ENTRY, 0, 64),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t UPSTREAM_TAGS[] = {
    TAG_TIMES(struct yaml_tags),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t ARGUMENT = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 4096),
};

static const cyaml_schema_field_t CREDENTIALS[] = {
#define X(key) TEXT(#key, struct yaml_credentials, key),
    CRED_KEYS(X)
#undef X
        CYAML_FIELD_SEQUENCE("args", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_credentials, args,
                             &ARGUMENT, 0, CRED_ARGS_MAX),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t CREDENTIALS_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_credentials, CREDENTIALS)};

static const cyaml_schema_field_t ENDPOINT[] = {
    CYAML_FIELD_STRING_PTR("url", CYAML_FLAG_POINTER, struct yaml_endpoint, url, 1, 2048),
    TEXT("ns", struct yaml_endpoint, ns),
    TEXT("credentials", struct yaml_endpoint, credentials),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t ENDPOINT_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_endpoint, ENDPOINT)};

static const cyaml_schema_value_t HOST = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 2048),
};

static const cyaml_schema_field_t UPSTREAM[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct yaml_upstream, name, 1, 255),
    CYAML_FIELD_SEQUENCE("endpoints", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_upstream, endpoints,
                         &ENDPOINT_ENTRY, 0, 8),
    CYAML_FIELD_SEQUENCE("trusted_hosts", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_upstream,
                         trusted_hosts, &HOST, 0, 32),
    TEXT("access", struct yaml_upstream, access),
    CYAML_FIELD_SEQUENCE("credentials", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_upstream,
                         credentials, &CREDENTIALS_ENTRY, 0, 8),
    TEXT("ca", struct yaml_upstream, ca),
    TEXT("ca_only", struct yaml_upstream, ca_only),
    TEXT("client_cert", struct yaml_upstream, client_cert),
    TEXT("client_key", struct yaml_upstream, client_key),
    TEXT("insecure", struct yaml_upstream, insecure),
    TEXT("parallel", struct yaml_upstream, parallel),
    TEXT("rate_reserve", struct yaml_upstream, rate_reserve),
    SECTION_IN(struct yaml_upstream, "tags", tags, UPSTREAM_TAGS),
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

static const cyaml_schema_field_t CLIENTS[] = {
    TEXT("login", INNER(clients), login),
    TEXT("grant_ttl", INNER(clients), grant_ttl),
    TEXT("login_for", INNER(clients), login_for),
    CYAML_FIELD_SEQUENCE("hosts", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, INNER(clients), hosts, &HOST, 0, 32),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t LIMITS[] = {
    TEXT("connections", INNER(limits), connections),
    TEXT("per_client", INNER(limits), per_client),
    TEXT("misses", INNER(limits), misses),
    TEXT("relays", INNER(limits), relays),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t CACHE[] = {
    TEXT("path", INNER(cache), path),         TEXT("max_size", INNER(cache), max_size),
    TEXT("min_free", INNER(cache), min_free), TEXT("blob_max", INNER(cache), blob_max),
    TEXT("fetch", INNER(cache), fetch),       CYAML_FIELD_END,
};

static const cyaml_schema_field_t GC[] = {
    TEXT("policy", INNER(gc), policy), TEXT("high", INNER(gc), high),         TEXT("low", INNER(gc), low),
    TEXT("grace", INNER(gc), grace),   TEXT("interval", INNER(gc), interval), CYAML_FIELD_END,
};

static const cyaml_schema_value_t LISTEN_ENTRY = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_listen, LISTEN)};
static const cyaml_schema_value_t UPSTREAM_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_upstream, UPSTREAM)};

#define SECTION(key, member, fields) SECTION_IN(struct yaml_config, key, member, fields)

static const cyaml_schema_field_t TOP[] = {
    CYAML_FIELD_SEQUENCE("listen", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_config, listen,
                         &LISTEN_ENTRY, 0, 16),
    SECTION("intercept", intercept, INTERCEPT),
    SECTION("admin", admin, ADMIN),
    SECTION("metrics", metrics, METRICS),
    TEXT("workers", struct yaml_config, workers),
    TEXT("fetchers", struct yaml_config, fetchers),
    SECTION("log", log, LOG),
    SECTION("cache", cache, CACHE),
    SECTION("gc", gc, GC),
    SECTION("tags", tags, TAGS),
    SECTION("clients", clients, CLIENTS),
    SECTION("limits", limits, LIMITS),
    TEXT("offline", struct yaml_config, offline),
    TEXT("upstreams_any", struct yaml_config, upstreams_any),
    CYAML_FIELD_SEQUENCE("upstreams", CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL, struct yaml_config, upstreams,
                         &UPSTREAM_ENTRY, 0, 48),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t DOCUMENT = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_config, TOP)};

/* ---- what libcyaml complains about ---- */

enum { FRAMES_MAX = 8, KEY_MAX = 64 };

/* libcyaml says what is wrong in one line, and where in the lines after it, innermost first, entries counted from 1:
 *     Load: Unexpected key: foo
 *     Load: Backtrace:
 *       in mapping (line: 4, column: 7)
 *       in mapping field 'credentials' (line: 4, column: 7)
 *       in sequence entry '1' (line: 2, column: 5)
 * Its line is that of the last thing it had read, which may be another key's: we look for the key ourselves. */
struct complaint {
    char what[160];
    struct {
        char key[KEY_MAX];
        int entry; /* from 1; 0: it is a key */
    } frames[FRAMES_MAX];
    int count;
};

static void listen_to(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
    struct complaint *c = ctx;
    char text[400];

    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    const char *name = strstr(text, "in sequence entry '"), *field = strstr(text, "in mapping field '");
    if (name || field) {
        if (c->count == FRAMES_MAX)
            return;
        const char *quote = strchr(name ? name : field, '\'') + 1;
        snprintf(c->frames[c->count].key, KEY_MAX, "%.*s", (int)MIN(strcspn(quote, "'"), (size_t)KEY_MAX - 1), quote);
        c->frames[c->count].entry = name ? atoi(quote) : 0;
        c->count++;
    } else if (c->what[0] == '\0' && strncmp(text, "Load: ", 6) == 0 && !strstr(text, "Backtrace")) {
        snprintf(c->what, sizeof(c->what), "%.150s", text + 6);
    }
}

static cyaml_err_t load(const char *text, size_t len, struct yaml_config **out, struct complaint *c)
{
    const cyaml_config_t cfg = {
        .log_fn = listen_to,
        .log_ctx = c,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };

    memset(c, 0, sizeof(*c));
    *out = NULL;
    return cyaml_load_data((const uint8_t *)text, len, &cfg, &DOCUMENT, (cyaml_data_t **)out, NULL);
}

/* Where text stops being YAML: libcyaml does not pass on what libyaml knows about that. So many lines from the start
 * give the same complaint as the whole; one line less does not. */
static int syntax_line(const char *text, size_t len, const char *what)
{
    size_t good = 0, bad = len; /* lengths of prefixes */
    int line = 1;

    while (true) {
        size_t middle = good + (bad - good) / 2;
        const char *end = memchr(text + middle, '\n', bad - middle);
        size_t upto = end && end + 1 < text + bad ? (size_t)(end + 1 - text) : 0;
        while (!upto && middle > good && text[middle - 1] != '\n')
            middle--;
        upto = upto ? upto : middle;
        if (upto <= good || upto >= bad)
            break;
        struct complaint c;
        struct yaml_config *y;
        cyaml_err_t rc = load(text, upto, &y, &c);
        config_yaml_free(y);
        if (rc != CYAML_OK && strcmp(c.what, what) == 0)
            bad = upto;
        else
            good = upto;
    }
    for (size_t i = 0; i < good; i++)
        line += text[i] == '\n';
    return line;
}

/* libcyaml's words in ours. `key`: of the complaint itself, where the place it names is only the mapping around it. */
static const char *translate(const char *what, char key[KEY_MAX])
{
    static const struct {
        const char *theirs, *ours;
        bool names_key;
    } words[] = {
        {"Unexpected key: ", "unknown key", true},
        {"Missing required mapping field: ", "has to be there", true},
        {"Mapping field already seen: ", "is there twice", false},
        {"Expecting MAPPING", "keys with values are expected here", false},
        {"Expecting SEQUENCE", "a list is expected here", false},
        {"Expecting STRING", "a single value is expected here", false},
        {"STRING length < ", "is empty", false},
        {"STRING length > ", "is too long", false},
        {"Excessive entries", "too many entries", false},
        {"YAML alias", "anchors and aliases are not taken", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strncmp(what, words[i].theirs, strlen(words[i].theirs)) == 0) {
            if (words[i].names_key)
                snprintf(key, KEY_MAX, "%.*s", KEY_MAX - 1, what + strlen(words[i].theirs));
            return words[i].ours;
        }
    return what;
}

/* "upstreams[1].tags.ttl" for looking it up; "upstreams.tags.ttl" for people, as in other messages. */
static void add_part(char *path, char *shown, size_t room, const char *key, int entry)
{
    size_t p = strlen(path), s = strlen(shown);

    if (entry > 0) {
        snprintf(path + p, room - p, "[%d]", entry - 1);
        return;
    }
    snprintf(path + p, room - p, "%s%s", p ? "." : "", key);
    snprintf(shown + s, room - s, "%s%s", s ? "." : "", key);
}

static bool explain(const char *text, size_t len, const struct complaint *c, struct err *err)
{
    char path[FRAMES_MAX * KEY_MAX + KEY_MAX] = "", shown[sizeof(path)] = "", key[KEY_MAX] = "";

    if (strncmp(c->what, "libyaml: ", 9) == 0)
        return err_set(err, ERR_INVALID, "line %d: not YAML: %s", syntax_line(text, len, c->what), c->what + 9);
    const char *what = translate(c->what, key);
    bool twice = strncmp(c->what, "Mapping field already", 21) == 0;
    /* Where something is missing, the innermost place is just the key before it. */
    int from = strncmp(c->what, "Missing", 7) == 0 && c->count > 0 && c->frames[0].entry == 0 ? 1 : 0;
    for (int i = c->count - 1; i >= from; i--)
        add_part(path, shown, sizeof(path), c->frames[i].key, c->frames[i].entry);
    if (key[0])
        add_part(path, shown, sizeof(path), key, 0);
    return err_set(err, ERR_INVALID, "line %d: %.200s%s%s", config_yaml_line(text, path, twice ? 1 : 0), shown,
                   shown[0] ? ": " : "", what);
}

/* Nothing but comments and document marks. */
static bool is_blank(const char *text)
{
    while (*text) {
        text += strspn(text, " \t\r\n");
        if (*text && *text != '#' && strncmp(text, "---", 3) != 0 && strncmp(text, "...", 3) != 0)
            return false;
        text += *text == '#' ? strcspn(text, "\n") : strspn(text, "-.");
    }
    return true;
}

/* libcyaml reads the first document and leaves the others unread. */
static int second_document(const char *text)
{
    bool content = false;
    int line = 1;

    for (const char *p = text; *p; line++) {
        bool mark = strncmp(p, "---", 3) == 0 && (p[3] == '\0' || strchr(" \t\r\n", p[3]));
        if (mark && content)
            return line;
        char first = p[strspn(p, " \t\r")];
        content = content || (!mark && *p != '%' && !strchr("#\n", first)); /* strchr finds the NUL too */
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
    return 0;
}

bool config_yaml_parse(const char *text, size_t len, struct yaml_config **out, struct err *err)
{
    struct complaint c;
    _cleanup_buf_ struct buf lists = {0};

    *out = NULL;
    if (is_blank(text))
        return true;
    bool whole = second_document(text) == 0 && config_yaml_make_lists(text, len, &lists);
    cyaml_err_t rc = whole ? load(lists.data, lists.len, out, &c) : load(text, len, out, &c);
    if (rc == CYAML_OK && second_document(text) > 0) {
        config_yaml_free(*out);
        *out = NULL;
        return err_set(err, ERR_INVALID, "line %d: ---: a second document begins here; there can be only one",
                       second_document(text));
    }
    if (rc == CYAML_OK)
        return true;
    if (c.what[0] == '\0')
        snprintf(c.what, sizeof(c.what), "%s", cyaml_strerror(rc));
    return explain(text, len, &c, err);
}

void config_yaml_free(struct yaml_config *y)
{
    const cyaml_config_t cfg = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};

    if (y)
        cyaml_free(&cfg, &DOCUMENT, y, 0);
}
