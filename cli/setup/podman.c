/* podman, buildah and skopeo; CRI-O: all read registries.conf(5) and, after it, registries.conf.d/ in the order of
 * names. A later [[registry]] replaces an earlier one of the same prefix, so a file of ours would silently replace
 * others' sections: a registry that has one is left to it. */
#include "cli/setup/engines.h"
#include "cli/setup/intercept.h"
#include "cli/setup/toml.h"

#include <string.h>

static const char REGISTRIES_CONF[] = "/etc/containers/registries.conf";
static const char REGISTRIES_FOLDER[] = "/etc/containers/registries.conf.d";
static const char OWN_FILES[] = "/etc/containers/registries.conf.d/050-entrepot-";

/* Looks for the section of one registry. */
struct registry_search {
    const char *registry, *address;
    char *file; /* that has it; NULL: none has */
    int line;
    bool led; /* its first mirror is entrepot */
};

/* One [[registry]] while its keys pass by. */
struct registry_section {
    char *prefix, *location, *mirror;
    int line;
};

static void section_clear(struct registry_section *s)
{
    free(s->prefix);
    free(s->location);
    free(s->mirror);
    *s = (struct registry_section){0};
}

static bool is_led(const struct registry_search *s, const char *mirror)
{
    size_t len = strlen(s->address);

    return mirror && strncmp(mirror, s->address, len) == 0 && (mirror[len] == '\0' || mirror[len] == '/');
}

static void section_end(struct registry_search *s, struct registry_section *section, const char *path)
{
    const char *name = section->prefix && section->prefix[0] ? section->prefix : section->location;

    if (name && strcmp(name, s->registry) == 0) {
        free(s->file);
        s->file = xstrdup(path);
        s->line = section->line;
        s->led = is_led(s, section->mirror);
    }
    section_clear(section);
}

/* A later file counts more. */
static bool search_file(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    struct registry_search *s = arg;
    struct registry_section section = {0};
    const struct setup_text *text = setup_view_read(v, path, err);
    _cleanup_toml_ struct toml_file f = {0};

    if (strncmp(path, OWN_FILES, sizeof(OWN_FILES) - 1) == 0) /* the other engine's */
        return true;
    if (!text || !toml_read(&f, text, err))
        return text ? err_wrap(err, "%s", path) : false;
    for (size_t i = 0; i < f.count; i++) {
        const struct toml_entry *e = &f.list[i];
        if (e->kind == TOML_ELEMENT && strcmp(e->path, "registry") == 0) {
            section_end(s, &section, path);
            section.line = e->line;
        } else if (e->kind == TOML_VALUE && strcmp(e->path, "registry" TOML_DOT "prefix") == 0) {
            free(section.prefix);
            section.prefix = toml_text(&f, e);
        } else if (e->kind == TOML_VALUE && strcmp(e->path, "registry" TOML_DOT "location") == 0) {
            free(section.location);
            section.location = toml_text(&f, e);
        } else if (e->kind == TOML_VALUE && !section.mirror &&
                   strcmp(e->path, "registry" TOML_DOT "mirror" TOML_DOT "location") == 0) {
            section.mirror = toml_text(&f, e);
        } else if (e->kind == TOML_VALUE && strcmp(e->path, "registry") == 0) {
            section_clear(&section);
            return err_set(err, ERR_UNSUPPORTED,
                           "%s, line %d: `registry = [...]` is not understood; write [[registry]]", path, e->line);
        }
    }
    section_end(s, &section, path);
    return true;
}

static void add_registry(struct buf *out, const char *registry, const struct setup_target *t)
{
    buf_addf(out,
             "\n[[registry]]\nprefix = \"%s\"\nlocation = \"%s\"\n[[registry.mirror]]\nlocation = \"%s/%s\"\n"
             "%s",
             registry, registry, t->address, registry, t->tls ? "" : "insecure = true\n");
}

static bool containers_plan(struct setup_view *v, const struct setup_target *t, const char *engine, struct err *err)
{
    _cleanup_free_ char *own = xasprintf("%s%s.conf", OWN_FILES, engine);
    _cleanup_buf_ struct buf out = {0};
    size_t ours = 0;

    buf_addf(&out, SETUP_MARK " %s`; `entrepot setup %s --undo` removes it.\n", engine, engine);
    for (size_t i = 0; i < t->count; i++) {
        struct registry_search s = {t->registries[i], t->address, NULL, 0, false};
        const struct setup_text *main = setup_view_read(v, REGISTRIES_CONF, err);
        bool ok = main && (!main->exists || search_file(&s, v, REGISTRIES_CONF, err)) &&
                  setup_view_list(v, REGISTRIES_FOLDER, "*.conf", search_file, &s, err);
        if (ok && s.file && !s.led)
            setup_leave(
                v,
                "%s has a [[registry]] in %s, line %d, and is left as it is: add [[registry.mirror]] there with "
                "location = \"%s/%s\"%s",
                s.registry, s.file, s.line, t->address, s.registry, t->tls ? "" : " and insecure = true");
        if (ok && !s.file) {
            add_registry(&out, s.registry, t);
            ours++;
        }
        free(s.file);
        if (!ok)
            return false;
    }
    /* The folder is of all of them, each engine has a file of its own there. */
    _cleanup_free_ char *certificate = xasprintf("/etc/containers/certs.d/%s/entrepot-%s.crt", t->address, engine);
    return (ours == 0 || setup_view_write(v, own, &out, 0644, err)) && setup_plan_certificate(v, t, certificate, err);
}

static bool podman_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    return containers_plan(v, t, "podman", err);
}

static bool crio_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    return containers_plan(v, t, "crio", err);
}

static const char *const *podman_reload(const char *path UNUSED)
{
    return NULL;
}

static const char *const *crio_reload(const char *path UNUSED)
{
    static const char *const command[] = {"reload", "crio", NULL};

    return command;
}

static const char *const PODMAN_PROGRAMS[] = {"podman", "buildah", "skopeo", NULL};
static const char *const CRIO_PROGRAMS[] = {"crio", NULL};

static const char *const CRIO_UNITS[] = {"crio.service", NULL};
static const char *const CRIO_RESTART[] = {"restart", "crio", NULL};

const struct setup_engine SETUP_PODMAN = {.name = "podman",
                                          .way = SETUP_BY_PREFIX,
                                          .programs = PODMAN_PROGRAMS,
                                          .plan = podman_plan,
                                          .reload = podman_reload,
                                          .plan_proxy = containers_plan_proxy};
const struct setup_engine SETUP_CRIO = {.name = "crio",
                                        .way = SETUP_BY_PREFIX,
                                        .programs = CRIO_PROGRAMS,
                                        .plan = crio_plan,
                                        .reload = crio_reload,
                                        .units = CRIO_UNITS,
                                        .restart = CRIO_RESTART};
