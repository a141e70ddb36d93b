/* Images in YAML: Kubernetes manifests and compose files. Documents are walked node by node; an alias is a node that is
 * reached twice, so the visits are counted, too. */
#include "cli/image_list_private.h"

#include <string.h>
#include <yaml.h>

enum { VISITS_MAX = 1 << 20, EVENTS_MAX = 1 << 20, MERGES_MAX = 8 };

struct walk {
    struct image_list *list;
    const char *file;
    yaml_document_t doc; /* the one being read */
    int visits;
    struct err *err;
    char *env; /* compose: what is in .env */
};

static const char *scalar(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static yaml_node_t *get_own(struct walk *w, const yaml_node_t *mapping, const char *key)
{
    if (!mapping || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const char *k = scalar(yaml_document_get_node(&w->doc, p->key));
        w->visits++;
        if (k && strcmp(k, key) == 0)
            return yaml_document_get_node(&w->doc, p->value);
    }
    return NULL;
}

static yaml_node_t *get_merged(struct walk *w, const yaml_node_t *mapping, const char *key, int depth);

/* What the mapping, or the first of the mappings, after `<<` has. */
static yaml_node_t *get_from(struct walk *w, const yaml_node_t *from, const char *key, int depth)
{
    yaml_node_t *found = NULL;

    if (!from || from->type != YAML_SEQUENCE_NODE)
        return get_merged(w, from, key, depth);
    for (yaml_node_item_t *i = from->data.sequence.items.start; !found && i < from->data.sequence.items.top; i++)
        found = get_merged(w, yaml_document_get_node(&w->doc, *i), key, depth);
    return found;
}

static yaml_node_t *get_merged(struct walk *w, const yaml_node_t *mapping, const char *key, int depth)
{
    if (depth > MERGES_MAX || w->visits > VISITS_MAX)
        return NULL;
    yaml_node_t *own = get_own(w, mapping, key);
    const yaml_node_t *from = own ? NULL : get_own(w, mapping, "<<");
    return from ? get_from(w, from, key, depth + 1) : own;
}

/* The value of a key, its own or a merged one (`<<: *common`, YAML 1.1 merge keys). */
static yaml_node_t *get(struct walk *w, const yaml_node_t *mapping, const char *key)
{
    return get_merged(w, mapping, key, 0);
}

/* Aliases make little text into many nodes: it ends somewhere. */
static bool is_bounded(struct walk *w, const yaml_node_t *n, int depth)
{
    if (depth <= IMAGE_LIST_DEPTH_MAX && ++w->visits <= VISITS_MAX)
        return true;
    return err_set(w->err, ERR_TOO_LARGE, "%s: line %zu: nested too deep, or too large", w->file,
                   n->start_mark.line + 1);
}

static bool add(struct walk *w, const yaml_node_t *node, const char *text)
{
    if (strstr(text, "{{"))
        return err_set(w->err, ERR_INVALID, "%s: line %zu: a template: render it first", w->file,
                       node->start_mark.line + 1);
    return image_list_add(w->list, text, w->err) ||
           err_wrap(w->err, "%s: line %zu", w->file, node->start_mark.line + 1);
}

/* `image:` with nothing, or YAML's words for nothing, behind it. */
static bool is_null(const yaml_node_t *n)
{
    const char *text = scalar(n);

    if (!n || (text && !*text))
        return true;
    return text && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0);
}

/* The text of an image, if there is any. `{{ .Values.image }}` without quotes is a mapping to YAML. */
static bool add_image(struct walk *w, const yaml_node_t *node)
{
    if (is_null(node))
        return true;
    if (!scalar(node))
        return err_set(w->err, ERR_INVALID, "%s: line %zu: image is no text (a template? render it first)", w->file,
                       node->start_mark.line + 1);
    return add(w, node, scalar(node));
}

/* ---- documents ---- */

static bool not_yaml(struct walk *w, const yaml_parser_t *parser, const char *text)
{
    return err_set(w->err, ERR_INVALID, "%s: line %zu: not YAML: %s%s", w->file, parser->problem_mark.line + 1,
                   parser->problem ? parser->problem : "it cannot be read",
                   strstr(text, "{{") ? " (a template? render it first)" : "");
}

/* Counts before anything is built of it: a node takes many times its text. */
static bool check_events(struct walk *w, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int count = 0, depth = 0;
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
        if (depth > IMAGE_LIST_DEPTH_MAX || ++count > EVENTS_MAX)
            ok = err_set(w->err, ERR_TOO_LARGE, "%s: line %zu: nested too deep, or too large", w->file,
                         event.start_mark.line + 1);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

static bool each_document(struct walk *w, const char *text, size_t len, bool (*fn)(struct walk *w, yaml_node_t *root))
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
        ok = !root || fn(w, root);
        yaml_document_delete(&w->doc);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* ---- Kubernetes ---- */

static bool walk_node(struct walk *w, const yaml_node_t *n, int depth);

static bool take_containers(struct walk *w, const yaml_node_t *list)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return true;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *container = yaml_document_get_node(&w->doc, *i);
        if (!is_bounded(w, container, 0) || !add_image(w, get(w, container, "image")))
            return false;
    }
    return true;
}

/* Volumes of images (Kubernetes 1.31). */
static bool take_volumes(struct walk *w, const yaml_node_t *list)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return true;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *volume = yaml_document_get_node(&w->doc, *i);
        if (!is_bounded(w, volume, 0) || !add_image(w, get(w, get(w, volume, "image"), "reference")))
            return false;
    }
    return true;
}

static bool walk_pair(struct walk *w, const yaml_node_pair_t *p, int depth)
{
    const char *key = scalar(yaml_document_get_node(&w->doc, p->key));
    const yaml_node_t *value = yaml_document_get_node(&w->doc, p->value);

    if (key &&
        (strcmp(key, "containers") == 0 || strcmp(key, "initContainers") == 0 ||
         strcmp(key, "ephemeralContainers") == 0) &&
        !take_containers(w, value))
        return false;
    if (key && strcmp(key, "volumes") == 0 && !take_volumes(w, value))
        return false;
    return walk_node(w, value, depth + 1);
}

/* Recursion ends at IMAGE_LIST_DEPTH_MAX, and after VISITS_MAX nodes. */
static bool walk_node(struct walk *w, const yaml_node_t *n, int depth)
{
    if (n && !is_bounded(w, n, depth))
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

static bool walk_kubernetes(struct walk *w, yaml_node_t *root)
{
    return walk_node(w, root, 0);
}

bool image_list_read_kubernetes(struct image_list *l, const char *file, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    struct walk w = {.list = l, .file = file, .err = err};

    return image_list_file(file, &text, err) && each_document(&w, text.data, text.len, walk_kubernetes);
}

/* ---- compose ---- */

/* The environment wins over .env; of lines there, the last. */
static const char *look(void *arg, const char *name)
{
    struct walk *w = arg;
    const char *value = getenv(name);
    size_t len = strlen(name);
    bool given = value != NULL;

    for (char *p = given || !w->env ? NULL : w->env; p && *p; p += strlen(p) + 1)
        if (strncmp(p, name, len) == 0 && p[len] == '=')
            value = p + len + 1; /* the last one counts */
    return value;
}

/* Quotes go; without them, so does a comment after a space, and spaces at the end. */
static void add_variable(struct buf *out, const char *name, size_t len, const char *value)
{
    char quote = *value == '"' || *value == '\'' ? *value : '\0';
    const char *close = quote ? strchr(value + 1, quote) : NULL, *comment = strstr(value, " #");
    size_t n = comment ? (size_t)(comment - value) : strlen(value);

    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    if (close) {
        value++;
        n = (size_t)(close - value);
    }
    buf_add(out, name, len);
    buf_adds(out, "=");
    buf_add(out, value, n);
    buf_add(out, "", 1);
}

/* NAME=VALUE lines become texts one after the other; an empty one ends them. */
static char *read_env(const char *file)
{
    _cleanup_free_
    char *path = NULL;
    const char *slash = strrchr(file, '/');
    struct buf text = {0}, out = {0};

    path = slash ? xasprintf("%.*s/.env", (int)(slash - file), file) : xstrdup(".env"); /* stdin: of this folder */
    if (access(path, R_OK) != 0 || !image_list_file(path, &text, NULL)) {
        buf_free(&text);
        return NULL;
    }
    for (char *p = text.data, *end; p; p = end) {
        end = strchr(p, '\n');
        if (end)
            *end++ = '\0';
        p += strspn(p, " \t");
        p += strncmp(p, "export ", 7) == 0 ? 7 : 0;
        p[strcspn(p, "\r")] = '\0';
        char *value = strchr(p, '=');
        if (*p != '#' && value && value > p)
            add_variable(&out, p, (size_t)(value - p), value + 1);
    }
    buf_add(&out, "", 1);
    buf_free(&text);
    return out.data;
}

static bool walk_compose(struct walk *w, yaml_node_t *root)
{
    const yaml_node_t *services = get(w, root, "services");

    if (is_null(root))
        return true; /* after a last `---` */
    if (!services || services->type != YAML_MAPPING_NODE)
        return err_set(w->err, ERR_INVALID, "%s: there are no services: is it a compose file?", w->file);
    for (yaml_node_pair_t *p = services->data.mapping.pairs.start; p < services->data.mapping.pairs.top; p++) {
        const yaml_node_t *service = yaml_document_get_node(&w->doc, p->value), *image = get(w, service, "image");
        const char *name = scalar(yaml_document_get_node(&w->doc, p->key));
        if (!is_bounded(w, service, 0))
            return false;
        if (!is_null(image) && !scalar(image))
            return add_image(w, image);
        if (is_null(image)) {
            fprintf(stderr, "entrepot: %s: service %s has no image%s\n", w->file, name ? name : "?",
                    get(w, service, "build") ? ": it is built" : "");
            continue;
        }
        _cleanup_free_
        char *text = image_env_expand(scalar(image), look, w, w->err);
        if (!text)
            return err_wrap(w->err, "%s: line %zu", w->file, image->start_mark.line + 1);
        if (!add(w, image, text))
            return false;
    }
    return true;
}

bool image_list_read_compose(struct image_list *l, const char *file, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    struct walk w = {.list = l, .file = file, .err = err};

    if (!image_list_file(file, &text, err))
        return false;
    w.env = read_env(file);
    bool ok = each_document(&w, text.data, text.len, walk_compose);
    free(w.env);
    return ok;
}
