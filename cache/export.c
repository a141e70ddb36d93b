#include "cache/export_private.h"

#include <string.h>

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI        "org.opencontainers.image.ref.name"
#define TYPE_INDEX      "application/vnd.oci.image.index.v1+json"

void export_list_free(struct export_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->members[i].name);
        free(l->members[i].text);
    }
    free(l->members);
    text_set_free(&l->names);
    free(l->notes);
    memset(l, 0, sizeof(*l));
}

/* ---- members ---- */

static struct export_member *add_member(struct export_list *l, const char *name)
{
    if (text_set_has(&l->names, name))
        return NULL;
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->members = xrealloc(l->members, l->room * sizeof(*l->members));
    }
    struct export_member *m = &l->members[l->count++];
    memset(m, 0, sizeof(*m));
    m->name = xstrdup(name);
    text_set_add(&l->names, m->name);
    return m;
}

static void put_text(struct export_list *l, const char *name, const char *text, const char *end)
{
    struct export_member *m = add_member(l, name);

    if (!m)
        return;
    m->text = xasprintf("%s%s", text, end);
    m->size = (int64_t)strlen(m->text);
}

void export_add_text(struct export_list *l, const char *name, json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT);

    json_decref(doc);
    put_text(l, name, text, "\n");
    free(text);
}

static char *blob_name(const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];

    return xasprintf("blobs/%s/%s", digest_alg_name(d), digest_hex(d, hex));
}

int64_t export_add_document(struct export_plan *p, json_t *doc, struct digest *out)
{
    char *text = json_dumps(doc, JSON_COMPACT);
    size_t len = strlen(text);

    json_decref(doc);
    digest_of(DIGEST_SHA256, text, len, out);
    _cleanup_free_ char *name = blob_name(out);
    put_text(p->out, name, text, "");
    free(text);
    return (int64_t)len;
}

void export_add_blob(struct export_plan *p, const struct digest *d, int64_t size, const char *name)
{
    _cleanup_free_ char *own = name ? NULL : blob_name(d);
    struct export_member *m = add_member(p->out, name ? name : own);

    if (!m)
        return;
    m->digest = *d;
    m->size = size;
}

/* ---- index.json ---- */

static json_t *make_descriptor(const char *type, const struct digest *d, int64_t size, const char *reference)
{
    char text[DIGEST_TEXT_MAX];

    return json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", type, "digest", digest_format(d, text), "size",
                     (json_int_t)size, "annotations", NAME_CONTAINERD, reference, NAME_OCI, reference);
}

json_t *export_descriptor(struct export_plan *p, const struct digest *d, const char *reference)
{
    struct cache_hit hit;

    return export_find(p, d, &hit) ? make_descriptor(hit.blob.media_type, d, hit.blob.size, reference) : NULL;
}

static void annotate(json_t *descriptor, const char *key, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    json_object_set_new(json_object_get(descriptor, "annotations"), key, json_string(digest_format(d, text)));
}

/* The image, or the index of those, that is here of an index. */
static json_t *describe_sparse(struct export_plan *p, const struct digest *root, const struct export_tree *tree)
{
    const struct export_leaf *only = NULL;
    struct digest d = {0};
    json_t *list = json_array(), *entry;

    for (size_t i = 0; i < tree->count; i++) {
        only = tree->leaves[i].attestation ? only : &tree->leaves[i];
        json_array_append(list, tree->leaves[i].descriptor);
    }
    if (tree->images == 1) {
        json_decref(list);
        entry = export_descriptor(p, &only->digest, p->text);
    } else {
        int64_t size = export_add_document(
            p, json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", TYPE_INDEX, "manifests", list), &d);
        entry = make_descriptor(TYPE_INDEX, &d, size, p->text);
    }
    annotate(entry, EXPORT_INDEX, root);
    return entry;
}

static void add_statements(struct export_plan *p, const struct digest *root, const struct export_tree *tree,
                           json_t *entry)
{
    json_t *list = export_add_statements(p, root, tree);
    struct digest d;

    if (p->wish->signatures == SIGNATURES_SEPARATE)
        json_array_extend(p->entries, list);
    if (p->wish->signatures == SIGNATURES_INCLUDE && json_array_size(list) > 0) {
        export_add_document(
            p, json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", TYPE_INDEX, "manifests", list), &d);
        annotate(entry, EXPORT_REFERRERS, &d);
    }
    json_decref(list);
}

/* ---- the whole ---- */

static bool add_image(struct export_plan *p, const struct ref *ref, const struct digest *root, struct export_tree *tree)
{
    if (!export_add_tree(p, root, false, tree))
        return false;
    /* A name with a digest is that digest's alone. */
    json_t *entry = tree->sparse && ref->tag[0] ? describe_sparse(p, root, tree) : export_descriptor(p, root, p->text);
    if (tree->sparse && !ref->tag[0])
        buf_addf(&p->notes,
                 "%s: kind load and ctr images import --all-platforms need all of it: a tag, or pull and "
                 "export it with --platform all\n",
                 p->text);
    json_array_append_new(p->entries, entry);
    export_add_docker_entry(p, ref, root, tree);
    if (p->wish->signatures != SIGNATURES_OMIT)
        add_statements(p, root, tree, entry);
    return true;
}

static bool add_reference(struct export_plan *p, const struct ref *ref)
{
    char tag[REF_TAG_MAX + 1];
    bool by_digest = ref->digest.alg != DIGEST_NONE;
    struct export_tree tree = {0};
    struct ref named = *ref;
    struct cache_hit hit;

    if (ref->tag[0]) /* what else says its digest says where the tag leads */
        named.digest = (struct digest){0};
    ref_format(&named, p->text);
    ref_name(ref, p->name);
    cache_find(p->c, p->name, by_digest ? NULL : ref_tag(ref, tag), by_digest ? &ref->digest : NULL, &hit);
    if (!hit.stored)
        return err_set(p->err, ERR_NOT_FOUND, "%s is not in the cache: entrepot pull %s first", p->text, p->text);
    struct digest root = hit.digest;
    use_touch(p->c->use, &root);
    if (p->wish->docker)
        return export_add_docker_image(p, ref, root);
    bool ok = add_image(p, ref, &root, &tree);
    export_tree_free(&tree);
    return ok;
}

static int by_text(const void *a, const void *b)
{
    char x[REF_TEXT_MAX], y[REF_TEXT_MAX];

    return strcmp(ref_format(a, x), ref_format(b, y));
}

/* In one order, whatever the order they were asked for in. */
static bool add_references(struct export_plan *p)
{
    size_t count = p->wish->count;
    _cleanup_free_ struct ref *sorted = xcalloc(count + 1, sizeof(*sorted));

    memcpy(sorted, p->wish->references, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && by_text(&sorted[i - 1], &sorted[i]) == 0;
        if (!again && !add_reference(p, &sorted[i]))
            return false;
    }
    return true;
}

bool export_plan(struct cache *c, const struct export_wish *wish, struct export_list *out, struct err *err)
{
    struct export_plan p = {
        .c = c, .wish = wish, .out = out, .entries = json_array(), .docker = json_array(), .err = err};

    memset(out, 0, sizeof(*out));
    if (!wish->docker)
        export_add_text(out, "oci-layout", json_pack("{s:s}", "imageLayoutVersion", "1.0.0"));
    bool ok = add_references(&p);
    if (ok && !wish->docker)
        export_add_text(
            out, "index.json",
            json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", TYPE_INDEX, "manifests", p.entries));
    if (ok && json_array_size(p.docker) > 0)
        export_add_text(out, "manifest.json", json_incref(p.docker));
    json_decref(p.entries);
    json_decref(p.docker);
    if (p.notes.len > 0)
        buf_add(&p.notes, "", 1);
    out->notes = p.notes.data;
    return ok;
}
