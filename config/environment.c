/* Keys that the environment sets: ENTREPOT_CACHE_MAX_SIZE is cache.max_size. The tables of yaml.c say which there are,
 * so that a new key has a variable at once. */
#include "config/read.h"

#include <ctype.h>
#include <string.h>

#define PREFIX "ENTREPOT_"

enum { NAME_MAX_LEN = 64, KEYS_MAX = 256, TYPOS_MAX = 2 };

/* Variables that are no keys. */
static const char *const OTHERS[] = {"SOCKET", "VERSION"};

struct environment_key {
    char path[NAME_MAX_LEN], name[NAME_MAX_LEN]; /* "cache.max_size", "CACHE_MAX_SIZE" */
    const char *value;                           /* NULL: it is not set */
};

struct environment_keys {
    struct environment_key list[KEYS_MAX];
    int count;
};

static void note_key(void *arg, const char *path)
{
    struct environment_keys *all = arg;
    struct environment_key *k = &all->list[all->count];

    if (all->count == KEYS_MAX)
        abort();
    all->count++;
    snprintf(k->path, sizeof(k->path), "%s", path);
    for (size_t i = 0; path[i] && i + 1 < sizeof(k->name); i++)
        k->name[i] = path[i] == '.' ? '_' : (char)toupper((unsigned char)path[i]);
}

static struct environment_key *find_key(struct environment_keys *all, const char *name)
{
    for (int i = 0; i < all->count; i++)
        if (strcmp(all->list[i].name, name) == 0)
            return &all->list[i];
    return NULL;
}

/* ---- variables that are no keys ---- */

static bool variable_ends_with(const char *name, size_t len, const char *end)
{
    size_t n = strlen(end);

    return len > n && strncmp(name + len - n, end, n) == 0;
}

/* "tcp://10.0.0.1:5000" */
static bool is_link_url(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 || strncmp(value, "sctp://", 7) == 0;
}

/* Behind the name of a service: "PORT_5000_TCP", and of that "_ADDR", "_PORT", "_PROTO"; "_START" and "_END" of several
 * ports that Docker has joined. */
static bool is_port_link(const char *text)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP"},
                             *const ends[] = {"",       "_ADDR", "_PORT",       "_PROTO",
                                              "_START", "_END",  "_PORT_START", "_PORT_END"};
    size_t digits = strncmp(text, "PORT_", 5) == 0 ? strspn(text + 5, "0123456789") : 0;

    for (size_t p = 0; digits > 0 && p < ARRAY_LEN(protocols); p++) {
        const char *end = text + 5 + digits;
        size_t len = strlen(protocols[p]);
        for (size_t i = 0; strncmp(end, protocols[p], len) == 0 && i < ARRAY_LEN(ends); i++)
            if (strcmp(end + len, ends[i]) == 0)
                return true;
    }
    return false;
}

/* What Kubernetes sets for a service that is called entrepot, or entrepot-listen, and Docker for a linked container
 * (`docker run --link`): ENTREPOT_SERVICE_HOST, ENTREPOT_LISTEN_SERVICE_PORT_HTTP, ENTREPOT_LISTEN_PORT=tcp://…,
 * ENTREPOT_PORT_5000_TCP_ADDR; of Docker, ENTREPOT_NAME=/web/entrepot and ENTREPOT_ENV_…, too. Nobody can choose them.
 * `name` begins with "ENTREPOT_". */
static bool is_service_link(const char *name, const char *value)
{
    size_t len = strlen(name);
    const char *port = strstr(name, "_SERVICE_PORT_");

    if (variable_ends_with(name, len, "_SERVICE_HOST") || variable_ends_with(name, len, "_SERVICE_PORT") ||
        (port && port[14]))
        return true;
    for (const char *at = strstr(name, "_PORT_"); at; at = strstr(at + 1, "_PORT_"))
        if (is_port_link(at + 1))
            return true;
    if (variable_ends_with(name, len, "_PORT"))
        return is_link_url(value);
    if (variable_ends_with(name, len, "_NAME"))
        return value[0] == '/' && strchr(value + 1, '/');
    return strstr(name, "_ENV_") != NULL;
}

static int least(int a, int b, int c)
{
    return MIN(MIN(a, b), c);
}

/* Levenshtein's: letters to add, to remove or to change. */
static int distance(const char *a, const char *b)
{
    int row[NAME_MAX_LEN + 1];
    int len = (int)strnlen(b, NAME_MAX_LEN);

    for (int k = 0; k <= len; k++)
        row[k] = k;
    for (int i = 0; a[i]; i++) {
        int corner = row[0];
        row[0] = i + 1;
        for (int k = 0; k < len; k++) {
            int above = row[k + 1];
            row[k + 1] = least(above + 1, row[k] + 1, corner + (a[i] != b[k]));
            corner = above;
        }
    }
    return row[len];
}

static bool begins_like(const char *name, const struct environment_key *k)
{
    size_t len = strlen(k->name);

    return !strchr(k->path, '.') && strncmp(name, k->name, len) == 0 && name[len] == '_';
}

/* The key that a variable's name is next to; *near: so near that it must be meant. */
static const struct environment_key *nearest_key(const struct environment_keys *all, const char *name, bool *near)
{
    const struct environment_key *best = NULL;
    int least_typos = 0;

    *near = false;
    for (int i = 0; i < all->count; i++) {
        int typos = distance(name, all->list[i].name);
        *near = *near || begins_like(name, &all->list[i]);
        if (!best || typos < least_typos) {
            best = &all->list[i];
            least_typos = typos;
        }
    }
    *near = *near || least_typos <= TYPOS_MAX;
    return best;
}

static bool is_other(const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++)
        if (strcmp(OTHERS[i], name) == 0)
            return true;
    _cleanup_free_ char *whole = xasprintf(PREFIX "%s", name);
    return is_service_link(whole, value);
}

/* A typo would be a setting that is silently not made. What is not like any key is a warning: an image's author may
 * have set it. */
static bool judge_unknown(struct config_reading *r, const struct environment_keys *all, const char *name,
                          const char *value)
{
    bool near;
    const struct environment_key *k = nearest_key(all, name, &near);
    char *before = r->c->ignored;

    if (is_other(name, value))
        return true;
    if (near)
        return err_set(r->err, ERR_INVALID,
                       PREFIX "%.100s: is no key of the configuration; the nearest is " PREFIX "%s", name, k->name);
    r->c->ignored = xasprintf("%s%s" PREFIX "%.100s", before ? before : "", before ? ", " : "", name);
    free(before);
    return true;
}

/* ---- the environment ---- */

/* An empty value is as none: manifests of containers have no other way to leave one out. */
static bool look_at_variable(struct config_reading *r, struct environment_keys *all, const char *text)
{
    size_t len = strcspn(text, "=");
    char name[256];

    if (text[len] != '=' || len >= sizeof(name))
        return true;
    snprintf(name, sizeof(name), "%.*s", (int)len, text);
    struct environment_key *k = find_key(all, name);
    if (!k)
        return judge_unknown(r, all, name, text + len + 1);
    if (text[len + 1])
        k->value = text + len + 1;
    return true;
}

static int depth(const char *path)
{
    int n = 0;

    for (; *path; path++)
        n += *path == '.';
    return n;
}

/* A whole section before single keys of it. */
static bool set_keys(struct config_reading *r, const struct environment_keys *all, int of_depth)
{
    char variable[sizeof(PREFIX) + NAME_MAX_LEN];

    for (int i = 0; i < all->count; i++) {
        const struct environment_key *k = &all->list[i];
        if (!k->value || depth(k->path) != of_depth)
            continue;
        snprintf(variable, sizeof(variable), PREFIX "%s", k->name);
        if (!config_yaml_set(r->yaml, k->path, variable, k->value, r->err))
            return false;
    }
    return true;
}

bool config_take_environment(struct config_reading *r)
{
    struct environment_keys *all = xcalloc(1, sizeof(*all));
    const size_t prefix = strlen(PREFIX);
    bool ok = true;

    config_yaml_each_key(note_key, all);
    for (char **e = environ; ok && *e; e++)
        if (strncmp(*e, PREFIX, prefix) == 0)
            ok = look_at_variable(r, all, *e + prefix);
    for (int d = 0; ok && d <= 3; d++)
        ok = set_keys(r, all, d);
    free(all);
    return ok;
}

void config_each_variable(void (*fn)(void *arg, const char *path, const char *variable), void *arg)
{
    struct environment_keys *all = xcalloc(1, sizeof(*all));
    char variable[sizeof(PREFIX) + NAME_MAX_LEN];

    config_yaml_each_key(note_key, all);
    for (int i = 0; i < all->count; i++) {
        snprintf(variable, sizeof(variable), PREFIX "%s", all->list[i].name);
        fn(arg, all->list[i].path, variable);
    }
    free(all);
}
