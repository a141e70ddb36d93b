/* `ls` and `inspect`: images as trees of blobs. */
#include "proxy/admin.h"
#include "proxy/image_tree.h"

#include "base/visible.h"

#include <string.h>

enum { CLIMB_MAX = 3 };

/* ---- what is read from the manifests themselves ---- */

static bool load_manifest(struct cache *c, const struct digest *d, int64_t size, struct manifest *m)
{
    _cleanup_body_ struct body *b = cache_peek_manifest(c, d, size, NULL);

    return b && manifest_parse(m, b->data, b->len, NULL);
}

static bool load_config(struct cache *c, const struct manifest *m, struct image_config *config)
{
    const struct part *p = manifest_part(m, PART_CONFIG);
    _cleanup_buf_ struct buf text = {0};

    memset(config, 0, sizeof(*config));
    return p && store_read_blob(c->store, &p->digest, MANIFEST_SIZE_MAX, &text, NULL) &&
           image_config_parse(config, text.data, text.len, NULL);
}

static json_t *digest_json(const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return d && d->alg != DIGEST_NONE ? json_string(digest_format(d, text)) : json_null();
}

/* ---- ls ---- */

struct image {
    char name[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1];
    struct tag_row row;
    struct blob_row blob;
    bool stored, pinned, is_private;
    struct image_tree tree;
};

struct images {
    struct index_txn *t;
    struct image *list;
    size_t count, room;
    const char *name, *tag; /* only this one; or NULL */
    bool names_only;        /* without their trees */
};

static void grow_tree(struct image *i, struct index_txn *t, uint64_t repo, const char *tag)
{
    i->tree = (struct image_tree){.root = i->row.digest, .repo = repo};
    snprintf(i->tree.tag, sizeof(i->tree.tag), "%s", tag);
    image_tree_grow(&i->tree, t);
}

static bool add_image(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct images *all = arg;
    char name[REF_NAME_MAX + 1];

    if (!rows_repo_name(all->t, repo, name) || (all->tag && strcmp(tag, all->tag) != 0))
        return true;
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 16;
        all->list = xrealloc(all->list, all->room * sizeof(*all->list));
    }
    struct image *i = &all->list[all->count++];
    memset(i, 0, sizeof(*i));
    memcpy(i->name, name, sizeof(name));
    snprintf(i->tag, sizeof(i->tag), "%s", tag);
    i->row = *row;
    i->stored = rows_get_blob(all->t, &row->digest, &i->blob);
    i->is_private = rows_repo_is_private(all->t, repo);
    i->pinned = rows_pinned(all->t, repo, tag);
    if (!all->names_only)
        grow_tree(i, all->t, repo, tag);
    return true;
}

static void read_images(struct index_txn *t, void *arg)
{
    struct images *all = arg;
    uint64_t repo = all->name ? rows_repo_id(t, all->name) : 0;

    all->t = t;
    if (!all->name || repo != 0)
        rows_each_tag(t, repo, add_image, all);
}

static void images_free(struct images *all)
{
    for (size_t i = 0; all->list && i < all->count; i++)
        free(all->list[i].tree.list);
    free(all->list);
}

/* Whether it can be run from here: of an image the config and every layer; of an index one of its images, and none that
 * has its manifest here and not the rest. */
static bool is_whole(struct cache *c, struct image_tree *tree, const struct manifest *m, int depth)
{
    int named = 0, here = 0;

    for (size_t i = 0; i < m->count; i++) {
        const struct part *p = &m->parts[i];
        struct image_leaf *l = image_tree_find(tree, &p->digest);
        bool stored = l && l->stored;
        if (p->role == PART_SUBJECT || p->attestation || part_is_foreign(p))
            continue;
        if (p->role != PART_MANIFEST && !stored)
            return false;
        named += p->role == PART_MANIFEST;
        if (p->role != PART_MANIFEST || !stored)
            continue;
        struct manifest child = {0};
        bool whole =
            depth < CLIMB_MAX && load_manifest(c, &l->digest, l->size, &child) && is_whole(c, tree, &child, depth + 1);
        manifest_free(&child);
        if (!whole)
            return false;
        here++;
    }
    return named == 0 || here > 0;
}

static void platform_of(struct cache *c, const struct manifest *m, json_t *platforms, json_t **image_id)
{
    struct image_config config;
    const struct part *p = manifest_part(m, PART_CONFIG);

    if (m->kind != MANIFEST_IMAGE || !p)
        return;
    json_decref(*image_id);
    *image_id = digest_json(&p->digest);
    if (load_config(c, m, &config) && config.platform[0])
        json_array_append_new(platforms, visible_json(config.platform));
    image_config_free(&config);
}

static json_t *describe_image(struct cache *c, struct image *i)
{
    json_t *platforms = json_array(), *image_id = json_null();
    struct manifest m = {0};
    int64_t size = 0, shared = 0;
    int runnable = 0;
    bool whole = false;

    if (i->stored && load_manifest(c, &i->row.digest, i->blob.size, &m)) {
        whole = is_whole(c, &i->tree, &m, 0);
        platform_of(c, &m, platforms, &image_id);
        for (size_t k = 0; k < m.count; k++) {
            struct image_leaf *l =
                m.parts[k].role == PART_MANIFEST ? image_tree_find(&i->tree, &m.parts[k].digest) : NULL;
            struct manifest child = {0};
            if (!l || !l->stored || m.parts[k].attestation || !load_manifest(c, &l->digest, l->size, &child))
                continue;
            if (m.parts[k].platform[0])
                json_array_append_new(platforms, visible_json(m.parts[k].platform));
            if (++runnable == 1 && manifest_part(&child, PART_CONFIG)) {
                json_decref(image_id);
                image_id = digest_json(&manifest_part(&child, PART_CONFIG)->digest);
            }
            manifest_free(&child);
        }
        manifest_free(&m);
    }
    if (runnable > 1) { /* which one is the image's? none */
        json_decref(image_id);
        image_id = json_null();
    }
    for (size_t k = 0; k < i->tree.count; k++) {
        size += i->tree.list[k].stored ? i->tree.list[k].size : 0;
        shared += i->tree.list[k].stored && i->tree.list[k].shared ? i->tree.list[k].size : 0;
    }
    char reference[REF_TEXT_MAX];
    snprintf(reference, sizeof(reference), "%s%c%s", i->name, strchr(i->tag, ':') ? '@' : ':', i->tag);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:b, s:b}", "reference", reference, "digest",
                     digest_json(&i->row.digest), "media_type", visible_json(i->blob.media_type), "image_id", image_id,
                     "platforms", platforms, "size", (json_int_t)size, "shared_size", (json_int_t)shared, "last_used",
                     (json_int_t)i->blob.used, "pinned", i->pinned, "cached", whole, "private", i->is_private);
}

static int by_reference(const void *a, const void *b)
{
    const struct image *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : strcmp(x->tag, y->tag);
}

void admin_images(struct admin_job *job)
{
    struct images all = {0};
    json_t *list = json_array();

    index_read(job->proxy->cache->index, read_images, &all);
    if (all.count > 0)
        qsort(all.list, all.count, sizeof(*all.list), by_reference);
    for (size_t i = 0; i < all.count; i++)
        json_array_append_new(list, describe_image(job->proxy->cache, &all.list[i]));
    job->answer = json_pack("{s:o}", "images", list);
    images_free(&all);
}

/* ---- inspect ---- */

/* Which images need a blob too. */
struct sharers {
    const struct image_tree *tree;
    const struct digest *d;
    json_t *names;
};

static void read_sharers(struct index_txn *t, void *arg)
{
    struct sharers *s = arg;

    s->names = image_tree_sharers(s->tree, t, s->d);
}

static json_t *sharers_of(struct cache *c, const struct image_tree *tree, const struct digest *d)
{
    struct sharers s = {tree, d, NULL};

    index_read(c->index, read_sharers, &s);
    return s.names ? s.names : json_array();
}

static bool is_cached(struct image_tree *tree, const struct digest *d)
{
    struct image_leaf *l = image_tree_find(tree, d);

    return l && l->stored;
}

/* One platform: its config and layers, if its manifest is here. */
static json_t *describe_platform(struct cache *c, struct image_tree *tree, const struct digest *d, int64_t size,
                                 const char *platform, bool attestation)
{
    json_t *layers = json_array(), *config_json = json_null(), *id = json_null();
    struct manifest m = {0};
    struct image_config config = {0};
    size_t n = 0;

    if (is_cached(tree, d) && load_manifest(c, d, size, &m)) {
        const struct part *p = manifest_part(&m, PART_CONFIG);
        if (p) {
            json_decref(config_json);
            json_decref(id);
            id = digest_json(&p->digest);
            config_json = json_pack("{s:o, s:I, s:b}", "digest", digest_json(&p->digest), "size", (json_int_t)p->size,
                                    "cached", is_cached(tree, &p->digest));
        }
        load_config(c, &m, &config);
        for (size_t k = 0; k < m.count; k++) {
            const struct part *l = &m.parts[k];
            if (l->role != PART_LAYER)
                continue;
            json_array_append_new(
                layers, json_pack("{s:o, s:I, s:o, s:o, s:b, s:o}", "digest", digest_json(&l->digest), "size",
                                  (json_int_t)l->size, "media_type", visible_json(l->media_type), "diff_id",
                                  digest_json(n < config.count ? &config.diff_ids[n] : NULL), "cached",
                                  is_cached(tree, &l->digest), "shared_with", sharers_of(c, tree, &l->digest)));
            n++;
        }
    }
    json_t *out = json_pack("{s:o, s:o, s:I, s:b, s:b, s:o, s:o, s:o}", "platform",
                            visible_json(platform[0] ? platform : config.platform), "digest", digest_json(d), "size",
                            (json_int_t)size, "cached", is_cached(tree, d), "attestation", attestation, "image_id", id,
                            "config", config_json, "layers", layers);
    image_config_free(&config);
    manifest_free(&m);
    return out;
}

/* The references of a repository that point to this digest. */
static json_t *tags_of(struct cache *c, const char *name, const struct digest *d)
{
    struct images all = {.name = name, .names_only = true};
    json_t *tags = json_array();

    index_read(c->index, read_images, &all);
    for (size_t i = 0; i < all.count; i++)
        if (digest_eq(&all.list[i].row.digest, d) && !strchr(all.list[i].tag, ':'))
            json_array_append_new(tags, json_string(all.list[i].tag));
    images_free(&all);
    return tags;
}

static void describe_tree(struct admin_job *job, struct image *i)
{
    struct cache *c = job->proxy->cache;
    struct manifest m = {0};
    json_t *platforms = json_array(), *ls = describe_image(c, i);

    if (!load_manifest(c, &i->row.digest, i->blob.size, &m)) {
        json_decref(platforms);
        json_decref(ls);
        admin_error(job, 500, "the manifest of %s cannot be read", i->name);
        return;
    }
    if (m.kind == MANIFEST_IMAGE)
        json_array_append_new(platforms, describe_platform(c, &i->tree, &i->row.digest, i->blob.size, "", false));
    for (size_t k = 0; k < m.count; k++)
        if (m.parts[k].role == PART_MANIFEST)
            json_array_append_new(platforms, describe_platform(c, &i->tree, &m.parts[k].digest, m.parts[k].size,
                                                               m.parts[k].platform, m.parts[k].attestation));
    json_object_set_new(ls, "tags", tags_of(c, i->name, &i->row.digest));
    json_object_set_new(ls, "kind", json_string(m.kind == MANIFEST_INDEX ? "index" : "manifest"));
    json_object_set_new(ls, "platforms", platforms);
    job->answer = ls;
    manifest_free(&m);
}

struct by_digest {
    const char *name;
    const struct digest *digest;
    struct image *image;
};

static void read_by_digest(struct index_txn *t, void *arg)
{
    struct by_digest *b = arg;
    char text[DIGEST_TEXT_MAX];
    struct tag_row own;

    uint64_t repo = rows_repo_id(t, b->name);

    if (!rows_get_blob(t, b->digest, &b->image->blob) || !rows_linked(t, repo, b->digest))
        return;
    b->image->stored = true;
    b->image->is_private = rows_repo_is_private(t, repo);
    b->image->row.digest = *b->digest;
    snprintf(b->image->name, sizeof(b->image->name), "%s", b->name);
    snprintf(b->image->tag, sizeof(b->image->tag), "%.*s", (int)REF_TAG_MAX, digest_format(b->digest, text));
    b->image->pinned = rows_pinned(t, repo, b->image->tag);
    grow_tree(b->image, t, repo, rows_get_tag(t, repo, b->image->tag, &own) ? b->image->tag : "");
}

/* "%2F" and friends: a client may encode the reference as one path segment. */
static void unescape(char *text)
{
    char *out = text;

    for (char *in = text; *in; in++) {
        unsigned c;
        if (*in == '%' && sscanf(in + 1, "%2x", &c) == 1 && c >= 0x20) {
            *out++ = (char)c;
            in += in[1] && in[2] ? 2 : 0;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

void admin_inspect(struct admin_job *job, const char *reference)
{
    struct cache *c = job->proxy->cache;
    char name[REF_TEXT_MAX], full[REF_TEXT_MAX];
    _cleanup_free_ char *text = xstrdup(reference);
    struct ref ref;
    struct err err = {0};
    struct images all = {0};
    struct image single = {0}, *image = NULL;

    unescape(text);
    if (!ref_parse(&ref, text, &err)) {
        admin_error(job, 400, "%s", err.msg);
        return;
    }
    ref_name(&ref, name);
    if (ref.digest.alg != DIGEST_NONE) {
        index_read(c->index, read_by_digest, &(struct by_digest){name, &ref.digest, &single});
        image = single.stored ? &single : NULL;
    } else {
        all.name = name;
        all.tag = ref.tag;
        index_read(c->index, read_images, &all);
        image = all.count > 0 ? &all.list[0] : NULL;
    }
    if (!image || !image->stored) {
        admin_error(job, 404, "%s is not in the cache: pull it first", ref_format(&ref, full));
    } else if (strstr(job->query, "raw=1")) {
        job->raw = cache_peek_manifest(c, &image->row.digest, image->blob.size, NULL);
        snprintf(job->type, sizeof(job->type), "%s", image->blob.media_type);
        if (!job->raw)
            admin_error(job, 500, "the manifest of %s cannot be read", text);
    } else {
        describe_tree(job, image);
    }
    free(single.tree.list);
    images_free(&all);
}
