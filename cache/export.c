#include "cache/export_private.h"
#include "cache/private.h"

#include <string.h>

#define TYPE_INDEX "application/vnd.oci.image.index.v1+json"

/* ---- index.json ---- */

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
        entry = export_make_descriptor(TYPE_INDEX, &d, size, p->text);
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

static bool export_add_image(struct export_plan *p, const struct ref *ref, const struct digest *root,
                             struct export_tree *tree)
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
    touches_add(p->c->touches, &root);
    if (p->wish->docker)
        return export_add_docker_image(p, ref, root);
    bool ok = export_add_image(p, ref, &root, &tree);
    export_tree_free(&tree);
    return ok;
}

static int export_by_text(const void *a, const void *b)
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
    qsort(sorted, count, sizeof(*sorted), export_by_text);
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && export_by_text(&sorted[i - 1], &sorted[i]) == 0;
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
