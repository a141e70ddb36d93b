/* `credentials` may be one mapping, or a list of them; an entry of `endpoints` a URL, or a mapping. libcyaml knows one
 * form for a key: before it reads the text, the mapping is made a list of one, the URL a mapping {url: URL}. What it
 * says about lines is of no concern, we find those in the text as it was written (line.c). */
#include "config/yaml.h"

#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 16 };

struct level {
    bool list;
    bool wants_value; /* of a mapping: its key has been read */
    char key[16];     /* the last one, as far as it matters */
};

struct rewriting {
    yaml_emitter_t emitter;
    struct buf out;
    struct level levels[DEPTH_MAX];
    int depth;
    int wrapped; /* the depth of the mapping that is being made a list; 0: none */
};

static int keep(void *arg, unsigned char *data, size_t len)
{
    buf_add(arg, data, len);
    return 1;
}

/* Whether a mapping that begins here is the value of upstreams[].credentials. */
static bool is_to_wrap(const struct rewriting *r)
{
    return r->depth == 3 && !r->levels[0].list && strcmp(r->levels[0].key, "upstreams") == 0 && r->levels[1].list &&
           !r->levels[2].list && r->levels[2].wants_value && strcmp(r->levels[2].key, "credentials") == 0;
}

/* Whether a scalar is an entry of upstreams[].endpoints. */
static bool is_endpoint(const struct rewriting *r)
{
    return r->depth == 4 && !r->levels[0].list && strcmp(r->levels[0].key, "upstreams") == 0 && r->levels[1].list &&
           !r->levels[2].list && strcmp(r->levels[2].key, "endpoints") == 0 && r->levels[3].list;
}

/* A key or a value is complete. */
static void count_node(struct rewriting *r, const yaml_event_t *e)
{
    struct level *l = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;

    if (!l || l->list)
        return;
    if (!l->wants_value && e->type == YAML_SCALAR_EVENT)
        snprintf(l->key, sizeof(l->key), "%s", (const char *)e->data.scalar.value);
    l->wants_value = !l->wants_value;
}

static bool put_list(struct rewriting *r, bool start)
{
    yaml_event_t e;

    return (start ? yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE)
                  : yaml_sequence_end_event_initialize(&e)) &&
           yaml_emitter_emit(&r->emitter, &e);
}

/* Takes the event. */
static bool put_endpoint(struct rewriting *r, yaml_event_t *url)
{
    yaml_event_t e;
    bool ok =
        yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_FLOW_MAPPING_STYLE) &&
        yaml_emitter_emit(&r->emitter, &e) &&
        yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)"url", 3, 1, 1, YAML_PLAIN_SCALAR_STYLE) &&
        yaml_emitter_emit(&r->emitter, &e);

    if (!ok) {
        yaml_event_delete(url);
        return false;
    }
    return yaml_emitter_emit(&r->emitter, url) && yaml_mapping_end_event_initialize(&e) &&
           yaml_emitter_emit(&r->emitter, &e);
}

/* Takes the event. */
static bool copy(struct rewriting *r, yaml_event_t *e)
{
    bool begins = e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT,
         ends = e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT;

    if (e->type == YAML_SCALAR_EVENT && is_endpoint(r))
        return put_endpoint(r, e);
    if (e->type == YAML_MAPPING_START_EVENT && is_to_wrap(r)) {
        r->wrapped = r->depth + 1;
        if (!put_list(r, true)) {
            yaml_event_delete(e);
            return false;
        }
    }
    if (begins || e->type == YAML_SCALAR_EVENT || e->type == YAML_ALIAS_EVENT)
        count_node(r, e);
    if (begins && r->depth == DEPTH_MAX) {
        yaml_event_delete(e);
        return false;
    }
    if (begins)
        r->levels[r->depth++] = (struct level){.list = e->type == YAML_SEQUENCE_START_EVENT};
    bool wrapped_ends = ends && r->depth == r->wrapped;
    r->depth -= ends;
    if (!yaml_emitter_emit(&r->emitter, e))
        return false;
    if (wrapped_ends)
        r->wrapped = 0;
    return !wrapped_ends || put_list(r, false);
}

bool config_yaml_make_lists(const char *text, size_t len, struct buf *out)
{
    struct rewriting r = {0};
    yaml_parser_t parser;
    yaml_event_t e;
    bool ok = true, end = false;

    if (!yaml_parser_initialize(&parser))
        return false;
    if (!yaml_emitter_initialize(&r.emitter)) {
        yaml_parser_delete(&parser);
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    yaml_emitter_set_output(&r.emitter, keep, &r.out);
    yaml_emitter_set_unicode(&r.emitter, 1);
    while (ok && !end) {
        ok = yaml_parser_parse(&parser, &e) == 1;
        end = ok && e.type == YAML_STREAM_END_EVENT;
        ok = ok && copy(&r, &e);
    }
    yaml_emitter_delete(&r.emitter);
    yaml_parser_delete(&parser);
    if (!ok)
        buf_free(&r.out);
    *out = r.out;
    return ok;
}
