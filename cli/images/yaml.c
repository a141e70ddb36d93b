/* YAML documents are walked node by node; an alias is a node that is reached twice, so the visits are counted, too. And
 * Kubernetes manifests, which are such documents. */
#include "cli/images/private.h"

#include <string.h>

enum {
    VISITS_MAX = 1 << 20,
    EVENTS_MAX = 1 << 20,
    ANCHORS_MAX = 1000, /* libyaml looks at all of them for each one, and for each alias */
    MERGES_MAX = 8,
};

const char *walk_scalar(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static yaml_node_t *get_own(struct image_walk *w, const yaml_node_t *mapping, const char *key)
{
    if (!mapping || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const char *k = walk_scalar(yaml_document_get_node(&w->doc, p->key));
        w->visits++;
        if (k && strcmp(k, key) == 0)
            return yaml_document_get_node(&w->doc, p->value);
    }
    return NULL;
}

static yaml_node_t *get_merged(struct image_walk *w, const yaml_node_t *mapping, const char *key, int depth);

/* What the mapping, or the first of the mappings, after `<<` has. */
static yaml_node_t *get_from(struct image_walk *w, const yaml_node_t *from, const char *key, int depth)
{
    yaml_node_t *found = NULL;

    if (!from || from->type != YAML_SEQUENCE_NODE)
        return get_merged(w, from, key, depth);
    for (yaml_node_item_t *i = from->data.sequence.items.start; !found && i < from->data.sequence.items.top; i++)
        found = get_merged(w, yaml_document_get_node(&w->doc, *i), key, depth);
    return found;
}

static yaml_node_t *get_merged(struct image_walk *w, const yaml_node_t *mapping, const char *key, int depth)
{
    if (depth > MERGES_MAX || ++w->visits > VISITS_MAX)
        return NULL;
    yaml_node_t *own = get_own(w, mapping, key);
    const yaml_node_t *from = own ? NULL : get_own(w, mapping, "<<");
    return from ? get_from(w, from, key, depth + 1) : own;
}

yaml_node_t *walk_get(struct image_walk *w, const yaml_node_t *mapping, const char *key)
{
    return get_merged(w, mapping, key, 0);
}

/* Aliases make little text into many nodes: it ends somewhere. */
bool walk_is_bounded(struct image_walk *w, const yaml_node_t *n, int depth)
{
    if (depth <= IMAGE_LIST_DEPTH_MAX && ++w->visits <= VISITS_MAX)
        return true;
    return err_set(w->err, ERR_TOO_LARGE, "%s: line %zu: nested too deep, or too large", w->file,
                   n->start_mark.line + 1);
}

bool walk_add(struct image_walk *w, const yaml_node_t *node, const char *text)
{
    if (strstr(text, "{{"))
        return err_set(w->err, ERR_INVALID, "%s: line %zu: a template: render it first", w->file,
                       node->start_mark.line + 1);
    return image_list_add(w->list, text, w->err) ||
           err_wrap(w->err, "%s: line %zu", w->file, node->start_mark.line + 1);
}

bool walk_is_null(const yaml_node_t *n)
{
    const char *text = walk_scalar(n);

    if (!n || (text && !*text))
        return true;
    return text && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0);
}

/* `{{ .Values.image }}` without quotes is a mapping to YAML. */
bool walk_add_image(struct image_walk *w, const yaml_node_t *node)
{
    if (walk_is_null(node))
        return true;
    if (!walk_scalar(node))
        return err_set(w->err, ERR_INVALID, "%s: line %zu: image is no text (a template? render it first)", w->file,
                       node->start_mark.line + 1);
    return walk_add(w, node, walk_scalar(node));
}

/* ---- documents ---- */

static bool not_yaml(struct image_walk *w, const yaml_parser_t *parser, const char *text)
{
    return err_set(w->err, ERR_INVALID, "%s: line %zu: not YAML: %s%s", w->file, parser->problem_mark.line + 1,
                   parser->problem ? parser->problem : "it cannot be read",
                   strstr(text, "{{") ? " (a template? render it first)" : "");
}

static bool has_anchor(const yaml_event_t *e)
{
    return (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor);
}

/* Counts before anything is built of it: a node takes many times its text. */
static bool check_events(struct image_walk *w, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int count = 0, depth = 0, anchors = 0;
    bool ok = true, more = true;

    if (!yaml_parser_initialize(&parser))
        return err_set(w->err, ERR_IO, "%s: no memory", w->file);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (ok && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            ok = not_yaml(w, &parser, text);
            break;
        }
        depth += event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
        depth -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        anchors = event.type == YAML_DOCUMENT_START_EVENT ? 0 : anchors + has_anchor(&event);
        if (depth > IMAGE_LIST_DEPTH_MAX || ++count > EVENTS_MAX || anchors > ANCHORS_MAX)
            ok = err_set(w->err, ERR_TOO_LARGE, "%s: line %zu: nested too deep, or too large", w->file,
                         event.start_mark.line + 1);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* Past the bound merged keys are not found any more: what was not looked at must not be missing without a word. */
static bool walk_is_whole(struct image_walk *w)
{
    return w->visits <= VISITS_MAX || err_set(w->err, ERR_TOO_LARGE, "%s: nested too deep, or too large", w->file);
}

bool walk_documents(struct image_walk *w, const char *text, size_t len,
                    bool (*fn)(struct image_walk *w, yaml_node_t *root))
{
    yaml_parser_t parser;
    bool ok = true, more = true;

    if (!check_events(w, text, len))
        return false;
    if (!yaml_parser_initialize(&parser))
        return err_set(w->err, ERR_IO, "%s: no memory", w->file);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (ok && more) {
        if (!yaml_parser_load(&parser, &w->doc)) {
            ok = not_yaml(w, &parser, text); /* an alias of nothing: no event is wrong then */
            break;
        }
        yaml_node_t *root = yaml_document_get_root_node(&w->doc);
        more = root != NULL;
        ok = (!root || fn(w, root)) && walk_is_whole(w);
        yaml_document_delete(&w->doc);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* ---- Kubernetes ---- */

static bool walk_node(struct image_walk *w, const yaml_node_t *n, int depth);

static bool kubernetes_take_containers(struct image_walk *w, const yaml_node_t *list)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return true;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *container = yaml_document_get_node(&w->doc, *i);
        if (!walk_is_bounded(w, container, 0) || !walk_add_image(w, walk_get(w, container, "image")))
            return false;
    }
    return true;
}

/* Volumes of images (Kubernetes 1.31). */
static bool kubernetes_take_volumes(struct image_walk *w, const yaml_node_t *list)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return true;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *volume = yaml_document_get_node(&w->doc, *i);
        if (!walk_is_bounded(w, volume, 0) ||
            !walk_add_image(w, walk_get(w, walk_get(w, volume, "image"), "reference")))
            return false;
    }
    return true;
}

static bool walk_pair(struct image_walk *w, const yaml_node_pair_t *p, int depth)
{
    const char *key = walk_scalar(yaml_document_get_node(&w->doc, p->key));
    const yaml_node_t *value = yaml_document_get_node(&w->doc, p->value);

    if (key &&
        (strcmp(key, "containers") == 0 || strcmp(key, "initContainers") == 0 ||
         strcmp(key, "ephemeralContainers") == 0) &&
        !kubernetes_take_containers(w, value))
        return false;
    if (key && strcmp(key, "volumes") == 0 && !kubernetes_take_volumes(w, value))
        return false;
    return walk_node(w, value, depth + 1);
}

/* Recursion ends at IMAGE_LIST_DEPTH_MAX, and after VISITS_MAX nodes. */
static bool walk_node(struct image_walk *w, const yaml_node_t *n, int depth)
{
    if (n && !walk_is_bounded(w, n, depth))
        return false;
    if (!n || n->type == YAML_SCALAR_NODE)
        return true;
    if (n->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++)
            if (!walk_node(w, yaml_document_get_node(&w->doc, *i), depth + 1))
                return false;
        return true;
    }
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++)
        if (!walk_pair(w, p, depth))
            return false;
    return true;
}

static bool walk_kubernetes(struct image_walk *w, yaml_node_t *root)
{
    return walk_node(w, root, 0);
}

bool image_list_read_kubernetes(struct image_list *l, const char *file, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    struct image_walk w = {.list = l, .file = file, .err = err};

    return image_list_file(file, &text, err) && walk_documents(&w, text.data, text.len, walk_kubernetes);
}
