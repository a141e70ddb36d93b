/* What an image consists of, as far as it is here. */
#include "base/array.h"
#include "base/document.h"
#include "cache/export_private.h"
#include "cache/private.h"

#include <string.h>

void export_tree_free(struct export_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        json_decref(tree->leaves[i].descriptor);
    free(tree->leaves);
    memset(tree, 0, sizeof(*tree));
}

bool export_find(struct export_plan *p, const struct digest *d, struct cache_hit *hit)
{
    cache_find(p->c, p->name, NULL, d, hit);
    return hit->stored && store_has_blob(p->c->store, d);
}

static struct body *peek(struct export_plan *p, const struct digest *d, struct cache_hit *hit)
{
    if (!export_find(p, d, hit) || !(hit->blob.flags & BLOB_MANIFEST))
        return NULL;
    return cache_peek_manifest(p->c, d, hit->blob.size, NULL);
}

bool export_load(struct export_plan *p, const struct digest *d, struct manifest *m, struct cache_hit *hit)
{
    _cleanup_body_ struct body *body = peek(p, d, hit);

    return body && manifest_parse(m, body->data, body->len, NULL);
}

const struct part *export_missing(struct export_plan *p, const struct manifest *m)
{
    struct cache_hit hit;

    for (size_t i = 0; i < m->count; i++) {
        bool needed = m->parts[i].role == PART_CONFIG || m->parts[i].role == PART_LAYER;
        if (needed && !part_is_foreign(&m->parts[i]) && !export_find(p, &m->parts[i].digest, &hit))
            return &m->parts[i];
    }
    return NULL;
}

bool export_is_incomplete(struct export_plan *p, const char *platform, const struct digest *missing)
{
    char text[DIGEST_TEXT_MAX];
    bool named = platform && platform[0];

    return err_set(p->err, ERR_NOT_FOUND, "%s%s%s is here in part only: %s is missing; entrepot pull%s%s %s first",
                   p->text, named ? " for " : "", named ? platform : "", digest_format(missing, text),
                   named ? " --platform " : "", named ? platform : "", p->text);
}

/* ---- an index ---- */

struct export_index {
    struct export_plan *p;
    const struct manifest *m;
    json_t *doc;
    const char **wanted; /* for each part the platform it was asked for by; NULL: it was not */
    bool every;          /* all that is here */
    struct export_tree *tree;
    int depth;
    size_t at; /* the descriptors before are those of parts before */
};

/* The parts that were asked for. */
static bool tree_choose(struct export_index *ix)
{
    const struct export_wish *wish = ix->p->wish;

    for (int i = 0; i < EXPORT_PLATFORMS_MAX && wish->platforms[i][0]; i++) {
        const struct part *part = manifest_choose(ix->m, wish->platforms[i]);
        if (!part)
            return err_set(ix->p->err, ERR_NOT_FOUND, "%s has no image for %s", ix->p->text, wish->platforms[i]);
        ix->wanted[part - ix->m->parts] = wish->platforms[i];
    }
    for (size_t i = 0; i < ix->m->count; i++)
        if (wish->all && ix->m->parts[i].role == PART_MANIFEST)
            ix->wanted[i] = "all";
    return true;
}

static void tree_add_leaf(struct export_index *ix, const struct part *part)
{
    struct export_tree *t = ix->tree;
    const json_t *list = document_get(ix->doc, "manifests");
    char text[DIGEST_TEXT_MAX];

    struct export_leaf *leaf = ARRAY_NEXT(t->leaves, t->count, t->cap);
    t->count++;
    memset(leaf, 0, sizeof(*leaf));
    leaf->digest = part->digest;
    leaf->attestation = part->attestation;
    memcpy(leaf->platform, part->platform, sizeof(leaf->platform));
    t->images += !part->attestation;
    digest_format(&part->digest, text);
    while (!leaf->descriptor && ix->at < json_array_size(list)) {
        json_t *d = json_array_get(list, ix->at++);
        const char *digest = document_text(d, "digest");
        if (digest && strcmp(digest, text) == 0)
            leaf->descriptor = json_incref(d);
    }
}

static bool tree_add_manifest(struct export_plan *p, const struct digest *d, const char *platform, bool every,
                              struct export_tree *tree, int depth);

/* One manifest of it. False: an error. `added`: it is in the archive. */
static bool tree_add_part(struct export_index *ix, const struct part *part, const char *wanted, bool *added)
{
    _cleanup_manifest_ struct manifest child = {0};
    const char *platform = wanted && strcmp(wanted, "all") != 0 ? wanted : part->platform;
    struct export_plan *p = ix->p;
    struct cache_hit hit;

    if (++ix->tree->walked > MANIFEST_WITHIN_MAX)
        return err_set(p->err, ERR_INVALID, "%s has more than %d manifests, in indexes within one another", p->text,
                       (int)MANIFEST_WITHIN_MAX);
    bool here = export_load(p, &part->digest, &child, &hit), is_index = here && child.kind == MANIFEST_INDEX;
    const struct part *missing = here && !is_index ? export_missing(p, &child) : NULL;
    *added = here && !missing;
    if (!*added && wanted)
        return export_is_incomplete(p, wanted, missing ? &missing->digest : &part->digest);
    if (missing && !part->attestation)
        buf_addf(&p->notes, "%s: %s is here in part only, and left out\n", p->text,
                 part->platform[0] ? part->platform : "one of its images");
    if (!*added)
        return true;
    if (!is_index)
        tree_add_leaf(ix, part);
    return tree_add_manifest(p, &part->digest, platform, ix->every, ix->tree, ix->depth + 1);
}

static void note_absent(struct export_index *ix)
{
    _cleanup_buf_ struct buf names = {0};
    struct cache_hit hit;

    for (size_t i = 0; i < ix->m->count; i++) {
        const struct part *part = &ix->m->parts[i];
        if (part->role == PART_MANIFEST && !part->attestation && part->platform[0] &&
            !export_find(ix->p, &part->digest, &hit))
            buf_addf(&names, "%s%s", names.len > 0 ? ", " : "", part->platform);
    }
    if (names.len > 0)
        buf_addf(&ix->p->notes, "%s: not here, and left out: %s\n", ix->p->text, names.data);
}

/* None of it is here whole. */
static bool export_is_empty(struct export_index *ix)
{
    struct cache_hit hit;

    for (size_t i = 0; i < ix->m->count; i++) {
        _cleanup_manifest_ struct manifest child = {0};
        const struct part *part = &ix->m->parts[i], *missing = NULL;
        if (part->role == PART_MANIFEST && !part->attestation && export_load(ix->p, &part->digest, &child, &hit))
            missing = export_missing(ix->p, &child);
        if (missing)
            return export_is_incomplete(ix->p, part->platform, &missing->digest);
    }
    return err_set(ix->p->err, ERR_NOT_FOUND, "%s: no image is here: entrepot pull --platform all %s first",
                   ix->p->text, ix->p->text);
}

static bool tree_add_parts(struct export_index *ix)
{
    bool chosen = !ix->every && (ix->p->wish->platforms[0][0] || ix->p->wish->all);
    int before = ix->tree->images;

    if (chosen && !tree_choose(ix))
        return false;
    for (size_t i = 0; i < ix->m->count; i++) {
        const struct part *part = &ix->m->parts[i];
        bool added = false;
        if (part->role != PART_MANIFEST)
            continue;
        if ((!chosen || ix->wanted[i] || part->attestation) && !tree_add_part(ix, part, ix->wanted[i], &added))
            return false;
        ix->tree->sparse |= !added;
    }
    if (ix->tree->images == before)
        return export_is_empty(ix);
    if (!chosen)
        note_absent(ix);
    return true;
}

static bool add_index(struct export_plan *p, const struct digest *d, const struct manifest *m, bool every,
                      struct export_tree *tree, int depth)
{
    struct cache_hit hit;
    _cleanup_body_ struct body *body = peek(p, d, &hit);
    struct export_index ix = {.p = p, .m = m, .every = every, .tree = tree, .depth = depth};

    ix.doc = body ? document_read(body->data, body->len, NULL) : NULL;
    ix.wanted = xcalloc(m->count + 1, sizeof(*ix.wanted));
    bool ok = tree_add_parts(&ix);
    free(ix.wanted);
    json_decref(ix.doc);
    return ok;
}

/* ---- a manifest ---- */

/* Blobs before what names them: an archive that was cut off has no name without its content. */
static bool tree_add_manifest(struct export_plan *p, const struct digest *d, const char *platform, bool every,
                              struct export_tree *tree, int depth)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit, blob;

    if (depth > EXPORT_DEPTH_MAX)
        return err_set(p->err, ERR_INVALID, "%s: more than %d indexes within one another", p->text,
                       (int)EXPORT_DEPTH_MAX);
    if (!export_load(p, d, &m, &hit))
        return export_is_incomplete(p, platform, d);
    if (m.kind == MANIFEST_INDEX && !add_index(p, d, &m, every, tree, depth))
        return false;
    const struct part *missing = m.kind == MANIFEST_INDEX ? NULL : export_missing(p, &m);
    if (missing)
        return export_is_incomplete(p, platform, &missing->digest);
    if (m.unread)
        buf_addf(&p->notes, "%s: it names something that is not understood, and left out\n", p->text);
    for (size_t i = 0; i < m.count && m.kind != MANIFEST_INDEX; i++) {
        const struct part *part = &m.parts[i];
        if ((part->role == PART_CONFIG || part->role == PART_LAYER) && export_find(p, &part->digest, &blob))
            export_add_blob(p, &part->digest, blob.blob.size, NULL);
    }
    export_add_blob(p, d, hit.blob.size, NULL);
    return true;
}

bool export_add_tree(struct export_plan *p, const struct digest *d, bool every, struct export_tree *tree)
{
    return tree_add_manifest(p, d, NULL, every, tree, 0);
}

/* ---- descriptors ---- */

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI        "org.opencontainers.image.ref.name"

json_t *export_make_descriptor(const char *type, const struct digest *d, int64_t size, const char *reference)
{
    char text[DIGEST_TEXT_MAX];

    return json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", type, "digest", digest_format(d, text), "size",
                     (json_int_t)size, "annotations", NAME_CONTAINERD, reference, NAME_OCI, reference);
}

json_t *export_descriptor(struct export_plan *p, const struct digest *d, const char *reference)
{
    struct cache_hit hit;

    return export_find(p, d, &hit) ? export_make_descriptor(hit.blob.media_type, d, hit.blob.size, reference) : NULL;
}
