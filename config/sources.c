/* Where each value comes from: the defaults, the file, the environment, the command line. */
#include "config/read.h"

#include <string.h>

static struct config_source *add_source(struct config *c, const char *path)
{
    c->sources = xrealloc(c->sources, ((size_t)c->source_count + 1) * sizeof(*c->sources));
    struct config_source *s = &c->sources[c->source_count++];
    *s = (struct config_source){.path = xstrdup(path)};
    return s;
}

void config_note_sources(struct config *c, const struct yaml_config *y)
{
    for (int i = 0; i < y->given_count; i++) {
        struct config_source *s = add_source(c, y->given[i].path);
        s->line = y->given[i].line;
        s->variable = y->given[i].variable[0] ? xstrdup(y->given[i].variable) : NULL;
    }
}

void config_note_option(struct config *c, const char *path, const char *option)
{
    for (int i = 0; i < c->source_count; i++)
        if (strcmp(c->sources[i].path, path) == 0) {
            c->sources[i].option = option;
            return;
        }
    add_source(c, path)->option = option;
}

void config_free_sources(struct config *c)
{
    for (int i = 0; i < c->source_count; i++) {
        free(c->sources[i].path);
        free(c->sources[i].variable);
    }
    free(c->sources);
    free(c->ignored);
}

const struct config_source *config_source_of(const struct config *c, const char *path)
{
    const struct config_source *best = NULL;

    for (int i = 0; i < c->source_count; i++) {
        const char *own = c->sources[i].path;
        size_t len = strlen(own);
        if (strncmp(own, path, len) == 0 && strchr(".[", path[len]) && (!best || len > strlen(best->path)))
            best = &c->sources[i]; /* (strchr() finds the end of the text, too) */
    }
    return best;
}

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
