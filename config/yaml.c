/* libyaml loads the file into a document; tables of keys say where each value goes in a struct yaml_config. A list or a
 * section without a value (all of its keys are commented out) is ignored. */
#include "config/yaml.h"

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
    {ENTRIES(struct yaml_config, listen), .fields = LISTEN},
    {SECTION("intercept", INTERCEPT)},
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
    yaml_document_t *document;
    char path[128]; /* of the keys that lead here: "upstreams.tags" */
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
    return err_set(l->err, ERR_INVALID, "line %d: %s%s%s", line_of(at), shown, shown[0] ? ": " : "", what);
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
    if (f->is_list_of_one && node->type == YAML_MAPPING_NODE)
        return load_entry(l, node, f, to);
    if (node->type != YAML_SEQUENCE_NODE)
        return load_fail(l, at, NULL, "a list is expected here");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++)
        if (!load_entry(l, yaml_document_get_node(l->document, *i), f, to))
            return false;
    return true;
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

/* ---- from the text into the document ---- */

/* libyaml notices some mistakes late: what is not closed at the end of the text, a missing colon at the next key. The
 * line is then that of the context, where what is broken begins, and never one of the blank lines at the end. */
static bool not_yaml(const yaml_parser_t *parser, const char *text, size_t len, struct err *err)
{
    const char *problem = parser->problem ? parser->problem : "no memory";
    size_t end = len, last = 1, line = parser->problem_mark.line + 1;

    while (end > 0 && strchr(" \t\r\n", text[end - 1]))
        end--;
    if (parser->error == YAML_READER_ERROR) /* its place is in bytes */
        end = MIN(end, parser->problem_offset);
    for (size_t i = 0; i < end; i++)
        last += text[i] == '\n';
    if (parser->context && (line > last || strcmp(problem, "could not find expected ':'") == 0))
        line = parser->context_mark.line + 1;
    line = parser->error == YAML_READER_ERROR ? last : MIN(line, last);
    return err_set(err, ERR_INVALID, "line %zu: not YAML: %s", line, problem);
}

static bool check_event(const yaml_event_t *event, int *documents, struct err *err)
{
    int line = (int)event->start_mark.line + 1;

    if (event->type == YAML_ALIAS_EVENT)
        return err_set(err, ERR_INVALID, "line %d: *%.64s: anchors and aliases are not supported", line,
                       (const char *)event->data.alias.anchor);
    if (event->type == YAML_DOCUMENT_START_EVENT && ++*documents > 1)
        return err_set(err, ERR_INVALID, "line %d: ---: a second document begins here; there can be only one", line);
    return true;
}

/* Reads the whole text once: a loaded document shows neither aliases nor what follows it. */
static bool check_events(const char *text, size_t len, struct err *err)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int documents = 0;
    bool ok = true, more = true;

    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (ok && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            ok = not_yaml(&parser, text, len, err);
            break;
        }
        ok = check_event(&event, &documents, err);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

struct yaml_config *config_yaml_parse(const char *text, size_t len, struct err *err)
{
    yaml_parser_t parser;

    if (!check_events(text, len, err))
        return NULL;
    struct yaml_config *y = xcalloc(1, sizeof(*y));
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    bool ok = yaml_parser_load(&parser, &y->document) || not_yaml(&parser, text, len, err);
    yaml_parser_delete(&parser);
    const yaml_node_t *root = ok ? yaml_document_get_root_node(&y->document) : NULL;
    struct yaml_load l = {.document = &y->document, .err = err};
    if (ok && (!root || yaml_is_empty(root) || load_mapping(&l, root, root, TOP, (char *)y)))
        return y;
    config_yaml_free(y);
    return NULL;
}

void config_yaml_free(struct yaml_config *y)
{
    if (!y)
        return;
    yaml_document_delete(&y->document);
    free(y);
}

/* ---- lines ---- */

static const yaml_node_pair_t *find_pair(yaml_document_t *d, const yaml_node_t *mapping, const char *key, size_t len)
{
    if (mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(d, p->key);
        if (k->data.scalar.length == len && memcmp(k->data.scalar.value, key, len) == 0)
            return p;
    }
    return NULL;
}

static const yaml_node_t *find_entry(yaml_document_t *d, const yaml_node_t *list, size_t n)
{
    yaml_node_item_t *items = list->data.sequence.items.start;

    return list->type == YAML_SEQUENCE_NODE && n < (size_t)(list->data.sequence.items.top - items)
               ? yaml_document_get_node(d, items[n])
               : NULL;
}

int config_yaml_line(struct yaml_config *y, const char *path)
{
    const yaml_node_t *node = yaml_document_get_root_node(&y->document);
    int line = 1;

    while (node && *path) {
        if (*path == '[') {
            char *end;
            node = find_entry(&y->document, node, strtoul(path + 1, &end, 10));
            line = node ? line_of(node) : line;
            path = end + (*end == ']');
        } else {
            size_t len = strcspn(path, ".[");
            if (node->type == YAML_SEQUENCE_NODE) /* of one: messages leave its number out */
                node = find_entry(&y->document, node, 0);
            const yaml_node_pair_t *p = node ? find_pair(&y->document, node, path, len) : NULL;
            line = p ? line_of(yaml_document_get_node(&y->document, p->key)) : line;
            node = p ? yaml_document_get_node(&y->document, p->value) : NULL;
            path += len;
        }
        path += *path == '.';
    }
    return line;
}
