#include "cache/export.h"

#include "base/platform.h"

#include <jansson.h>
#include <string.h>

enum { DEPTH_MAX = 4 };

struct plan {
    struct cache *c;
    const struct export_wish *wish;
    struct export_list *out;
    json_t *images;                              /* of index.json, or of docker's manifest.json */
    char text[REF_TEXT_MAX], name[REF_TEXT_MAX]; /* the image that is being added */
    struct buf notes;
    struct err *err;
};

void export_list_free(struct export_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->members[i].name);
        free(l->members[i].text);
    }
    free(l->members);
    free(l->notes);
    memset(l, 0, sizeof(*l));
}

/* ---- members ---- */

static struct export_member *add_member(struct export_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->members[i].name, name) == 0)
            return NULL;
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->members = xrealloc(l->members, l->room * sizeof(*l->members));
    }
    struct export_member *m = &l->members[l->count++];
    memset(m, 0, sizeof(*m));
    m->name = xstrdup(name);
    return m;
}

static void add_text(struct export_list *l, const char *name, json_t *doc)
{
    struct export_member *m = add_member(l, name);
    char *text = json_dumps(doc, JSON_COMPACT);

    json_decref(doc);
    if (!m) {
        free(text);
        return;
    }
    m->text = xasprintf("%s\n", text);
    m->size = (int64_t)strlen(m->text);
    free(text);
}

/* Docker gives a config and a layer their own kinds of name. */
static void add_blob(struct plan *p, const struct digest *d, int64_t size, bool is_config)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *name = p->wish->docker ? xasprintf("%s.%s", digest_hex(d, hex), is_config ? "json" : "tar")
                                                : xasprintf("blobs/%s/%s", digest_alg_name(d), digest_hex(d, hex));
    struct export_member *m = add_member(p->out, name);

    if (!m)
        return;
    m->digest = *d;
    m->size = size;
}

/* ---- what is here ---- */

/* A stored blob of the image that is being added. */
static bool find(struct plan *p, const struct digest *d, struct cache_hit *hit)
{
    cache_find(p->c, p->name, NULL, d, hit);
    return hit->stored && store_has_blob(p->c->store, d);
}

static bool load(struct plan *p, const struct digest *d, struct manifest *m, struct cache_hit *hit)
{
    if (!find(p, d, hit) || !(hit->blob.flags & BLOB_MANIFEST))
        return false;
    _cleanup_body_ struct body *body = cache_peek_manifest(p->c, d, hit->blob.size, NULL);
    return body && manifest_parse(m, body->data, body->len, NULL);
}

/* The first thing that an image needs and that is not here; NULL: nothing. */
static const struct part *missing_part(struct plan *p, const struct manifest *m)
{
    struct cache_hit hit;

    for (size_t i = 0; i < m->count; i++) {
        bool needed = m->parts[i].role == PART_CONFIG || m->parts[i].role == PART_LAYER;
        if (needed && !part_is_foreign(&m->parts[i]) && !find(p, &m->parts[i].digest, &hit))
            return &m->parts[i];
    }
    return NULL;
}

static bool is_incomplete(struct plan *p, const char *platform, const struct digest *missing)
{
    char text[DIGEST_TEXT_MAX];

    return err_set(p->err, ERR_NOT_FOUND, "%s%s%s is here in part only: %s is missing; entrepot pull%s%s %s first",
                   p->text, platform ? " for " : "", platform ? platform : "", digest_format(missing, text),
                   platform ? " --platform " : "", platform ? platform : "", p->text);
}

/* ---- an OCI image layout ---- */

static bool add_tree(struct plan *p, const struct digest *d, const char *platform, int depth);

static bool is_wanted(const struct plan *p, const struct part *part)
{
    return part->role == PART_MANIFEST &&
           (!p->wish->platform || part->attestation || platform_score(p->wish->platform, part->platform) > 0);
}

static void note_absent(struct plan *p, const struct manifest *m)
{
    _cleanup_buf_ struct buf names = {0};
    struct cache_hit hit;

    for (size_t i = 0; i < m->count && !p->wish->platform; i++) {
        const struct part *part = &m->parts[i];
        if (part->role == PART_MANIFEST && !part->attestation && part->platform[0] && !find(p, &part->digest, &hit))
            buf_addf(&names, "%s%s", names.len > 0 ? ", " : "", part->platform);
    }
    if (names.len > 0)
        buf_addf(&p->notes, "%s: not here, and left out: %s\n", p->text, names.data);
}

/* Of an index, the images that are here whole. */
static bool add_index(struct plan *p, const struct manifest *m, int depth)
{
    int added = 0;
    const struct part *partly = NULL;
    struct digest lacks = {0};

    for (size_t i = 0; i < m->count; i++) {
        const struct part *part = &m->parts[i];
        struct manifest child = {0};
        struct cache_hit hit;
        if (!is_wanted(p, part) || !load(p, &part->digest, &child, &hit))
            continue;
        const struct part *missing = child.kind == MANIFEST_INDEX ? NULL : missing_part(p, &child);
        bool whole = !missing;
        if (missing)
            lacks = missing->digest;
        manifest_free(&child);
        if (!whole && !part->attestation) {
            partly = part;
            buf_addf(&p->notes, "%s: %s is here in part only, and left out\n", p->text,
                     part->platform[0] ? part->platform : "one of its images");
        }
        if (!whole)
            continue;
        if (!add_tree(p, &part->digest, part->platform, depth + 1))
            return false;
        added += !part->attestation;
    }
    if (added > 0) {
        note_absent(p, m);
        return true;
    }
    if (partly)
        return is_incomplete(p, partly->platform, &lacks);
    return err_set(p->err, ERR_NOT_FOUND, "%s: no image%s%s is here: entrepot pull --platform %s %s first", p->text,
                   p->wish->platform ? " for " : "", p->wish->platform ? p->wish->platform : "",
                   p->wish->platform ? p->wish->platform : "all", p->text);
}

/* A manifest with all it needs. Blobs before what names them: an archive that was cut off has no name without its
 * content. */
static bool add_tree(struct plan *p, const struct digest *d, const char *platform, int depth)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit;

    if (depth > DEPTH_MAX)
        return err_set(p->err, ERR_INVALID, "%s: more than %d indexes within one another", p->text, (int)DEPTH_MAX);
    if (!load(p, d, &m, &hit))
        return is_incomplete(p, platform, d);
    if (m.kind == MANIFEST_INDEX && !add_index(p, &m, depth))
        return false;
    const struct part *missing = m.kind == MANIFEST_INDEX ? NULL : missing_part(p, &m);
    if (missing)
        return is_incomplete(p, platform, &missing->digest);
    if (m.unread)
        buf_addf(&p->notes, "%s: it names something that is not understood, and left out\n", p->text);
    for (size_t i = 0; i < m.count && m.kind != MANIFEST_INDEX; i++) {
        struct cache_hit blob;
        if ((m.parts[i].role == PART_CONFIG || m.parts[i].role == PART_LAYER) && find(p, &m.parts[i].digest, &blob))
            add_blob(p, &m.parts[i].digest, blob.blob.size, false);
    }
    add_blob(p, d, hit.blob.size, false);
    return true;
}

static void add_descriptor(struct plan *p, const struct digest *d, const char *reference)
{
    char text[DIGEST_TEXT_MAX];
    struct cache_hit hit;

    if (!find(p, d, &hit))
        return;
    json_array_append_new(p->images, json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", hit.blob.media_type,
                                               "digest", digest_format(d, text), "size", (json_int_t)hit.blob.size,
                                               "annotations", "io.containerd.image.name", reference,
                                               "org.opencontainers.image.ref.name", reference));
}

/* ---- what is said about an image ---- */

struct statements {
    struct digest list[64];
    int count;
};

static bool note_referrer(void *arg, const struct child *c)
{
    struct statements *s = arg;

    if (c->role == CHILD_REFERRER)
        s->list[s->count++] = c->digest;
    return s->count < (int)ARRAY_LEN(s->list);
}

struct look {
    const struct digest *about;
    struct statements *found;
};

static void read_referrers(struct index_txn *t, void *arg)
{
    struct look *l = arg;

    rows_each_child(t, l->about, note_referrer, l->found);
}

static bool add_statements(struct plan *p, const struct digest *about, int depth);

/* What cannot be added whole is left out. */
static void add_statement(struct plan *p, const struct digest *d, const char *reference, int depth)
{
    struct err *err = p->err, why = {0};

    p->err = &why;
    if (add_tree(p, d, NULL, 0)) {
        add_descriptor(p, d, reference);
        add_statements(p, d, depth + 1);
    } else {
        buf_addf(&p->notes, "%s: left out: %s\n", reference, why.msg);
    }
    p->err = err;
}

static bool add_statements(struct plan *p, const struct digest *about, int depth)
{
    static const char *const suffixes[] = {"", ".sig", ".att", ".sbom"};
    struct statements found = {0};
    struct look look = {about, &found};
    char text[DIGEST_TEXT_MAX], tag[DIGEST_TEXT_MAX + 8], reference[REF_TEXT_MAX + DIGEST_TEXT_MAX + 10];
    struct cache_hit hit;

    if (depth > DEPTH_MAX)
        return true;
    index_read(p->c->index, read_referrers, &look);
    for (int i = 0; i < found.count; i++) {
        if (!find(p, &found.list[i], &hit) || !hit.linked)
            continue;
        snprintf(reference, sizeof(reference), "%s@%s", p->name, digest_format(&found.list[i], text));
        add_statement(p, &found.list[i], reference, depth);
    }
    digest_format(about, text);
    *strchr(text, ':') = '-';
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(tag, sizeof(tag), "%s%s", text, suffixes[i]);
        cache_find(p->c, p->name, tag, NULL, &hit);
        if (!hit.stored || !hit.linked)
            continue;
        snprintf(reference, sizeof(reference), "%s:%s", p->name, tag);
        add_statement(p, &hit.digest, reference, depth);
    }
    return true;
}

/* About the image itself, and about those in an index. */
static void add_all_statements(struct plan *p, const struct digest *root)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit;

    add_statements(p, root, 0);
    if (!load(p, root, &m, &hit) || m.kind != MANIFEST_INDEX)
        return;
    for (size_t i = 0; i < m.count; i++)
        if (is_wanted(p, &m.parts[i]) && find(p, &m.parts[i].digest, &hit))
            add_statements(p, &m.parts[i].digest, 0);
}

/* ---- what `docker load` reads (Docker's image specification v1.2, "Combined Image JSON + Filesystem Changeset
 * Format")
 * ---- */

static bool choose_image(struct plan *p, struct digest *d, struct manifest *m)
{
    const char *platform = p->wish->platform ? p->wish->platform : "linux/amd64";
    struct cache_hit hit;
    int most = 0;

    if (!load(p, d, m, &hit))
        return is_incomplete(p, NULL, d);
    if (m->kind != MANIFEST_INDEX)
        return true;
    for (size_t i = 0; i < m->count; i++) {
        int score = m->parts[i].role == PART_MANIFEST ? platform_score(platform, m->parts[i].platform) : 0;
        if (score <= most)
            continue;
        most = score;
        *d = m->parts[i].digest;
    }
    manifest_free(m);
    memset(m, 0, sizeof(*m));
    if (most == 0)
        return err_set(p->err, ERR_NOT_FOUND, "%s has no image for %s: --platform names another", p->text, platform);
    return load(p, d, m, &hit) || is_incomplete(p, platform, d);
}

static bool add_docker(struct plan *p, const struct ref *ref, struct digest d)
{
    _cleanup_manifest_ struct manifest m = {0};
    json_t *layers = json_array(), *tags = json_array();
    char hex[DIGEST_TEXT_MAX];
    bool ok = choose_image(p, &d, &m);
    const struct part *missing = ok ? missing_part(p, &m) : NULL;

    if (missing)
        ok = is_incomplete(p, p->wish->platform, &missing->digest);
    for (size_t i = 0; ok && i < m.count; i++) {
        const struct part *part = &m.parts[i];
        struct cache_hit hit;
        if (part->role == PART_LAYER && strstr(part->media_type, "zstd"))
            ok = err_set(p->err, ERR_UNSUPPORTED,
                         "%s has layers that are compressed with zstd, which docker load does not read: --format oci",
                         p->text);
        if (!ok || (part->role != PART_CONFIG && part->role != PART_LAYER) || !find(p, &part->digest, &hit))
            continue;
        add_blob(p, &part->digest, hit.blob.size, part->role == PART_CONFIG);
        if (part->role == PART_LAYER)
            json_array_append_new(layers, json_sprintf("%s.tar", digest_hex(&part->digest, hex)));
    }
    const struct part *c = ok ? manifest_part(&m, PART_CONFIG) : NULL;
    if (ok && !c)
        ok = err_set(p->err, ERR_UNSUPPORTED, "%s is no image that docker could load: --format oci", p->text);
    if (ref->tag[0] && ref->digest.alg == DIGEST_NONE)
        json_array_append_new(tags, json_string(p->text));
    if (c)
        json_array_append_new(p->images, json_pack("{s:o, s:O, s:O}", "Config",
                                                   json_sprintf("%s.json", digest_hex(&c->digest, hex)), "RepoTags",
                                                   tags, "Layers", layers));
    json_decref(layers);
    json_decref(tags);
    return ok;
}

/* ---- the whole ---- */

static bool add_reference(struct plan *p, const struct ref *ref)
{
    char tag[REF_TAG_MAX + 1];
    bool by_digest = ref->digest.alg != DIGEST_NONE;
    struct cache_hit hit;

    ref_format(ref, p->text);
    ref_name(ref, p->name);
    cache_find(p->c, p->name, by_digest ? NULL : ref_tag(ref, tag), by_digest ? &ref->digest : NULL, &hit);
    if (!hit.stored)
        return err_set(p->err, ERR_NOT_FOUND, "%s is not in the cache: entrepot pull %s first", p->text, p->text);
    struct digest root = hit.digest;
    use_touch(p->c->use, &root);
    if (p->wish->docker)
        return add_docker(p, ref, root);
    if (!add_tree(p, &root, NULL, 0))
        return false;
    add_descriptor(p, &root, p->text);
    add_all_statements(p, &root);
    return true;
}

bool export_plan(struct cache *c, const struct export_wish *wish, struct export_list *out, struct err *err)
{
    struct plan p = {.c = c, .wish = wish, .out = out, .images = json_array(), .err = err};
    bool ok = true;

    memset(out, 0, sizeof(*out));
    if (!wish->docker)
        add_text(out, "oci-layout", json_pack("{s:s}", "imageLayoutVersion", "1.0.0"));
    for (size_t i = 0; ok && i < wish->count; i++)
        ok = add_reference(&p, &wish->references[i]);
    if (ok && wish->docker)
        add_text(out, "manifest.json", json_incref(p.images));
    else if (ok)
        add_text(out, "index.json",
                 json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType",
                           "application/vnd.oci.image.index.v1+json", "manifests", p.images));
    json_decref(p.images);
    if (p.notes.len > 0)
        buf_add(&p.notes, "", 1);
    out->notes = p.notes.data;
    return ok;
}
