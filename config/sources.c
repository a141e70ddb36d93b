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
        if (config_path_is_in(path, own) && (!best || strlen(own) > strlen(best->path)))
            best = &c->sources[i];
    }
    return best;
}
