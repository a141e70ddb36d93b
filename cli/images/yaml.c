/* Walks YAML documents node by node. An alias lets a node be reached many times, so visits are counted. Also reads
 * Kubernetes manifests. */
#include "cli/images/private.h"

#include "base/yaml_bounds.h"

#include <string.h>

enum {
    VISITS_MAX = 1 << 20,
    EVENTS_MAX = 1 << 20,
    ANCHORS_MAX = 1000, /* libyaml searches all anchors for each anchor and alias */
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

/* The value in the mapping, or in the first of the mappings, that `<<` names. */
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

/* Aliases expand a small text to many nodes. */
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
        return err_set(w->err, ERR_INVALID, "%s: line %zu: image is not a string (a template? render it first)",
                       w->file, node->start_mark.line + 1);
    return walk_add(w, node, walk_scalar(node));
}

/* ---- documents ---- */

static bool walk_not_yaml(struct image_walk *w, const yaml_parser_t *parser, const char *text)
{
    return err_set(w->err, ERR_INVALID, "%s: line %zu: not YAML: %s%s", w->file, parser->problem_mark.line + 1,
                   parser->problem ? parser->problem : "it cannot be read",
                   strstr(text, "{{") ? " (a template? render it first)" : "");
}

/* Beyond the bound merged keys are not found: this must be an error, not a missing image. */
static bool walk_is_whole(struct image_walk *w)
{
    return w->visits <= VISITS_MAX || err_set(w->err, ERR_TOO_LARGE, "%s: nested too deep, or too large", w->file);
}

bool walk_documents(struct image_walk *w, const char *text, size_t len,
                    bool (*fn)(struct image_walk *w, yaml_node_t *root))
{
    static const struct yaml_bounds bounds = {IMAGE_LIST_DEPTH_MAX, ANCHORS_MAX, EVENTS_MAX};
    yaml_parser_t parser;
    bool ok = true, more = true;

    if (!yaml_is_bounded(text, len, &bounds, w->err))
        return err_wrap(w->err, "%s", w->file);
    if (!yaml_parser_initialize(&parser))
        return err_set(w->err, ERR_IO, "%s: out of memory", w->file);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (ok && more) {
        if (!yaml_parser_load(&parser, &w->doc)) {
            ok = walk_not_yaml(w, &parser, text);
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

/* Image volumes (Kubernetes 1.31). */
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

/* Recursion is bounded by IMAGE_LIST_DEPTH_MAX and VISITS_MAX. */
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
