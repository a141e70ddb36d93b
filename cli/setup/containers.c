/* containers.conf(5) of podman and buildah, which have no daemon: variables for themselves are `env` of [engine]. A
 * later file's list replaces that of an earlier one (unless that says otherwise, which old ones cannot), so ours is put
 * into the last one that has any. */
#include "cli/setup/engines.h"
#include "cli/setup/intercept.h"
#include "cli/setup/toml.h"

#include <string.h>

static const char FOLDER[] = "/etc/containers/containers.conf.d", SYSTEM[] = "/usr/share/containers/containers.conf",
                  MAIN[] = "/etc/containers/containers.conf",
                  OWN[] = "/etc/containers/containers.conf.d" SETUP_PROXY_FILE;
static const char ENV[] = "engine" TOML_DOT "env", HTTP_PROXY[] = "containers" TOML_DOT "http_proxy";

struct conf_search {
    struct proxy_search search;
    char *list;  /* the last file with variables; NULL: there is none */
    char *given; /* the file that gives containers the proxy explicitly */
    bool kept;   /* one says that containers are not given the proxy */
};

struct conf_list {
    struct conf_search *s;
    const char *path;
    int line;
    bool any;
};

static bool take_item(void *arg, const char *text)
{
    struct conf_list *l = arg;

    proxy_take(&l->s->search, text, l->path, l->line);
    l->any = true;
    return true;
}

static bool conf_refuse(struct err *err, const char *path, const struct toml_entry *e)
{
    return err_set(err, ERR_UNSUPPORTED,
                   "%s, line %d is not understood: write it as a key of its own; nothing was changed", path, e->line);
}

static bool conf_take(struct conf_search *s, const struct toml_file *f, const char *path, struct err *err)
{
    const struct toml_entry *env = toml_find(f, TOML_VALUE, ENV), *give = toml_find(f, TOML_VALUE, HTTP_PROXY);
    const struct toml_entry *engine = toml_find(f, TOML_VALUE, "engine");
    const struct toml_entry *containers = toml_find(f, TOML_VALUE, "containers");
    struct conf_list list = {s, path, env ? env->line : 0, false};

    if (engine || containers)
        return conf_refuse(err, path, engine ? engine : containers);
    if (env && !toml_each_text(f, env, take_item, &list))
        return conf_refuse(err, path, env);
    if (list.any) {
        free(s->list);
        s->list = xstrdup(path);
    }
    if (give) {
        s->kept = strncmp(f->text->data + give->value, "false", 5) == 0;
        free(s->given);
        s->given = s->kept ? NULL : xasprintf("%s, line %d", path, give->line);
    }
    return true;
}

static bool conf_scan(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    const struct setup_text *text = setup_view_read(v, path, err);
    _cleanup_toml_ struct toml_file f = {0};

    if (!text || !text->exists || setup_is_proxy_file(path))
        return text != NULL;
    return toml_read(&f, text, err) ? conf_take(arg, &f, path, err) : err_wrap(err, "%s", path);
}

/* Beside the variables that others give in this file. */
static bool conf_add_item(struct setup_view *v, const char *path, const char *item, struct err *err)
{
    const struct setup_text *text = setup_view_read(v, path, err);
    _cleanup_toml_ struct toml_file f = {0};
    _cleanup_buf_ struct buf out = {0};

    if (!text || !toml_read(&f, text, err))
        return false;
    toml_add_item(&out, text, toml_find(&f, TOML_VALUE, ENV), item);
    return setup_view_write(v, path, &out, 0644, err);
}

static bool conf_write(const struct conf_search *s, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    _cleanup_free_ char *item = xasprintf("HTTPS_PROXY=%s", t->proxy);
    _cleanup_buf_ struct buf out = {0};
    bool led = s->search.https.value != NULL;

    buf_adds(&out, SETUP_MARK " podman --intercept`; `entrepot setup podman --undo` removes it.\n");
    if (!led && !s->list)
        buf_addf(&out, "[engine]\nenv = [\"%s\"]\n", item);
    if (!s->kept)
        buf_adds(&out, "# Containers have networks of their own: they do not reach this machine's loopback.\n"
                       "[containers]\nhttp_proxy = false\n");
    return (led || !s->list || conf_add_item(v, s->list, item, err)) && setup_view_write(v, OWN, &out, 0644, err);
}

bool containers_plan_proxy(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    struct conf_search s = {.search = {.url = t->proxy, .prefix = ""}};
    bool ok = conf_scan(&s, v, SYSTEM, err) && conf_scan(&s, v, MAIN, err) &&
              setup_view_list(v, FOLDER, "*.conf", conf_scan, &s, err) && proxy_check(&s.search, v, t, err);

    if (ok && s.given)
        ok = err_set(
            err, ERR_BUSY,
            "%s gives containers the proxy (http_proxy), which they could not reach: remove it there and run it again",
            s.given);
    if (ok && s.list && strcmp(s.list, SYSTEM) == 0)
        ok = err_set(err, ERR_UNSUPPORTED,
                     "%s has `env`, which another file would replace: write that line to %s, and run it again", SYSTEM,
                     MAIN);
    ok = ok && conf_write(&s, v, t, err);
    if (ok)
        setup_note(
            v,
            "RUN lines of podman build and buildah get the proxy's address, too: where containers do not reach %s, "
            "give --http-proxy=false; skopeo reads no containers.conf: give it HTTPS_PROXY=%s in its environment",
            t->address, t->proxy);
    proxy_search_free(&s.search);
    free(s.list);
    free(s.given);
    return ok;
}
