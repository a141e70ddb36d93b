/* libyaml loads the file into a document; tables of keys say where each value goes in a struct yaml_config. A list or a
 * section without a value (all of its keys are commented out) is ignored. */
#include "config/yaml.h"

#include "base/assert.h"

#include <stddef.h>
#include <string.h>

enum { TEXT_MAX = 4096, URL_MAX = 2048, HOST_MAX = 255, ADDRESS_MAX = 512, SHOWN_MAX = 200 };

enum field_kind {
    IS_TEXT,    /* numbers and truth values, too */
    IS_SECTION, /* a mapping */
    IS_LIST,    /* of mappings or, without `fields`, of texts */
};

struct yaml_field {
    const char *key;
    enum field_kind kind;
    size_t at;                       /* where it goes in the struct of its mapping */
    size_t shortest, longest;        /* of a text, or of each text in a list: bytes */
    bool required;                   /* of each mapping */
    const struct yaml_field *fields; /* of a section, or of a list's entries; ends with an empty one */
    size_t entry, entries, count;    /* of a list: size of an entry, how many there can be, where their number goes */
    bool is_list_of_one;             /* a mapping in place of the list is its only entry */
    bool is_first_field;             /* a text in place of an entry is that of the entry's first field */
};

#define PUT(type, member, name)      .key = (name), .at = offsetof(type, member)
#define TEXT(type, member)           PUT(type, member, #member), .longest = TEXT_MAX
#define TEXT_IN(section, name)       PUT(struct yaml_config, section.name, #name), .longest = TEXT_MAX
#define TAG_TEXT(type, name)         PUT(type, tags.name, #name), .longest = TEXT_MAX
#define REQUIRED(type, member, most) PUT(type, member, #member), .shortest = 1, .longest = (most), .required = true
#define SECTION(name, of)            .key = (name), .kind = IS_SECTION, .fields = (of) /* members of the same struct */
#define ENTRIES(type, member)        NAMED_ENTRIES(type, member, #member)
#define NAMED_ENTRIES(type, member, name)                                                                              \
    PUT(type, member, name), .kind = IS_LIST, .entry = sizeof(((type *)0)->member[0]),                                 \
                             .entries = ARRAY_LEN(((type *)0)->member), .count = offsetof(type, member##_count)

static const struct yaml_field LISTEN_TLS[] = {
    {PUT(struct yaml_listen, tls.cert, "cert"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_listen, tls.key, "key"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_listen, tls.client_ca, "client_ca"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field LISTEN[] = {
    {REQUIRED(struct yaml_listen, address, ADDRESS_MAX)},
    {TEXT(struct yaml_listen, upstream)},
    {TEXT(struct yaml_listen, intercept)},
    {SECTION("tls", LISTEN_TLS)},
    {0},
};

static const struct yaml_field TAG_RULE[] = {
    {TEXT(struct yaml_tag_rule, repository)},
    {TEXT(struct yaml_tag_rule, tag)},
    {TAG_TEXT(struct yaml_tag_rule, ttl)},
    {TAG_TEXT(struct yaml_tag_rule, max_stale)},
    {TAG_TEXT(struct yaml_tag_rule, negative_ttl)},
    {TAG_TEXT(struct yaml_tag_rule, deleted)},
    {0},
};

static const struct yaml_field TAGS[] = {
    {TAG_TEXT(struct yaml_config, ttl)},
    {TAG_TEXT(struct yaml_config, max_stale)},
    {TAG_TEXT(struct yaml_config, negative_ttl)},
    {TAG_TEXT(struct yaml_config, deleted)},
    {ENTRIES(struct yaml_config, rules), .fields = TAG_RULE},
    {0},
};

static const struct yaml_field UPSTREAM_TAGS[] = {
    {TAG_TEXT(struct yaml_upstream, ttl)},
    {TAG_TEXT(struct yaml_upstream, max_stale)},
    {TAG_TEXT(struct yaml_upstream, negative_ttl)},
    {TAG_TEXT(struct yaml_upstream, deleted)},
    {0},
};

static const struct yaml_field CREDENTIALS[] = {
#define X(name) {PUT(struct yaml_credentials, options.name, #name), .longest = TEXT_MAX},
    CRED_KEYS(X)
#undef X
        {PUT(struct yaml_credentials, options.args, "args"), .kind = IS_LIST, .longest = TEXT_MAX,
         .entry = sizeof(char *), .entries = CRED_ARGS_MAX, .count = offsetof(struct yaml_credentials, args_count)},
    {0},
};

static const struct yaml_field ENDPOINT[] = {
    {REQUIRED(struct yaml_endpoint, url, URL_MAX)},
    {TEXT(struct yaml_endpoint, ns)},
    {TEXT(struct yaml_endpoint, credentials)},
    {0},
};

static const struct yaml_field UPSTREAM[] = {
    {REQUIRED(struct yaml_upstream, name, HOST_MAX)},
    {ENTRIES(struct yaml_upstream, endpoints), .fields = ENDPOINT, .is_first_field = true},
    {ENTRIES(struct yaml_upstream, trusted_hosts), .shortest = 1, .longest = URL_MAX},
    {TEXT(struct yaml_upstream, access)},
    {ENTRIES(struct yaml_upstream, credentials), .fields = CREDENTIALS, .is_list_of_one = true},
    {TEXT(struct yaml_upstream, ca)},
    {TEXT(struct yaml_upstream, ca_only)},
    {TEXT(struct yaml_upstream, client_cert)},
    {TEXT(struct yaml_upstream, client_key)},
    {TEXT(struct yaml_upstream, insecure)},
    {TEXT(struct yaml_upstream, parallel)},
    {TEXT(struct yaml_upstream, rate_reserve)},
    {TEXT(struct yaml_upstream, fetch)},
    {SECTION("tags", UPSTREAM_TAGS)},
    {TEXT(struct yaml_upstream, connect_timeout)},
    {TEXT(struct yaml_upstream, stall_timeout)},
    {0},
};

static const struct yaml_field INTERCEPT_CA[] = {
    {PUT(struct yaml_config, intercept.cert, "cert"), .shortest = 1, .longest = TEXT_MAX},
    {PUT(struct yaml_config, intercept.key, "key"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field INTERCEPT[] = {
    {TEXT_IN(intercept, address)},
    {SECTION("ca", INTERCEPT_CA)},
    {NAMED_ENTRIES(struct yaml_config, intercept_hosts, "hosts"), .shortest = 1, .longest = HOST_MAX},
    {TEXT_IN(intercept, tunnel)},
    {NAMED_ENTRIES(struct yaml_config, intercept_allow, "allow"), .shortest = 1, .longest = HOST_MAX},
    {0},
};

static const struct yaml_field POLICY[] = {
    {NAMED_ENTRIES(struct yaml_config, policy_allow, "allow"), .shortest = 1, .longest = TEXT_MAX},
    {NAMED_ENTRIES(struct yaml_config, policy_deny, "deny"), .shortest = 1, .longest = TEXT_MAX},
    {0},
};

static const struct yaml_field ADMIN[] = {{TEXT_IN(admin, socket)}, {0}};
static const struct yaml_field METRICS[] = {{TEXT_IN(metrics, address)}, {0}};
static const struct yaml_field LOG[] = {{TEXT_IN(log, level)}, {TEXT_IN(log, format)}, {0}};

static const struct yaml_field ACCESS_LOG[] = {
    {PUT(struct yaml_config, access_log.path, "path"), .shortest = 1, .longest = TEXT_MAX},
    {TEXT_IN(access_log, format)},
    {0},
};

static const struct yaml_field CLIENTS[] = {
    {TEXT_IN(clients, login)},
    {TEXT_IN(clients, grant_ttl)},
    {TEXT_IN(clients, login_for)},
    {ENTRIES(struct yaml_config, hosts), .shortest = 1, .longest = URL_MAX},
    {0},
};

static const struct yaml_field LIMITS[] = {
    {TEXT_IN(limits, connections)},
    {TEXT_IN(limits, per_client)},
    {TEXT_IN(limits, misses)},
    {TEXT_IN(limits, relays)},
    {0},
};

static const struct yaml_field CACHE[] = {
    {TEXT_IN(cache, path)},
    {TEXT_IN(cache, max_size)},
    {TEXT_IN(cache, min_free)},
    {TEXT_IN(cache, blob_max)},
    {TEXT_IN(cache, fetch)},
    {TEXT_IN(cache, readahead)},
    {0},
};

static const struct yaml_field GC[] = {
    {TEXT_IN(gc, policy)}, {TEXT_IN(gc, high)}, {TEXT_IN(gc, low)}, {TEXT_IN(gc, grace)}, {TEXT_IN(gc, interval)}, {0},
};

static const struct yaml_field TOP[] = {
    {ENTRIES(struct yaml_config, listen), .fields = LISTEN, .is_first_field = true},
    {SECTION("intercept", INTERCEPT)},
    {SECTION("policy", POLICY)},
    {SECTION("admin", ADMIN)},
    {SECTION("metrics", METRICS)},
    {TEXT(struct yaml_config, workers)},
    {TEXT(struct yaml_config, fetchers)},
    {SECTION("log", LOG)},
    {SECTION("access_log", ACCESS_LOG)},
    {SECTION("cache", CACHE)},
    {SECTION("gc", GC)},
    {SECTION("tags", TAGS)},
    {SECTION("clients", CLIENTS)},
    {SECTION("limits", LIMITS)},
    {TEXT(struct yaml_config, offline)},
    {TEXT(struct yaml_config, upstreams_any)},
    {ENTRIES(struct yaml_config, upstreams), .fields = UPSTREAM},
    {0},
};

/* ---- from the document into the struct ---- */

struct yaml_load {
    struct yaml_config *y;
    yaml_document_t *document;
    const char *variable; /* of the environment; NULL: it is the file */
    char path[128];       /* of the keys that lead here: "upstreams.tags" */
    int lists;            /* that lead here */
    struct err *err;
};

static int line_of(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

static bool yaml_is_empty(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0;
}

/* `key`: within the mapping whose path it is; NULL: of what is at the path itself. Always false. */
static bool load_fail(struct yaml_load *l, const yaml_node_t *at, const char *key, const char *what)
{
    char shown[SHOWN_MAX];

    snprintf(shown, sizeof(shown), "%s%s%s", l->path, key && l->path[0] ? "." : "", key ? key : "");
    if (l->variable)
        return err_set(l->err, ERR_INVALID, "%s: %s%s%s", l->variable, shown, shown[0] ? ": " : "", what);
    return err_set(l->err, ERR_INVALID, "line %d: %s%s%s", line_of(at), shown, shown[0] ? ": " : "", what);
}

/* Where a key of the top, or of a section, comes from; what a list contains comes with it. */
static void note_given(struct yaml_load *l, const yaml_node_t *at)
{
    struct yaml_config *y = l->y;

    if (l->lists > 0)
        return;
    for (int i = 0; i < y->given_count; i++)
        if (strcmp(y->given[i].path, l->path) == 0)
            y->given[i] = y->given[--y->given_count]; /* the environment beats the file */
    y->given = xrealloc(y->given, ((size_t)y->given_count + 1) * sizeof(*y->given));
    struct yaml_given *g = &y->given[y->given_count++];
    *g = (struct yaml_given){.line = line_of(at)};
    snprintf(g->path, sizeof(g->path), "%s", l->path);
    snprintf(g->variable, sizeof(g->variable), "%s", l->variable ? l->variable : "");
}

static bool load_text(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node, const struct yaml_field *f,
                      void *to)
{
    if (node->type != YAML_SCALAR_NODE)
        return load_fail(l, at, NULL, "a single value is expected here");
    if (node->data.scalar.length < f->shortest)
        return load_fail(l, at, NULL, "is empty");
    if (node->data.scalar.length > f->longest)
        return load_fail(l, at, NULL, "is too long");
    *(char **)to = (char *)node->data.scalar.value;
    note_given(l, at);
    return true;
}

static bool load_mapping(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node,
                         const struct yaml_field *fields, char *to);
static bool load_field(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node, const struct yaml_field *f,
                       char *to);

static bool load_entry(struct yaml_load *l, const yaml_node_t *node, const struct yaml_field *f, char *to)
{
    int *count = (int *)(void *)(to + f->count);
    char *entry = to + f->at + (size_t)*count * f->entry;

    if ((size_t)*count == f->entries)
        return load_fail(l, node, NULL, "too many entries");
    ++*count;
    if (!f->fields)
        return load_text(l, node, node, f, entry);
    if (f->is_first_field && node->type == YAML_SCALAR_NODE)
        return load_field(l, node, node, f->fields, entry);
    return load_mapping(l, node, node, f->fields, entry);
}

static bool load_list(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node, const struct yaml_field *f,
                      char *to)
{
    bool is_one = (f->is_list_of_one && node->type == YAML_MAPPING_NODE) ||
                  (l->variable && node->type == YAML_SCALAR_NODE && (!f->fields || f->is_first_field));
    bool ok = true;

    note_given(l, at);
    if (l->lists == 0) { /* a list of the environment replaces that of the file */
        memset(to + f->at, 0, f->entry * f->entries);
        *(int *)(void *)(to + f->count) = 0;
    }
    if (!is_one && node->type != YAML_SEQUENCE_NODE)
        return load_fail(l, at, NULL, "a list is expected here");
    l->lists++;
    if (is_one)
        ok = load_entry(l, node, f, to);
    else
        for (yaml_node_item_t *i = node->data.sequence.items.start; ok && i < node->data.sequence.items.top; i++)
            ok = load_entry(l, yaml_document_get_node(l->document, *i), f, to);
    l->lists--;
    return ok;
}

/* `at`: the key, for messages. */
static bool load_field(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node, const struct yaml_field *f,
                       char *to)
{
    size_t len = strlen(l->path);
    bool ok = true;

    snprintf(l->path + len, sizeof(l->path) - len, "%s%s", len ? "." : "", f->key);
    if (f->kind == IS_TEXT)
        ok = load_text(l, at, node, f, to + f->at);
    else if (yaml_is_empty(node))
        ok = true;
    else if (f->kind == IS_LIST)
        ok = load_list(l, at, node, f, to);
    else
        ok = load_mapping(l, at, node, f->fields, to);
    l->path[len] = '\0';
    return ok;
}

static bool load_mapping(struct yaml_load *l, const yaml_node_t *at, const yaml_node_t *node,
                         const struct yaml_field *fields, char *to)
{
    uint64_t seen = 0;

    if (node->type != YAML_MAPPING_NODE)
        return load_fail(l, at, NULL, "keys with values are expected here");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(l->document, p->key);
        if (key->type != YAML_SCALAR_NODE)
            return load_fail(l, key, NULL, "a key has to be a single value");
        const char *name = (const char *)key->data.scalar.value;
        size_t i = 0;
        while (fields[i].key && strcmp(fields[i].key, name) != 0)
            i++;
        if (!fields[i].key)
            return load_fail(l, key, name, "unknown key");
        if (seen & (uint64_t)1 << i)
            return load_fail(l, key, name, "is set twice");
        seen |= (uint64_t)1 << i;
        if (!load_field(l, key, yaml_document_get_node(l->document, p->value), &fields[i], to))
            return false;
    }
    for (size_t i = 0; fields[i].key; i++)
        if (fields[i].required && !(seen & (uint64_t)1 << i))
            return load_fail(l, at, fields[i].key, "is required");
    return true;
}

/* ---- from a text ---- */

struct yaml_config *config_yaml_parse(const char *text, size_t len, struct err *err)
{
    struct yaml_config *y = xcalloc(1, sizeof(*y));

    if (!config_document_parse(&y->document, text, len, err)) {
        free(y);
        return NULL;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&y->document);
    struct yaml_load l = {.y = y, .document = &y->document, .err = err};
    if (!root || yaml_is_empty(root) || load_mapping(&l, root, root, TOP, (char *)y))
        return y;
    config_yaml_free(y);
    return NULL;
}

void config_yaml_free(struct yaml_config *y)
{
    if (!y)
        return;
    for (int i = 0; i < y->variables_count; i++)
        yaml_document_delete(&y->variables[i]);
    yaml_document_delete(&y->document);
    free(y->variables);
    free(y->given);
    free(y);
}

/* ---- single keys ---- */

static void each_key(const struct yaml_field *fields, const char *within,
                     void (*fn)(void *arg, const char *path, const struct yaml_field *f), void *arg)
{
    for (; fields->key; fields++) {
        _cleanup_free_ char *path = xasprintf("%s%s%s", within, *within ? "." : "", fields->key);
        fn(arg, path, fields);
        if (fields->kind == IS_SECTION)
            each_key(fields->fields, path, fn, arg);
    }
}

struct key_listing {
    void (*fn)(void *arg, const char *path);
    void *arg;
};

static void list_key(void *arg, const char *path, const struct yaml_field *f UNUSED)
{
    const struct key_listing *k = arg;

    k->fn(k->arg, path);
}

void config_yaml_each_key(void (*fn)(void *arg, const char *path), void *arg)
{
    each_key(TOP, "", list_key, &(struct key_listing){fn, arg});
}

struct key_search {
    const char *path;
    const struct yaml_field *found;
};

static void match_key(void *arg, const char *path, const struct yaml_field *f)
{
    struct key_search *k = arg;

    if (strcmp(k->path, path) == 0)
        k->found = f;
}

/* A text is taken as it is; lists and sections are YAML. */
bool config_yaml_set(struct yaml_config *y, const char *path, const char *variable, const char *text, struct err *err)
{
    struct key_search k = {.path = path};
    struct yaml_load l = {.y = y, .variable = variable, .err = err};
    yaml_node_t plain = {.type = YAML_SCALAR_NODE};

    each_key(TOP, "", match_key, &k);
    snprintf(l.path, sizeof(l.path), "%s", path);
    plain.data.scalar.value = (yaml_char_t *)text;
    plain.data.scalar.length = strlen(text);
    IN_STATE(k.found); /* callers have the path from these tables */
    if (k.found->kind == IS_TEXT)
        return load_text(&l, &plain, &plain, k.found, (char *)y + k.found->at);
    y->variables = xrealloc(y->variables, ((size_t)y->variables_count + 1) * sizeof(*y->variables));
    l.document = &y->variables[y->variables_count];
    if (!config_document_parse(l.document, text, strlen(text), err))
        return err_wrap(err, "%s", variable);
    y->variables_count++;
    const yaml_node_t *root = yaml_document_get_root_node(l.document);
    if (!root || yaml_is_empty(root))
        return true;
    if (k.found->kind == IS_LIST)
        return load_list(&l, root, root, k.found, (char *)y);
    return load_mapping(&l, root, root, k.found->fields, (char *)y);
}

const struct yaml_given *config_yaml_given(const struct yaml_config *y, const char *path)
{
    const struct yaml_given *best = NULL;

    for (int i = 0; i < y->given_count; i++) {
        const char *own = y->given[i].path;
        if (config_path_is_in(path, own) && (!best || strlen(own) > strlen(best->path)))
            best = &y->given[i];
    }
    return best;
}
