/* libyaml loads the file into a document; the tables of keys.c say where each value goes in a struct yaml_config. A
 * list or a section without a value (all of its keys are commented out) is ignored. */
#include "config/keys.h"

#include "base/assert.h"

#include <stddef.h>
#include <string.h>

enum { SHOWN_MAX = 200 };

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
    if (!root || yaml_is_empty(root) || load_mapping(&l, root, root, CONFIG_KEYS, (char *)y))
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
    each_key(CONFIG_KEYS, "", list_key, &(struct key_listing){fn, arg});
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

    each_key(CONFIG_KEYS, "", match_key, &k);
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
