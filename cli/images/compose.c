/* Images of compose files: of services, of services that they extend in other files, and of included files. */
#include "cli/lib/cli.h"
#include "cli/images/private.h"

#include <string.h>

enum {
    FILES_MAX = 256,
    INCLUDES_MAX = 8, /* levels of inclusion */
    EXTENDS_MAX = 8,
    VALUES_MAX = 16 << 20, /* bytes of all expanded variables: each may double the value of another */
};

/* Bounds for all files together. */
struct compose_total {
    int files;     /* read so far, including .env files */
    size_t bytes;  /* of these; a file counts each time it is read */
    size_t values; /* bytes of expanded variables */
};

/* A file being read. */
struct compose {
    const struct compose *by; /* the file that includes it, or NULL */
    const char *wanted;       /* only this service, which another file extends; NULL: all services */
    char *folder;             /* the base of its relative paths: "", or a path that ends in a slash */
    json_t *env;              /* the variables of its .env; NULL: none */
    int depth;
    struct compose_total *total;
};

/* ---- variables ---- */

/* Precedence: the environment, the including file's variables, its own. Of repeated lines in .env, the last counts. */
static const char *look_in(const struct compose *c, const char *name)
{
    const char *value = c->by ? look_in(c->by, name) : getenv(name);

    return value ? value : json_string_value(json_object_get(c->env, name));
}

/* Beyond the bound no variable has a value; is_bounded() reports it. */
static const char *compose_look(void *arg, const char *name)
{
    const struct compose *c = arg;
    const char *value = c->total->values <= VALUES_MAX ? look_in(c, name) : NULL;

    c->total->values += value ? strlen(value) : 0;
    return value;
}

static bool is_bounded(const struct compose *c, const char *file, struct err *err)
{
    return c->total->values <= VALUES_MAX ||
           err_set(err, ERR_TOO_LARGE, "%s: the values of its variables exceed %d MiB", file, (int)(VALUES_MAX >> 20));
}

/* Removes quotes; of an unquoted value, surrounding blanks and a comment after a space. Variables defined before are
 * expanded, except in single quotes. */
static void add_variable(struct compose *c, const char *name, size_t len, const char *value)
{
    while (len > 0 && (name[len - 1] == ' ' || name[len - 1] == '\t'))
        len--;
    value += strspn(value, " \t");
    char quote = *value == '"' || *value == '\'' ? *value : '\0';
    const char *close = quote ? strchr(value + 1, quote) : NULL, *comment = strstr(value, " #");
    size_t n = comment ? (size_t)(comment - value) : strlen(value);

    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    if (close) {
        value++;
        n = (size_t)(close - value);
    }
    _cleanup_free_ char *plain = xasprintf("%.*s", (int)n, value),
                        *full = close && quote == '\'' ? NULL : image_env_expand(plain, compose_look, c, NULL);
    _cleanup_free_ char *key = xstrndup(name, len);
    if (!c->env)
        c->env = json_object();
    json_object_set_new_nocheck(c->env, key, json_string_nocheck(full ? full : plain));
}

/* Reads a whole file within the bounds. */
static bool compose_read_text(const struct compose *c, const char *file, struct buf *text, struct err *err)
{
    if (c->depth > INCLUDES_MAX || ++c->total->files > FILES_MAX)
        return err_set(err, ERR_TOO_LARGE,
                       "%s: more than %d files, or more than %d levels of inclusion: do files include each other?",
                       file, (int)FILES_MAX, (int)INCLUDES_MAX);
    if (!image_list_file(file, text, err))
        return false;
    c->total->bytes += text->len;
    return c->total->bytes <= IMAGE_LIST_FILE_MAX ||
           err_set(err, ERR_TOO_LARGE, "%s: all files together exceed %d MiB", file, (int)(IMAGE_LIST_FILE_MAX >> 20));
}

static bool read_env(struct compose *c, const char *path, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};

    if (!compose_read_text(c, path, &text, err))
        return false;
    for (char *p = text.data, *end; p && c->total->values <= VALUES_MAX; p = end) {
        end = strchr(p, '\n');
        if (end)
            *end++ = '\0';
        p += strspn(p, " \t");
        p += strncmp(p, "export ", 7) == 0 ? 7 : 0;
        p += strspn(p, " \t");
        p[strcspn(p, "\r")] = '\0';
        char *value = p + strcspn(p, "=:"); /* `NAME: value` is accepted, too */
        value = *value ? value : NULL;
        if (*p != '#' && value && value > p)
            add_variable(c, p, (size_t)(value - p), value + 1);
    }
    return is_bounded(c, path, err);
}

/* The .env of the folder, if it exists. */
static bool read_default_env(struct compose *c, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s.env", c->folder);

    return access(path, R_OK) != 0 || read_env(c, path, err) || err->code != ERR_TOO_LARGE;
}

/* ---- files ---- */

static bool at(struct image_walk *w, const yaml_node_t *n)
{
    return err_wrap(w->err, "%s: line %zu", w->file, n->start_mark.line + 1);
}

/* Adds the line that names a missing file; other errors name their own file. */
static bool named_at(struct image_walk *w, const yaml_node_t *n)
{
    return w->err->code == ERR_NOT_FOUND || w->err->code == ERR_IO ? at(w, n) : false;
}

static char *compose_expand(struct image_walk *w, const yaml_node_t *n)
{
    char *text = image_env_expand(walk_scalar(n), compose_look, (void *)w->arg, w->err);

    if (!text) {
        at(w, n);
    } else if (!is_bounded(w->arg, w->file, w->err)) {
        free(text);
        text = NULL;
    }
    return text;
}

/* A path in the file, made relative to the current folder; NULL with the error. */
static char *path_of(struct image_walk *w, const yaml_node_t *n)
{
    const struct compose *c = w->arg;
    _cleanup_free_ char *text = NULL;

    if (!walk_scalar(n)) {
        err_set(w->err, ERR_INVALID, "%s: line %zu: not a path", w->file, n->start_mark.line + 1);
        return NULL;
    }
    text = compose_expand(w, n);
    if (text && (strstr(text, "://") || strncmp(text, "oci:", 4) == 0 || strncmp(text, "git@", 4) == 0)) {
        err_set(w->err, ERR_UNSUPPORTED, "%s: line %zu: only local files are supported: download %s and use its path",
                w->file, n->start_mark.line + 1, text);
        return NULL;
    }
    return text ? xasprintf("%s%s", *text == '/' ? "" : c->folder, text) : NULL;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? xasprintf("%.*s/", (int)(slash - path), path) : xstrdup("");
}

static bool walk_compose(struct image_walk *w, yaml_node_t *root);

static bool compose_read_file(struct image_list *l, const char *file, struct compose *c, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    struct image_walk w = {.list = l, .file = file, .err = err, .arg = c};

    return compose_read_text(c, file, &text, err) && walk_documents(&w, text.data, text.len, walk_compose);
}

/* Reads a service of another file that is extended here, with the variables of this file. */
static bool read_extended(struct image_walk *w, const yaml_node_t *file, const char *service)
{
    const struct compose *c = w->arg;
    _cleanup_free_ char *path = path_of(w, file), *folder = path ? folder_of(path) : NULL;
    struct compose other = {c, service, folder, NULL, c->depth + 1, c->total};

    return path && (compose_read_file(w->list, path, &other, w->err) || named_at(w, file));
}

/* ---- include ---- */

/* Calls `fn` for a missing value, a single path or a list of paths. */
static bool each_path(struct image_walk *w, const yaml_node_t *n,
                      bool (*fn)(struct image_walk *w, const char *path, void *arg), void *arg)
{
    bool is_list = n && n->type == YAML_SEQUENCE_NODE;
    size_t count = !n || walk_is_null(n) ? 0
                   : is_list             ? (size_t)(n->data.sequence.items.top - n->data.sequence.items.start)
                                         : 1;

    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *one = is_list ? yaml_document_get_node(&w->doc, n->data.sequence.items.start[i]) : n;
        if (!walk_is_bounded(w, one, 0))
            return false;
        _cleanup_free_ char *path = path_of(w, one);
        if (!path || (!fn(w, path, arg) && !named_at(w, one)))
            return false;
    }
    return true;
}

static bool compose_take_env(struct image_walk *w, const char *path, void *arg)
{
    return read_env(arg, path, w->err);
}

static bool compose_take_file(struct image_walk *w, const char *path, void *arg)
{
    struct compose *c = arg;

    if (!c->folder)
        c->folder = folder_of(path); /* the folder of the first file is that of all */
    return (c->env || read_default_env(c, w->err)) && compose_read_file(w->list, path, c, w->err);
}

static bool compose_take_include(struct image_walk *w, const yaml_node_t *n)
{
    const struct compose *c = w->arg;
    struct compose other = {c, NULL, NULL, NULL, c->depth + 1, c->total};
    const yaml_node_t *path = n->type == YAML_MAPPING_NODE ? walk_get(w, n, "path") : n,
                      *folder = walk_get(w, n, "project_directory"), *env = walk_get(w, n, "env_file");
    _cleanup_free_ char *given = NULL;
    bool ok = !walk_is_null(path) ||
              err_set(w->err, ERR_INVALID, "%s: line %zu: include without a path", w->file, n->start_mark.line + 1);

    if (ok && !walk_is_null(folder)) {
        given = path_of(w, folder);
        ok = given != NULL;
        other.folder = ok ? xasprintf("%s/", given) : NULL;
    }
    ok = ok && each_path(w, env, compose_take_env, &other) && each_path(w, path, compose_take_file, &other);
    free(other.folder);
    json_decref(other.env);
    return ok;
}

static bool compose_take_includes(struct image_walk *w, const yaml_node_t *list)
{
    if (list->type != YAML_SEQUENCE_NODE)
        return err_set(w->err, ERR_INVALID, "%s: line %zu: include is not a list", w->file, list->start_mark.line + 1);
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *n = yaml_document_get_node(&w->doc, *i);
        if (!walk_is_bounded(w, n, 0) || !compose_take_include(w, n))
            return false;
    }
    return true;
}

/* ---- services ---- */

static bool compose_take_image(struct image_walk *w, const yaml_node_t *image)
{
    if (!walk_scalar(image))
        return walk_add_image(w, image); /* reports the error */
    _cleanup_free_ char *text = compose_expand(w, image);
    return text && walk_add(w, image, text);
}

/* Volumes of type image (compose-spec, "volumes"). */
static bool compose_take_volumes(struct image_walk *w, const yaml_node_t *service)
{
    const yaml_node_t *list = walk_get(w, service, "volumes");

    if (!list || list->type != YAML_SEQUENCE_NODE)
        return true;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *n = yaml_document_get_node(&w->doc, *i);
        if (!walk_is_bounded(w, n, 0))
            return false;
        const yaml_node_t *type = walk_get(w, n, "type"), *source = walk_get(w, n, "source");
        if (type && walk_scalar(type) && strcmp(walk_scalar(type), "image") == 0 && source &&
            !compose_take_image(w, source))
            return false;
    }
    return true;
}

static bool has_includes(struct image_walk *w)
{
    return !walk_is_null(walk_get(w, yaml_document_get_root_node(&w->doc), "include"));
}

/* Adds the image of a service, or of the service that it extends. */
static bool compose_take_service(struct image_walk *w, const yaml_node_t *services, const yaml_node_t *service,
                                 const char *name, int depth)
{
    const struct compose *c = w->arg;
    const yaml_node_t *image = walk_get(w, service, "image"), *extends = walk_get(w, service, "extends"),
                      *file = walk_get(w, extends, "file");
    const char *base = walk_scalar(extends) ? walk_scalar(extends) : walk_scalar(walk_get(w, extends, "service"));

    if (!compose_take_volumes(w, service))
        return false;
    if (!walk_is_null(image))
        return compose_take_image(w, image);
    if (base && !walk_is_null(file))
        return read_extended(w, file, base);
    const yaml_node_t *of = base ? walk_get(w, services, base) : NULL;
    if (base && !c->wanted && (of || has_includes(w)))
        return true; /* it is read as a service of its own, or in an included file */
    if (of && depth < EXTENDS_MAX)
        return compose_take_service(w, services, of, base, depth + 1);
    if (base)
        return err_set(w->err, ERR_INVALID, "%s: line %zu: extends the unknown service %s", w->file,
                       service->start_mark.line + 1, base);
    cli_say(stderr, "entrepot: %s: service %s has no image%s", w->file, name ? name : "?",
            walk_get(w, service, "build") ? " (it is built)" : "");
    return true;
}

static bool compose_take_wanted(struct image_walk *w, const yaml_node_t *services, const char *name)
{
    const yaml_node_t *service = walk_get(w, services, name);

    if (!service)
        return err_set(w->err, ERR_INVALID, "%s: unknown service %s", w->file, name);
    return compose_take_service(w, services, service, name, 0);
}

static bool walk_compose(struct image_walk *w, yaml_node_t *root)
{
    const struct compose *c = w->arg;
    const yaml_node_t *services = walk_get(w, root, "services"), *include = walk_get(w, root, "include");

    if (walk_is_null(root))
        return true; /* after a last `---` */
    if (walk_is_null(include) && (!services || services->type != YAML_MAPPING_NODE))
        return err_set(w->err, ERR_INVALID, "%s: no services found: is it a compose file?", w->file);
    if (c->wanted)
        return compose_take_wanted(w, services, c->wanted);
    if (!walk_is_null(include) && !compose_take_includes(w, include))
        return false;
    if (!services || services->type != YAML_MAPPING_NODE)
        return true;
    for (yaml_node_pair_t *p = services->data.mapping.pairs.start; p < services->data.mapping.pairs.top; p++) {
        const yaml_node_t *service = yaml_document_get_node(&w->doc, p->value);
        if (!walk_is_bounded(w, service, 0) ||
            !compose_take_service(w, services, service, walk_scalar(yaml_document_get_node(&w->doc, p->key)), 0))
            return false;
    }
    return true;
}

bool image_list_read_compose(struct image_list *l, const char *file, struct err *err)
{
    struct compose_total total = {0};
    struct compose c = {.folder = folder_of(file), .total = &total}; /* stdin: the current folder */
    bool ok = read_default_env(&c, err) && compose_read_file(l, file, &c, err);

    free(c.folder);
    json_decref(c.env);
    return ok;
}
