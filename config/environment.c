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

/* What Kubernetes sets for a service that is called entrepot, or entrepot-…: ENTREPOT_SERVICE_HOST,
 * ENTREPOT_SERVICE_PORT_HTTP, ENTREPOT_PORT, ENTREPOT_PORT_5000_TCP_ADDR, ENTREPOT_METRICS_SERVICE_HOST. */
static bool is_service_link(const char *name)
{
    const char *port = strstr(name, "PORT");
    bool own = port && (port == name || port[-1] == '_');

    if (strstr(name, "SERVICE_HOST") || strstr(name, "SERVICE_PORT"))
        return true;
    return own && (port[4] == '\0' || (port[4] == '_' && isdigit((unsigned char)port[5])));
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

static bool is_other(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++)
        if (strcmp(OTHERS[i], name) == 0)
            return true;
    return is_service_link(name);
}

/* A typo would be a setting that is silently not made. Where Kubernetes or an image's author have set others, it is a
 * warning. */
static bool judge_unknown(struct config_reading *r, const struct environment_keys *all, const char *name, bool linked)
{
    bool near;
    const struct environment_key *k = nearest_key(all, name, &near);
    char *before = r->c->ignored;

    if (is_other(name))
        return true;
    if (near && !linked)
        return err_set(r->err, ERR_INVALID,
                       PREFIX "%.100s: is no key of the configuration; the nearest is " PREFIX "%s", name, k->name);
    r->c->ignored = xasprintf("%s%s" PREFIX "%.100s", before ? before : "", before ? ", " : "", name);
    free(before);
    return true;
}

/* ---- the environment ---- */

static bool has_service_links(void)
{
    bool any = false;

    for (char **e = environ; *e; e++)
        any = any || strncmp(*e, PREFIX "SERVICE_HOST=", strlen(PREFIX "SERVICE_HOST=")) == 0 ||
              strncmp(*e, PREFIX "PORT=", strlen(PREFIX "PORT=")) == 0;
    return any;
}

/* An empty value is as none: manifests of containers have no other way to leave one out. */
static bool look_at_variable(struct config_reading *r, struct environment_keys *all, const char *text, bool linked)
{
    size_t len = strcspn(text, "=");
    char name[256];

    if (text[len] != '=' || len >= sizeof(name))
        return true;
    snprintf(name, sizeof(name), "%.*s", (int)len, text);
    struct environment_key *k = find_key(all, name);
    if (!k)
        return judge_unknown(r, all, name, linked);
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
    bool ok = true, linked = has_service_links();

    config_yaml_each_key(note_key, all);
    for (char **e = environ; ok && *e; e++)
        if (strncmp(*e, PREFIX, prefix) == 0)
            ok = look_at_variable(r, all, *e + prefix, linked);
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
