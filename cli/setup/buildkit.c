/* BuildKit on its own (buildkitd; the one within dockerd uses dockerd's mirrors): buildkitd.toml has a table for each
 * registry, with its mirrors, and one for entrepot, which speaks HTTP. */
#include "cli/setup/engines.h"
#include "cli/setup/toml.h"

#include <string.h>

static const char BUILDKITD_TOML[] = "/etc/buildkit/buildkitd.toml", CERTIFICATE[] = "/etc/buildkit/entrepot-ca.crt";

static bool is_first(void *arg, const char *text)
{
    const char **address = arg;

    if (strcmp(text, *address) == 0)
        *address = NULL;
    return false;
}

/* The text with one more thing: `*text` is replaced. */
static void buildkit_replace(struct setup_text *text, const struct buf *out)
{
    buf_clear(&text->bytes);
    buf_add(&text->bytes, out->data, out->len);
    text->exists = true;
}

static bool buildkit_refuse(struct err *err, const struct toml_entry *e)
{
    return err_set(err, ERR_UNSUPPORTED,
                   "%s, line %d is not understood: write it as [registry.\"HOST\"], a key a line; "
                   "nothing was changed",
                   BUILDKITD_TOML, e->line);
}

/* `key` of the table of `registry` becomes `item` (a list of texts: its first one), or the line is added. */
static bool buildkit_add(struct setup_text *text, const char *registry, const char *key, const char *item,
                         struct err *err)
{
    _cleanup_free_ char *path = xasprintf("registry" TOML_DOT "%s", registry);
    _cleanup_free_ char *value_path = xasprintf("%s" TOML_DOT "%s", path, key);
    bool list = strcmp(key, "http") != 0;
    _cleanup_free_ char *line = xasprintf(list ? "%s = [\"%s\"]" : "%s = %s", key, item);
    _cleanup_toml_ struct toml_file f = {0};
    _cleanup_buf_ struct buf out = {0};
    const char *first = item;

    if (!toml_read(&f, text, err))
        return err_wrap(err, "%s", BUILDKITD_TOML);
    const struct toml_entry *value = toml_find(&f, TOML_VALUE, value_path), *table = toml_find(&f, TOML_TABLE, path);
    const struct toml_entry *closed = toml_find_closed(&f, path);
    if (!value && closed)
        return buildkit_refuse(err, closed);
    if (value && list) {
        if (!toml_each_text(&f, value, is_first, &first))
            return buildkit_refuse(err, value);
        if (!first)
            return true;
        toml_add_item(&out, text, value, item);
    } else if (value) {
        return strncmp(f.text->data + value->value, item, strlen(item)) == 0 || buildkit_refuse(err, value);
    } else if (table) {
        toml_add_key(&out, text, &f, table, line);
    } else {
        _cleanup_free_ char *section = xasprintf("[registry.\"%s\"]\n  %s\n", registry, line);
        toml_add_section(&out, text, section);
    }
    toml_free(&f);
    buildkit_replace(text, &out);
    return true;
}

static bool buildkit_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    const struct setup_text *base = setup_view_read(v, BUILDKITD_TOML, err);
    struct setup_text text = {0};
    bool ok = base != NULL;

    if (ok)
        setup_text_copy(&text, base);
    for (size_t i = 0; ok && i < t->count; i++)
        ok = buildkit_add(&text, t->registries[i], "mirrors", t->address, err);
    if (!t->tls)
        ok = ok && buildkit_add(&text, t->address, "http", "true", err);
    else if (t->certificate)
        ok = ok && buildkit_add(&text, t->address, "ca", CERTIFICATE, err) &&
             setup_plan_certificate(v, t, CERTIFICATE, err);
    ok = ok && (setup_text_same(&text, base) || setup_view_write(v, BUILDKITD_TOML, &text.bytes, 0644, err));
    setup_text_free(&text);
    return ok;
}

static const char *const BUILDKIT_RESTART[] = {"restart", "buildkit", NULL};

static const char *const *buildkit_reload(const char *path UNUSED)
{
    return BUILDKIT_RESTART;
}

static const char *const BUILDKIT_PROGRAMS[] = {"buildkitd", NULL};

static const char *const BUILDKIT_UNITS[] = {"buildkit.service", NULL};

const struct setup_engine SETUP_BUILDKIT = {.name = "buildkit",
                                            .way = SETUP_BY_NS,
                                            .programs = BUILDKIT_PROGRAMS,
                                            .plan = buildkit_plan,
                                            .reload = buildkit_reload,
                                            .units = BUILDKIT_UNITS,
                                            .restart = BUILDKIT_RESTART};
