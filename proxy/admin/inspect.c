/* `inspect`: an image as a tree of blobs. */
#include "proxy/admin/pages.h"
#include "proxy/admin/image_describe.h"

#include "base/url.h"
#include "base/visible.h"

#include <string.h>

/* Shown at most. Each of an index's 16384 entries may have as many layers. */
enum { TAGS_MAX = 1000, LAYERS_MAX = 65536 };

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

    cache_read(c, read_sharers, &s);
    return s.names ? s.names : json_array();
}

static bool inspect_is_cached(struct image_tree *tree, const struct digest *d)
{
    struct image_leaf *l = image_tree_find(tree, d);

    return l && l->stored;
}

/* Bytes that are here of a blob that is not whole. */
static int64_t part_of(struct image_tree *tree, const struct digest *d)
{
    struct image_leaf *l = image_tree_find(tree, d);

    return l && !l->stored ? l->part : 0;
}

static json_t *describe_layer(struct cache *c, struct image_tree *tree, const struct part *l,
                              const struct digest *diff_id)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:b, s:I, s:o}", "digest", image_digest_json(&l->digest), "size",
                     (json_int_t)l->size, "media_type", visible_json(l->media_type), "diff_id",
                     image_digest_json(diff_id), "cached", inspect_is_cached(tree, &l->digest), "partial_size",
                     (json_int_t)part_of(tree, &l->digest), "shared_with", sharers_of(c, tree, &l->digest));
}

/* One platform: its config and layers, if its manifest is here. */
static json_t *describe_platform(struct cache *c, struct image_tree *tree, const struct digest *d, int64_t size,
                                 const char *platform, bool attestation, size_t *left)
{
    json_t *layers = json_array(), *config_json = json_null(), *id = json_null();
    struct manifest m = {0};
    struct image_config config = {0};
    size_t n = 0;

    if (*left > 0 && inspect_is_cached(tree, d) && image_load_manifest(c, d, size, &m)) {
        *left -= MIN(*left, 1 + m.count);
        const struct part *p = manifest_part(&m, PART_CONFIG);
        if (p) {
            json_decref(config_json);
            json_decref(id);
            id = image_digest_json(&p->digest);
            config_json = json_pack("{s:o, s:I, s:b}", "digest", image_digest_json(&p->digest), "size",
                                    (json_int_t)p->size, "cached", inspect_is_cached(tree, &p->digest));
        }
        image_load_config(c, &m, &config);
        for (size_t k = 0; k < m.count; k++) {
            const struct part *l = &m.parts[k];
            if (l->role != PART_LAYER)
                continue;
            json_array_append_new(layers, describe_layer(c, tree, l, n < config.count ? &config.diff_ids[n] : NULL));
            n++;
        }
    }
    json_t *out = json_pack("{s:o, s:o, s:I, s:b, s:b, s:o, s:o, s:o}", "platform",
                            visible_json(platform[0] ? platform : config.platform), "digest", image_digest_json(d),
                            "size", (json_int_t)size, "cached", inspect_is_cached(tree, d), "attestation", attestation,
                            "image_id", id, "config", config_json, "layers", layers);
    image_config_free(&config);
    manifest_free(&m);
    return out;
}

/* The tags of a repository that point to this digest. */
static json_t *tags_of(struct cache *c, const char *name, const struct digest *d)
{
    struct image_page *p = image_page_new(name, NULL, d);
    json_t *tags = json_array();

    p->names_only = true;
    do {
        image_page_read(c, p);
        for (size_t i = 0; i < p->count; i++)
            if (!strchr(p->list[i].tag, ':'))
                json_array_append_new(tags, json_string(p->list[i].tag));
    } while (p->more && json_array_size(tags) < TAGS_MAX);
    image_page_free(p);
    return tags;
}

static void describe_tree(struct admin_job *job, struct cached_image *i)
{
    struct cache *c = job->admin->puller.cache;
    struct manifest m = {0};
    size_t left = LAYERS_MAX;
    json_t *platforms = json_array(), *ls = image_describe(c, i);

    if (!image_load_manifest(c, &i->row.digest, i->blob.size, &m)) {
        json_decref(platforms);
        json_decref(ls);
        admin_error(job, 500, "the manifest of %s cannot be read", i->name);
        return;
    }
    if (m.kind == MANIFEST_IMAGE)
        json_array_append_new(platforms,
                              describe_platform(c, &i->tree, &i->row.digest, i->blob.size, "", false, &left));
    for (size_t k = 0; k < m.count; k++)
        if (m.parts[k].role == PART_MANIFEST)
            json_array_append_new(platforms, describe_platform(c, &i->tree, &m.parts[k].digest, m.parts[k].size,
                                                               m.parts[k].platform, m.parts[k].attestation, &left));
    json_object_set_new(ls, "tags", tags_of(c, i->name, &i->row.digest));
    json_object_set_new(ls, "kind", json_string(m.kind == MANIFEST_INDEX ? "index" : "manifest"));
    json_object_set_new(ls, "platforms", platforms);
    if (left == 0)
        json_object_set_new(ls, "truncated", json_true());
    job->answer = ls;
    manifest_free(&m);
}

struct by_digest {
    const char *name;
    const struct digest *digest;
    struct cached_image *image;
};

static void read_by_digest(struct index_txn *t, void *arg)
{
    struct by_digest *b = arg;
    char text[DIGEST_TEXT_MAX];
    struct tag_row own;

    uint64_t repo = rows_repo_id(t, b->name);

    if (!rows_get_blob(t, b->digest, &b->image->blob) || !rows_linked(t, repo, b->digest))
        return;
    b->image->row.digest = *b->digest;
    snprintf(b->image->name, sizeof(b->image->name), "%s", b->name);
    snprintf(b->image->tag, sizeof(b->image->tag), "%.*s", (int)REF_TAG_MAX, digest_format(b->digest, text));
    image_read(t, repo, b->image);
    image_grow_tree(t, repo, rows_get_tag(t, repo, b->image->tag, &own) ? b->image->tag : "", b->image);
}

static void note_arriving(void *arg, const struct ingest_info *info)
{
    image_note_arriving(arg, info);
}

void admin_inspect(struct admin_job *job)
{
    struct cache *c = job->admin->puller.cache;
    char name[REF_TEXT_MAX], full[REF_TEXT_MAX], text[REF_TEXT_MAX];
    struct ref ref;
    struct err err = {0};
    struct cached_image single = {0}, *image = NULL;
    struct image_page *page = NULL;

    /* A client may encode the reference as one path segment. */
    if (!url_decode(job->rest, strlen(job->rest), false, text, sizeof(text)) || !ref_parse(&ref, text, &err)) {
        admin_error(job, 400, "%s", err.msg[0] ? err.msg : "the path is no reference");
        return;
    }
    ref_name(&ref, name);
    if (ref.digest.alg != DIGEST_NONE) {
        cache_read(c, read_by_digest, &(struct by_digest){name, &ref.digest, &single});
        ingests_each(cache_ingests(c), note_arriving, &single);
        image = single.stored ? &single : NULL;
    } else {
        page = image_page_new(name, ref.tag, NULL);
        image_page_read(c, page);
        image = page->count > 0 ? &page->list[0] : NULL;
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
    image_tree_free(&single.tree);
    image_page_free(page);
}
