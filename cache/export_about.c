/* What is known about an image: referrers (distribution-spec, "Listing Referrers"), the tag that stands in for their
 * list, cosign's tags. */
#include "cache/export_private.h"

#include "base/array.h"
#include "cache/private.h"

#include <string.h>

struct export_referrers {
    const char *name; /* the image's repository */
    const struct digest *about;
    struct index_txn *t;
    uint64_t repo;
    struct digest *list;
    size_t count, cap;
};

static bool note_referrer(void *arg, const struct child *c)
{
    struct export_referrers *r = arg;

    if (c->role != CHILD_REFERRER || !rows_linked_by_itself(r->t, r->repo, &c->digest))
        return true;
    *ARRAY_NEXT(r->list, r->count, r->cap) = c->digest;
    r->count++;
    return true;
}

static void about_read_referrers(struct index_txn *t, void *arg)
{
    struct export_referrers *r = arg;

    r->t = t;
    r->repo = rows_repo_id(t, r->name);
    rows_each_child(t, r->about, note_referrer, r);
}

static void export_about_add(struct export_plan *p, const struct digest *about, json_t *out, int depth);

static bool is_listed(const json_t *out, const char *reference)
{
    json_t *d;
    size_t i;

    json_array_foreach((json_t *)out, i, d)
        if (strcmp(json_string_value(json_object_get(json_object_get(d, "annotations"), "io.containerd.image.name")),
                   reference) == 0)
            return true;
    return false;
}

static void add_statement(struct export_plan *p, const struct digest *d, const char *reference, json_t *out, int depth)
{
    struct err *err = p->err, why = {0};
    struct export_tree tree = {0};

    if (is_listed(out, reference))
        return;
    p->err = &why;
    if (export_add_tree(p, d, true, &tree)) {
        json_array_append_new(out, export_descriptor(p, d, reference));
        export_about_add(p, d, out, depth + 1);
    } else {
        buf_addf(&p->notes, "%s: left out: %s\n", reference, why.msg);
    }
    export_tree_free(&tree);
    p->err = err;
}

static void export_about_add(struct export_plan *p, const struct digest *about, json_t *out, int depth)
{
    static const char *const suffixes[] = {"", ".sig", ".att", ".sbom"};
    struct export_referrers found = {.name = p->name, .about = about};
    char text[DIGEST_TEXT_MAX], tag[DIGEST_TEXT_MAX + 8], reference[REF_TEXT_MAX + DIGEST_TEXT_MAX + 10];
    struct cache_hit hit;

    if (depth > EXPORT_DEPTH_MAX)
        return;
    index_read(p->c->index, about_read_referrers, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (!export_find(p, &found.list[i], &hit) || !hit.linked)
            continue;
        snprintf(reference, sizeof(reference), "%s@%s", p->name, digest_format(&found.list[i], text));
        add_statement(p, &found.list[i], reference, out, depth);
    }
    free(found.list);
    digest_format(about, text);
    *strchr(text, ':') = '-';
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(tag, sizeof(tag), "%s%s", text, suffixes[i]);
        cache_find(p->c, p->name, tag, NULL, &hit);
        if (!hit.stored || !hit.linked)
            continue;
        snprintf(reference, sizeof(reference), "%s:%s", p->name, tag);
        add_statement(p, &hit.digest, reference, out, depth);
    }
}

json_t *export_add_statements(struct export_plan *p, const struct digest *root, const struct export_tree *tree)
{
    json_t *out = json_array();

    export_about_add(p, root, out, 0);
    for (size_t i = 0; i < tree->count; i++)
        export_about_add(p, &tree->leaves[i].digest, out, 0);
    return out;
}
