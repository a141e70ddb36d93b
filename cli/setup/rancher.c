/* k3s and RKE2: `mirrors:` of registries.yaml, from which they write containerd's hosts.toml. Lines are put into the
 * text, at the places that libyaml names; libyaml then says whether the result is what it should be. */
#include "cli/setup/engines.h"

#include "base/array.h"
#include "base/yaml_bounds.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

enum { YAML_DEPTH_MAX = 32, YAML_ANCHORS_MAX = 1000, YAML_NODES_MAX = 1 << 20 };

struct rancher_insert {
    size_t at;
    char *text;
};

struct rancher {
    const char *path;
    const struct setup_text *text;
    yaml_document_t doc;
    const char *url, *nl;
    struct rancher_insert *list; /* what is put into the text */
    size_t count, cap;
    struct buf entries; /* for registries that have none yet */
    json_t *want;       /* what the result says */
};

/* ---- YAML ---- */

static bool yaml_load(yaml_document_t *doc, const char *data, size_t len, struct err *err)
{
    static const struct yaml_bounds bounds = {YAML_DEPTH_MAX, YAML_ANCHORS_MAX, YAML_NODES_MAX};
    yaml_parser_t parser;
    bool ok;

    if (!yaml_is_bounded(data, len, &bounds, err))
        return false;
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
    ok = yaml_parser_load(&parser, doc);
    if (!ok)
        err_set(err, ERR_INVALID, "line %zu: %s", parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return ok;
}

/* `plain` becomes false if it has what JSON cannot say, or engines refuse: a key twice, a list as key; or if aliases
 * expand it to more than YAML_NODES_MAX. */
struct yaml_plain {
    yaml_document_t *doc;
    int nodes;
    bool plain;
};

static json_t *yaml_to_json(struct yaml_plain *y, int index, int depth);

static void yaml_mapping_to_json(struct yaml_plain *y, const yaml_node_t *n, json_t *j, int depth)
{
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; y->plain && p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(y->doc, p->key);
        const char *name = key && key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;
        y->plain = name && strlen(name) == key->data.scalar.length && !json_object_get(j, name);
        if (y->plain)
            json_object_set_new(j, name, yaml_to_json(y, p->value, depth + 1));
    }
}

static json_t *yaml_to_json(struct yaml_plain *y, int index, int depth)
{
    const yaml_node_t *n = yaml_document_get_node(y->doc, index);
    json_t *j = NULL;

    if (++y->nodes <= YAML_NODES_MAX && n && n->type == YAML_SCALAR_NODE)
        j = json_stringn((const char *)n->data.scalar.value, n->data.scalar.length);
    else if (y->nodes <= YAML_NODES_MAX && n && depth < YAML_DEPTH_MAX)
        j = n->type == YAML_SEQUENCE_NODE ? json_array() : json_object();
    y->plain = y->plain && j;
    if (json_is_array(j))
        for (yaml_node_item_t *i = n->data.sequence.items.start; y->plain && i < n->data.sequence.items.top; i++)
            json_array_append_new(j, yaml_to_json(y, *i, depth + 1));
    if (json_is_object(j))
        yaml_mapping_to_json(y, n, j, depth);
    return j;
}

/* NULL: it is not plain. A new reference. */
static json_t *yaml_root_to_json(yaml_document_t *doc)
{
    struct yaml_plain y = {.doc = doc, .plain = true};
    json_t *j = yaml_to_json(&y, 1, 0);

    if (!y.plain)
        json_decref(j);
    return y.plain ? j : NULL;
}

/* The pair of a key; NULL: it is not there. */
static const yaml_node_pair_t *yaml_find(yaml_document_t *doc, const yaml_node_t *mapping, const char *name)
{
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(doc, p->key);
        if (key && key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, name) == 0)
            return p;
    }
    return NULL;
}

static bool rancher_is_empty(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE && n->data.scalar.length == 0;
}

/* ---- where ---- */

/* The offset of a mark: libyaml counts characters. */
static size_t rancher_offset(const struct rancher *r, size_t line, size_t column)
{
    const char *p = r->text->bytes.data, *end = p + r->text->bytes.len, *nl;

    while (line > 0 && (nl = memchr(p, '\n', (size_t)(end - p)))) {
        p = nl + 1;
        line--;
    }
    if (line > 0) /* the last line has no end */
        return r->text->bytes.len;
    for (; column > 0 && p < end; column--)
        for (p++; p < end && ((unsigned char)*p & 0xc0) == 0x80; p++) {
        }
    return (size_t)(p - r->text->bytes.data);
}

static void rancher_insert_at(struct rancher *r, size_t at, char *text)
{
    *ARRAY_NEXT(r->list, r->count, r->cap) = (struct rancher_insert){at, text};
    r->count++;
}

/* Lines that are put behind a line; of the last one, if it has no end, with one. */
static void rancher_insert_lines(struct rancher *r, size_t line, const char *lines)
{
    size_t at = rancher_offset(r, line, 0);
    bool ended = at == 0 || r->text->bytes.data[at - 1] == '\n';

    rancher_insert_at(r, at, xasprintf("%s%s", ended ? "" : r->nl, lines));
}

/* `text` first into a flow list or mapping. */
static void rancher_insert_flow(struct rancher *r, const yaml_node_t *n, const char *text, bool empty)
{
    size_t at = rancher_offset(r, n->start_mark.line, n->start_mark.column) + 1;

    rancher_insert_at(r, at, xasprintf("%s%s", text, empty ? "" : ", "));
}

/* ---- what ---- */

static bool is_mirror_url(const json_t *j, const char *url)
{
    const char *text = json_string_value(j);
    size_t len = strlen(url);

    return text && strncmp(text, url, len) == 0 &&
           (!text[len] || strcmp(text + len, "/") == 0 || strcmp(text + len, "/v2") == 0);
}

/* The mirrors of a registry that is there: entrepot becomes the first one. False: it is left as it is. */
static bool rancher_add_endpoint(struct rancher *r, const char *registry, const yaml_node_t *mirror)
{
    json_t *have = json_object_get(json_object_get(r->want, "mirrors"), registry);
    const yaml_node_pair_t *pair = mirror->type == YAML_MAPPING_NODE ? yaml_find(&r->doc, mirror, "endpoint") : NULL;
    const yaml_node_t *list = pair ? yaml_document_get_node(&r->doc, pair->value) : NULL;
    json_t *endpoints = json_object_get(have, "endpoint");

    if (!list || list->type != YAML_SEQUENCE_NODE || json_object_get(have, "rewrite"))
        return false;
    if (is_mirror_url(json_array_get(endpoints, 0), r->url))
        return true;
    bool empty = json_array_size(endpoints) == 0;
    json_array_insert_new(endpoints, 0, json_string(r->url));
    if (list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE) {
        _cleanup_free_ char *item = xasprintf("\"%s\"", r->url);
        rancher_insert_flow(r, list, item, empty);
    } else {
        _cleanup_free_ char *item = xasprintf("%*s- \"%s\"%s", (int)list->start_mark.column, "", r->url, r->nl);
        rancher_insert_lines(r, list->start_mark.line, item);
    }
    return true;
}

static void rancher_new_entry(struct rancher *r, const char *registry, int indent, bool flow)
{
    json_t *mirrors = json_object_get(r->want, "mirrors");

    if (!json_is_object(mirrors)) {
        mirrors = json_object();
        json_object_set_new(r->want, "mirrors", mirrors);
    }
    json_object_set_new(mirrors, registry, json_pack("{s:[s]}", "endpoint", r->url));
    if (flow)
        buf_addf(&r->entries, "%s\"%s\": {endpoint: [\"%s\"]}", r->entries.len > 0 ? ", " : "", registry, r->url);
    else
        buf_addf(&r->entries, "%*s\"%s\":%s%*sendpoint:%s%*s- \"%s\"%s", indent, "", registry, r->nl, indent + 2, "",
                 r->nl, indent + 4, "", r->url, r->nl);
}

/* One registry of `mirrors` (NULL: there are none yet). `any`: there is an entry "*", for all that have none. */
static void rancher_add(struct rancher *r, struct setup_view *v, const yaml_node_t *mirrors, const char *registry,
                        int indent, bool flow, bool any)
{
    const yaml_node_pair_t *pair = mirrors ? yaml_find(&r->doc, mirrors, registry) : NULL;

    if (!pair && any)
        return;
    if (!pair)
        rancher_new_entry(r, registry, indent, flow);
    else if (!rancher_add_endpoint(r, registry, yaml_document_get_node(&r->doc, pair->value)))
        setup_leave(
            v,
            "%s: the mirror of %s, line %zu, has no list of endpoints, or rewrites names, and is left as it is: "
            "add %s as its first endpoint",
            r->path, registry, yaml_document_get_node(&r->doc, pair->key)->start_mark.line + 1, r->url);
}

static bool rancher_plan_mirrors(struct rancher *r, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    const yaml_node_pair_t *pair = root ? yaml_find(&r->doc, root, "mirrors") : NULL;
    const yaml_node_t *mirrors = pair ? yaml_document_get_node(&r->doc, pair->value) : NULL;
    bool empty = rancher_is_empty(mirrors), flow = false;
    int indent = 2;

    if (mirrors && !empty) {
        if (mirrors->type != YAML_MAPPING_NODE)
            return err_set(err, ERR_INVALID, "line %zu: `mirrors` is not a mapping", mirrors->start_mark.line + 1);
        flow = mirrors->data.mapping.style == YAML_FLOW_MAPPING_STYLE;
        indent = (int)mirrors->start_mark.column;
    }
    const yaml_node_t *list = mirrors && !empty ? mirrors : NULL;
    bool any = list && yaml_find(&r->doc, list, "*");
    for (size_t i = 0; i < t->count; i++)
        rancher_add(r, v, list, t->registries[i], indent, flow, any);
    if (any)
        rancher_add(r, v, list, "*", indent, flow, false);
    if (r->entries.len == 0)
        return true;
    if (flow)
        rancher_insert_flow(r, list, r->entries.data, list->data.mapping.pairs.start == list->data.mapping.pairs.top);
    else if (mirrors)
        rancher_insert_lines(r, yaml_document_get_node(&r->doc, pair->key)->end_mark.line + 1, r->entries.data);
    else {
        _cleanup_free_ char *section = xasprintf("mirrors:%s%s", r->nl, r->entries.data);
        rancher_insert_lines(r, SIZE_MAX, section);
    }
    return true;
}

/* `configs` for entrepot itself, with the file of its authority beside this one. */
static bool rancher_plan_certificate(struct rancher *r, struct setup_view *v, const struct setup_target *t,
                                     struct err *err)
{
    _cleanup_free_ char *file = xasprintf("%.*s/entrepot-ca.crt", (int)(strrchr(r->path, '/') - r->path), r->path);
    const json_t *configs = json_object_get(r->want, "configs");
    const json_t *tls = json_object_get(json_object_get(configs, t->address), "tls");
    const char *given = json_string_value(json_object_get(tls, "ca_file"));

    if (!configs) {
        json_object_set_new(r->want, "configs", json_pack("{s:{s:{s:s}}}", t->address, "tls", "ca_file", file));
        rancher_insert_at(
            r, r->text->bytes.len,
            xasprintf("%sconfigs:%s  \"%s\":%s    tls:%s      ca_file: \"%s\"%s",
                      r->text->bytes.len == 0 || r->text->bytes.data[r->text->bytes.len - 1] == '\n' ? "" : r->nl,
                      r->nl, t->address, r->nl, r->nl, file, r->nl));
    } else if (!given || strcmp(given, file) != 0) {
        setup_leave(v, "%s has `configs`, which is left as it is: add \"%s\" there with tls: {ca_file: %s}", r->path,
                    t->address, file);
    }
    return setup_plan_certificate(v, t, file, err);
}

static int rancher_by_place(const void *a, const void *b)
{
    const struct rancher_insert *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

static void rancher_write(struct rancher *r, struct buf *out)
{
    size_t at = 0;

    qsort(r->list, r->count, sizeof(*r->list), rancher_by_place);
    for (size_t i = 0; i < r->count; i++) {
        buf_add(out, r->text->bytes.data + at, r->list[i].at - at);
        buf_adds(out, r->list[i].text);
        at = r->list[i].at;
    }
    buf_add(out, r->text->bytes.data + at, r->text->bytes.len - at);
}

/* Whether the result says what it should. */
static bool rancher_verify(const struct rancher *r, const struct buf *out)
{
    yaml_document_t doc;

    if (!yaml_load(&doc, out->data, out->len, NULL))
        return false;
    json_t *got = yaml_root_to_json(&doc);
    bool same = got && json_equal(got, r->want);
    json_decref(got);
    yaml_document_delete(&doc);
    return same;
}

static bool rancher_edit(struct rancher *r, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    _cleanup_buf_ struct buf out = {0};

    if (root && (root->type != YAML_MAPPING_NODE || root->data.mapping.style == YAML_FLOW_MAPPING_STYLE))
        return err_set(err, ERR_UNSUPPORTED, "line %zu is not understood: write `mirrors:` in a line of its own",
                       root->start_mark.line + 1);
    r->want = root ? yaml_root_to_json(&r->doc) : json_object();
    if (!r->want)
        return err_set(err, ERR_UNSUPPORTED,
                       "it has a key twice, keys that are no texts, or too many aliases; nothing was changed");
    if (!rancher_plan_mirrors(r, v, t, err) || (t->certificate && !rancher_plan_certificate(r, v, t, err)))
        return false;
    if (r->count == 0)
        return true;
    rancher_write(r, &out);
    if (!rancher_verify(r, &out))
        return err_set(err, ERR_UNSUPPORTED,
                       "its form is not understood: add %s to `mirrors` by hand; nothing was changed", r->url);
    return setup_view_write(v, r->path, &out, 0600, err);
}

static bool rancher_plan(struct setup_view *v, const struct setup_target *t, const char *path, struct err *err)
{
    _cleanup_free_ char *url = setup_url_of(t);
    struct rancher r = {.path = path, .text = setup_view_read(v, path, err), .url = url};

    if (!r.text)
        return false;
    r.nl = setup_line_end(r.text);
    struct setup_text none = {.exists = true};
    buf_adds(&none.bytes, "");
    if (!r.text->bytes.data)
        r.text = &none;
    bool loaded = yaml_load(&r.doc, r.text->bytes.data, r.text->bytes.len, err);
    bool ok = loaded && rancher_edit(&r, v, t, err);
    for (size_t i = 0; i < r.count; i++)
        free(r.list[i].text);
    free(r.list);
    buf_free(&r.entries);
    json_decref(r.want);
    if (loaded)
        yaml_document_delete(&r.doc);
    setup_text_free(&none);
    return ok || err_wrap(err, "%s", path);
}

static bool k3s_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    return rancher_plan(v, t, "/etc/rancher/k3s/registries.yaml", err);
}

static bool rke2_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    return rancher_plan(v, t, "/etc/rancher/rke2/registries.yaml", err);
}

/* A node runs one of the two units. */
static const char *const K3S_RESTART[] = {"try-restart", "k3s", "k3s-agent", NULL};
static const char *const RKE2_RESTART[] = {"try-restart", "rke2-server", "rke2-agent", NULL};

static const char *const *k3s_reload(const char *path UNUSED)
{
    return K3S_RESTART;
}

static const char *const *rke2_reload(const char *path UNUSED)
{
    return RKE2_RESTART;
}

static const char *const K3S_PROGRAMS[] = {"k3s", NULL};
static const char *const RKE2_PROGRAMS[] = {"rke2", NULL};

static const char *const K3S_UNITS[] = {"k3s.service", "k3s-agent.service", NULL};
static const char *const RKE2_UNITS[] = {"rke2-server.service", "rke2-agent.service", NULL};

/* Variables with this prefix are for their containerd alone: theirs are for the cluster, too. */
const struct setup_engine SETUP_K3S = {.name = "k3s",
                                       .way = SETUP_BY_NS,
                                       .programs = K3S_PROGRAMS,
                                       .plan = k3s_plan,
                                       .reload = k3s_reload,
                                       .units = K3S_UNITS,
                                       .prefix = "CONTAINERD_",
                                       .restart = K3S_RESTART};
const struct setup_engine SETUP_RKE2 = {.name = "rke2",
                                        .way = SETUP_BY_NS,
                                        .programs = RKE2_PROGRAMS,
                                        .plan = rke2_plan,
                                        .reload = rke2_reload,
                                        .units = RKE2_UNITS,
                                        .prefix = "CONTAINERD_",
                                        .restart = RKE2_RESTART};
