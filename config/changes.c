/* Configurations key by key: where each value comes from, what differs between two, what of that needs a restart. */
#include "config/read.h"

#include <string.h>

/* Everything else is applied while the daemon runs. */
static const char *const RESTART[] = {"admin.socket", "cache.path",   "cluster", "fetchers",
                                      "gc.policy",    "intercept.ca", "workers"};

bool config_needs_restart(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(RESTART); i++) {
        size_t len = strlen(RESTART[i]);
        if (strncmp(key, RESTART[i], len) == 0 && (key[len] == '\0' || key[len] == '.'))
            return true;
    }
    return false;
}

static void compare(json_t *out, const char *path, const json_t *from, const json_t *to);

static void note_change(json_t *out, const char *path, const json_t *from, const json_t *to)
{
    json_t *none = json_null();
    /* an authority that there was not before is just made */
    bool restart = config_needs_restart(path) && ((from && to) || !config_path_is_in(path, "intercept.ca"));

    json_array_append_new(out, json_pack("{s:s, s:O, s:O, s:s}", "key", path, "from", from ? from : none, "to",
                                         to ? to : none, "needs", restart ? "restart" : "reload"));
}

static void compare_objects(json_t *out, const char *path, const json_t *from, const json_t *to)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)from, key, value) {
        _cleanup_free_ char *inner = xasprintf("%s%s%s", path, *path ? "." : "", key);
        compare(out, inner, value, json_object_get(to, key));
    }
    json_object_foreach((json_t *)to, key, value) {
        _cleanup_free_ char *inner = xasprintf("%s%s%s", path, *path ? "." : "", key);
        if (!json_object_get(from, key))
            compare(out, inner, NULL, value);
    }
}

/* Of an entry of a list, what it goes by; NULL: the list is compared as a whole. */
static const char *entry_name(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));

    return name ? name : json_string_value(json_object_get(entry, "address"));
}

static const json_t *find_named(const json_t *list, const char *name)
{
    json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry)
        if (strcmp(entry_name(entry), name) == 0)
            return entry;
    return NULL;
}

static bool all_named(const json_t *list)
{
    json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry)
        if (!entry_name(entry))
            return false;
    return json_is_array(list) && json_array_size(list) > 0;
}

static void compare_named(json_t *out, const char *path, const json_t *from, const json_t *to)
{
    json_t *entry;
    size_t i;

    json_array_foreach(from, i, entry) {
        _cleanup_free_ char *inner = xasprintf("%s[%s]", path, entry_name(entry));
        const json_t *other = find_named(to, entry_name(entry));
        if (other)
            compare(out, inner, entry, other);
        else
            note_change(out, inner, entry, NULL);
    }
    json_array_foreach(to, i, entry) {
        _cleanup_free_ char *inner = xasprintf("%s[%s]", path, entry_name(entry));
        if (!find_named(from, entry_name(entry)))
            note_change(out, inner, NULL, entry);
    }
}

static void compare(json_t *out, const char *path, const json_t *from, const json_t *to)
{
    if ((from && to && json_equal(from, to)) || (!from && !to))
        return;
    if ((!from || json_is_object(from)) && (!to || json_is_object(to)))
        compare_objects(out, path, from, to);
    else if (all_named(from) && all_named(to))
        compare_named(out, path, from, to);
    else
        note_change(out, path, from, to);
}

json_t *config_changes(const struct config *from, const struct config *to)
{
    json_t *out = json_array(), *first = config_json(from), *second = config_json(to);

    compare(out, "", first, second);
    json_decref(first);
    json_decref(second);
    return out;
}

static void keep_listen(struct config *c, const struct config *from)
{
    for (int i = 0; i <= CONFIG_LISTEN_MAX; i++)
        config_set(&c->listen[i], from->listen[i]);
    for (int i = 0; i < CONFIG_LISTEN_MAX; i++) {
        config_set(&c->listen_upstream[i], from->listen_upstream[i]);
        config_set(&c->listen_tls[i].cert, from->listen_tls[i].cert);
        config_set(&c->listen_tls[i].key, from->listen_tls[i].key);
        config_set(&c->listen_tls[i].client_ca, from->listen_tls[i].client_ca);
        c->listen_intercept[i] = from->listen_intercept[i];
    }
}

void config_keep(struct config *c, const struct config *from, bool listen, bool authority)
{
    config_set(&c->admin_socket, from->admin_socket);
    config_set(&c->cache_path, from->cache_path);
    c->fetchers = from->fetchers;
    c->workers = from->workers;
    c->gc_lru = from->gc_lru;
    config_free_cluster(&c->cluster);
    config_copy_cluster(&c->cluster, &from->cluster);
    if (authority) {
        config_set(&c->intercept.cert, from->intercept.cert);
        config_set(&c->intercept.key, from->intercept.key);
    }
    if (listen)
        keep_listen(c, from);
}

/* ---- sources ---- */

static json_t *source_json(const struct config *c, const struct config_source *s)
{
    if (!s)
        return json_pack("{s:s}", "from", "default");
    if (s->option)
        return json_pack("{s:s, s:s}", "from", "command line", "option", s->option);
    if (s->variable)
        return json_pack("{s:s, s:s}", "from", "environment", "variable", s->variable);
    json_t *file = json_string(c->file); /* a path need not be UTF-8 */
    return json_pack("{s:s, s:o, s:i}", "from", "file", "file", file ? file : json_string("(not UTF-8)"), "line",
                     s->line);
}

static void add_sources(const struct config *c, json_t *out, const char *within, const json_t *part)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)part, key, value) {
        _cleanup_free_ char *path = xasprintf("%s%s%s", within, *within ? "." : "", key);
        if (json_is_object(value))
            add_sources(c, out, path, value);
        else
            json_object_set_new(out, path, source_json(c, config_source_of(c, path)));
    }
}

json_t *config_sources_json(const struct config *c)
{
    json_t *all = config_json(c), *out = json_object();

    add_sources(c, out, "", all);
    json_decref(all);
    return out;
}
