#include "base/yaml_bounds.h"

#include <stdlib.h>
#include <yaml.h>

static bool has_anchor(const yaml_event_t *e)
{
    return (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor);
}

static void yaml_count(struct yaml_bounds *so_far, const yaml_event_t *e)
{
    so_far->events++;
    so_far->depth += e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT;
    so_far->depth -= e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT;
    so_far->anchors = e->type == YAML_DOCUMENT_START_EVENT ? 0 : so_far->anchors + has_anchor(e);
}

static bool yaml_compare(const struct yaml_bounds *so_far, const struct yaml_bounds *most, size_t line, struct err *err)
{
    if (so_far->depth > most->depth)
        return err_set(err, ERR_TOO_LARGE, "line %zu: nested deeper than %d", line, most->depth);
    if (so_far->anchors > most->anchors)
        return err_set(err, ERR_TOO_LARGE, "line %zu: more than %d anchors", line, most->anchors);
    if (so_far->events > most->events)
        return err_set(err, ERR_TOO_LARGE, "line %zu: more than %d keys and values", line, most->events);
    return true;
}

bool yaml_is_bounded(const char *text, size_t len, const struct yaml_bounds *most, struct err *err)
{
    struct yaml_bounds so_far = {0};
    yaml_parser_t parser;
    yaml_event_t event;
    bool ok = true, more = true;

    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (ok && more && yaml_parser_parse(&parser, &event)) {
        yaml_count(&so_far, &event);
        ok = yaml_compare(&so_far, most, event.start_mark.line + 1, err);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}
