/* From a text into a YAML document, and lines of it. */
#include "config/yaml.h"

#include "base/yaml_bounds.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

enum {
    DEPTH_MAX = 32, /* the deepest key is at five */
    ANCHORS_MAX = 1000,
};

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

bool config_document_parse(yaml_document_t *out, const char *text, size_t len, struct err *err)
{
    static const struct yaml_bounds bounds = {DEPTH_MAX, ANCHORS_MAX, INT_MAX};
    yaml_parser_t parser;

    if (!yaml_is_bounded(text, len, &bounds, err) || !check_events(text, len, err))
        return false;
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    bool ok = yaml_parser_load(&parser, out) || not_yaml(&parser, text, len, err);
    yaml_parser_delete(&parser);
    return ok;
}

/* ---- lines ---- */

static int line_at(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

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
            line = node ? line_at(node) : line;
            path = end + (*end == ']');
        } else {
            size_t len = strcspn(path, ".[");
            if (node->type == YAML_SEQUENCE_NODE) /* of one: messages leave its number out */
                node = find_entry(&y->document, node, 0);
            const yaml_node_pair_t *p = node ? find_pair(&y->document, node, path, len) : NULL;
            line = p ? line_at(yaml_document_get_node(&y->document, p->key)) : line;
            node = p ? yaml_document_get_node(&y->document, p->value) : NULL;
            path += len;
        }
        path += *path == '.';
    }
    return line;
}
