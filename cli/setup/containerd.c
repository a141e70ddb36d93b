/* containerd 1.6 to 2.x: `config_path` of the CRI plugin names the folder with the hosts.toml of each registry; ctr and
 * nerdctl read that folder as well.
 *
 * config.toml has format 2 (1.5 and later; 2.x converts it) or 3 (2.x), and the table has another name in each. 2.x
 * merges the tables of imported files; 1.x replaces the whole table of a plugin by that of the imported file
 * (containerd issue 5837). So a file of our own is imported in format 3 alone. */
#include "cli/setup/engines.h"
#include "cli/setup/hosts.h"
#include "cli/setup/toml.h"

#include <fnmatch.h>
#include <string.h>

#define CRI_2 "plugins" TOML_DOT "io.containerd.grpc.v1.cri"
#define CRI_3 "plugins" TOML_DOT "io.containerd.cri.v1.images"

static const char CONFIG_TOML[] = "/etc/containerd/config.toml", FOLDER[] = "/etc/containerd/certs.d";
static const char IMPORTED[] =
    "/etc/containerd/conf.d"; /* what containerd 2.2 and later import without a config.toml */

struct containerd {
    struct setup_view *v;
    const struct setup_text *text;
    struct toml_file f;
    int version;        /* 0: there is no such line */
    bool no_cri;        /* the plugin is disabled */
    char *folder;       /* that config_path names; NULL: none */
    char *drop_in;      /* where a file of ours is imported from; NULL: nowhere */
    const char *plugin; /* the path of the plugin's table in this format */
};

static void containerd_free(struct containerd *c)
{
    toml_free(&c->f);
    free(c->folder);
    free(c->drop_in);
}

static bool refuse(struct err *err, const char *path, const struct toml_entry *e, const char *what)
{
    return err_set(err, ERR_UNSUPPORTED, "%s, line %d: %s; nothing was changed", path, e->line, what);
}

/* ---- config.toml, and what it imports ---- */

static bool notes_cri(void *arg, const char *text)
{
    bool *found = arg;

    *found = *found || strcmp(text, "cri") == 0 || strcmp(text, "io.containerd.grpc.v1.cri") == 0 ||
             strcmp(text, "io.containerd.cri.v1.images") == 0;
    return true;
}

/* What containerd refuses together with config_path, and what a line cannot be put beside. */
static bool containerd_check_registry(const struct toml_file *f, const char *path, const char *plugin, struct err *err)
{
    _cleanup_free_ char *registry = xasprintf("%s" TOML_DOT "registry", plugin);
    _cleanup_free_ char *mirrors = xasprintf("%s" TOML_DOT "mirrors", registry);
    _cleanup_free_ char *configs = xasprintf("%s" TOML_DOT "configs", registry);

    for (size_t i = 0; i < f->count; i++) {
        const struct toml_entry *e = &f->list[i];
        bool has_value = e->kind == TOML_VALUE || strcmp(e->path, mirrors) != 0;
        if (toml_is_below(e->path, mirrors) && has_value)
            return refuse(err, path, e,
                          "containerd refuses `mirrors` beside config_path: move the mirrors to "
                          "/etc/containerd/certs.d/HOST/hosts.toml and remove this table, then run it again");
        const char *last = strrchr(e->path, TOML_DOT[0]);
        bool tls = last && (strcmp(last + 1, "tls") == 0 || strstr(e->path, TOML_DOT "tls" TOML_DOT));
        if (toml_is_below(e->path, configs) && (tls || (e->kind == TOML_VALUE && f->text->data[e->value] == '{')))
            return refuse(
                err, path, e,
                "containerd refuses `configs` with tls beside config_path: move ca, client and skip_verify to "
                "/etc/containerd/certs.d/HOST/hosts.toml and remove this table, then run it again");
    }
    return true;
}

/* config_path of a file, if it is set: the first folder of the list. */
static bool take_folder(struct containerd *c, const struct toml_file *f, const char *path, const char *plugin,
                        struct err *err)
{
    _cleanup_free_ char *key = xasprintf("%s" TOML_DOT "registry" TOML_DOT "config_path", plugin);
    const struct toml_entry *e = toml_find(f, TOML_VALUE, key);
    _cleanup_free_ char *text = e ? toml_text(f, e) : NULL;

    if (!e)
        return true;
    if (!text || (text[0] && text[0] != '/'))
        return refuse(err, path, e, "config_path is not understood");
    if (text[0]) {
        free(c->folder);
        c->folder = xstrndup(text, strcspn(text, ":"));
    }
    return true;
}

static bool import_file(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    struct containerd *c = arg;
    const struct setup_text *text = setup_view_read(v, path, err);
    _cleanup_toml_ struct toml_file f = {0};

    if (!text || !toml_read(&f, text, err))
        return text ? err_wrap(err, "%s", path) : false;
    if (!containerd_check_registry(&f, path, CRI_2, err) || !containerd_check_registry(&f, path, CRI_3, err) ||
        !take_folder(c, &f, path, CRI_2, err) || !take_folder(c, &f, path, CRI_3, err))
        return false;
    for (size_t i = 0; i < f.count && c->version < 3 && !c->folder; i++)
        if (toml_is_below(f.list[i].path, CRI_2))
            return refuse(err, path, &f.list[i],
                          "containerd 1.x takes the CRI plugin's settings from this file alone: add config_path there, "
                          "then run it again");
    return true;
}

struct import_search {
    struct containerd *c;
    struct err *err;
    bool ok;
};

static bool take_import(void *arg, const char *import)
{
    struct import_search *s = arg;
    struct containerd *c = s->c;
    _cleanup_free_ char *full =
        import[0] == '/' ? xstrdup(import)
                         : xasprintf("%.*s/%s", (int)(strrchr(CONFIG_TOML, '/') - CONFIG_TOML), CONFIG_TOML, import);
    char *slash = strrchr(full, '/');
    _cleanup_free_ char *folder = xstrndup(full, (size_t)(slash - full));

    if (strpbrk(folder, "*?[")) {
        s->ok = err_set(s->err, ERR_UNSUPPORTED, "%s imports %s, which is not understood; nothing was changed",
                        CONFIG_TOML, import);
        return false;
    }
    s->ok = setup_view_list(c->v, folder[0] ? folder : "/", slash + 1, import_file, c, s->err);
    if (fnmatch(slash + 1, "entrepot.toml", 0) == 0 && strchr(slash + 1, '*') && !c->drop_in)
        c->drop_in = xasprintf("%s/entrepot.toml", folder);
    return s->ok;
}

static bool read_imports(struct containerd *c, struct err *err)
{
    const struct toml_entry *imports = toml_find(&c->f, TOML_VALUE, "imports");
    struct import_search s = {c, err, true};

    if (imports && !toml_each_text(&c->f, imports, take_import, &s) && s.ok)
        return refuse(err, CONFIG_TOML, imports, "`imports` is not understood");
    return s.ok;
}

/* The format: an absent line means 1, which has other names for everything. */
static bool read_version(struct containerd *c, struct err *err)
{
    const struct toml_entry *version = toml_find(&c->f, TOML_VALUE, "version");
    const struct toml_entry *disabled = toml_find(&c->f, TOML_VALUE, "disabled_plugins");
    const char *number = version ? c->f.text->data + version->value : "0";

    if (disabled && !toml_each_text(&c->f, disabled, notes_cri, &c->no_cri))
        return refuse(err, CONFIG_TOML, disabled, "`disabled_plugins` is not understood");
    c->version = number[0] >= '0' && number[0] <= '4' && (!version || version->value_end == version->value + 1)
                     ? number[0] - '0'
                     : 9;
    c->plugin = c->version < 3 ? CRI_2 : CRI_3;
    if (c->version > 4)
        return refuse(err, CONFIG_TOML, version, "this `version` is not known");
    if (c->version < 2 && !c->no_cri && c->f.count > 0)
        return refuse(
            err, CONFIG_TOML, version ? version : &c->f.list[0],
            "the file has format 1 (no `version = 2`): convert it to version 2, see containerd-config.toml(5) "
            "and `containerd config migrate`, then run it again");
    return true;
}

static bool containerd_read(struct containerd *c, struct err *err)
{
    c->text = setup_view_read(c->v, CONFIG_TOML, err);
    if (!c->text)
        return false;
    if (!toml_read(&c->f, c->text, err))
        return err_wrap(err, "%s", CONFIG_TOML);
    if (!read_version(c, err))
        return false;
    if (c->no_cri)
        return true;
    if (!containerd_check_registry(&c->f, CONFIG_TOML, c->plugin, err) ||
        !take_folder(c, &c->f, CONFIG_TOML, c->plugin, err) || !read_imports(c, err))
        return false;
    return true;
}

/* ---- config_path ---- */

static bool add_drop_in(struct containerd *c, struct err *err)
{
    _cleanup_buf_ struct buf out = {0};

    buf_addf(&out,
             SETUP_MARK " containerd`; `entrepot setup containerd --undo` removes it.\nversion = %d\n\n"
                        "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"%s\"\n",
             c->version, FOLDER);
    return setup_view_write(c->v, c->drop_in, &out, 0644, err);
}

/* A config.toml of ours. Without one, containerd 2.2 and later import conf.d: they go on doing that. */
static void add_whole(struct containerd *c, struct buf *out)
{
    bool imports = !c->text->exists && setup_view_has_content(c->v, IMPORTED);
    _cleanup_free_ char *lines =
        xasprintf("version = 2\n%s%s%s\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"%s\"\n",
                  imports ? "imports = [\"" : "", imports ? IMPORTED : "", imports ? "/*.toml\"]\n" : "", FOLDER);

    toml_add_section(out, c->text, lines);
}

static bool add_config_path(struct containerd *c, struct err *err)
{
    _cleanup_free_ char *registry = xasprintf("%s" TOML_DOT "registry", c->plugin);
    _cleanup_free_ char *key = xasprintf("%s" TOML_DOT "config_path", registry);
    _cleanup_free_ char *line = xasprintf("config_path = \"%s\"", FOLDER), *quoted = xasprintf("\"%s\"", FOLDER);
    const struct toml_entry *value = toml_find(&c->f, TOML_VALUE, key);
    const struct toml_entry *table = toml_find(&c->f, TOML_TABLE, registry);
    const struct toml_entry *closed = value ? NULL : toml_find_closed(&c->f, registry);
    _cleanup_buf_ struct buf out = {0};

    if (closed)
        return refuse(err, CONFIG_TOML, closed,
                      "config_path cannot be added beside this key: add it by hand to the table of the CRI plugin's "
                      "registry, then run it again");
    if (c->f.count == 0) {
        add_whole(c, &out);
    } else if (value) { /* "" */
        setup_splice(&out, &c->text->bytes, value->value, value->value_end - value->value, quoted);
    } else if (table) {
        toml_add_key(&out, c->text, &c->f, table, line);
    } else {
        _cleanup_free_ char *section =
            xasprintf("[plugins.\"%s\".registry]\n  %s\n", c->plugin + strlen("plugins" TOML_DOT), line);
        toml_add_section(&out, c->text, section);
    }
    return setup_view_write(c->v, CONFIG_TOML, &out, 0644, err);
}

static bool containerd_plan_config(struct containerd *c, struct err *err)
{
    if (c->no_cri)
        setup_note(c->v,
                   "%s disables the CRI plugin, as Docker's package does, and is left as it is: ctr --hosts-dir %s and "
                   "nerdctl pull through entrepot, kubelet and crictl cannot pull at all",
                   CONFIG_TOML, FOLDER);
    if (c->no_cri || c->folder)
        return true;
    return c->version >= 3 && c->drop_in ? add_drop_in(c, err) : add_config_path(c, err);
}

static bool containerd_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    struct containerd c = {.v = v};
    bool ok = containerd_read(&c, err) && hosts_plan(v, c.folder ? c.folder : FOLDER, t, err) &&
              containerd_plan_config(&c, err);

    containerd_free(&c);
    return ok;
}

static const char *const CONTAINERD_RESTART[] = {"restart", "containerd", NULL};

/* hosts.toml is read at each pull. */
static const char *const *containerd_reload(const char *path)
{
    const char *name = strrchr(path, '/');

    return strcmp(name, "/hosts.toml") == 0 || strcmp(name, "/entrepot-ca.crt") == 0 ? NULL : CONTAINERD_RESTART;
}

static const char *const CONTAINERD_PROGRAMS[] = {"containerd", NULL};

static const char *const CONTAINERD_UNITS[] = {"containerd.service", NULL};

const struct setup_engine SETUP_CONTAINERD = {.name = "containerd",
                                              .way = SETUP_BY_NS,
                                              .programs = CONTAINERD_PROGRAMS,
                                              .plan = containerd_plan,
                                              .reload = containerd_reload,
                                              .units = CONTAINERD_UNITS,
                                              .restart = CONTAINERD_RESTART};
