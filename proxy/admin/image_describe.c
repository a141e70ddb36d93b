#include "proxy/admin/image_describe.h"

#include "base/assert.h"
#include "base/visible.h"

#include <string.h>

enum { CLIMB_MAX = 3 };

/* ---- what is read from the manifests themselves ---- */

bool image_load_manifest(struct cache *c, const struct digest *d, int64_t size, struct manifest *m)
{
    _cleanup_body_ struct body *b = cache_peek_manifest(c, d, size, NULL);

    return b && manifest_parse(m, b->data, b->len, NULL);
}

bool image_load_config(struct cache *c, const struct manifest *m, struct image_config *config)
{
    const struct part *p = manifest_part(m, PART_CONFIG);
    _cleanup_buf_ struct buf text = {0};

    memset(config, 0, sizeof(*config));
    return p && cache_read_blob(c, &p->digest, MANIFEST_SIZE_MAX, &text, NULL) &&
           image_config_parse(config, text.data, text.len, NULL);
}

json_t *image_digest_json(const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return d && d->alg != DIGEST_NONE ? json_string(digest_format(d, text)) : json_null();
}

/* ---- whether it can be run ---- */

static bool image_is_whole(struct cache *c, struct image_tree *tree, const struct manifest *m, int depth);

/* Reads a manifest of the tree, once, however often it is named. */
static void look_into(struct cache *c, struct image_tree *tree, struct image_leaf *l, int depth)
{
    _cleanup_manifest_ struct manifest m = {0};

    if (l->looked)
        return;
    l->looked = true;
    l->readable = l->stored && image_load_manifest(c, &l->digest, l->size, &m);
    if (!l->readable)
        return;
    const struct part *config = manifest_part(&m, PART_CONFIG);
    if (config)
        l->config = config->digest;
    l->whole = depth < CLIMB_MAX && image_is_whole(c, tree, &m, depth + 1);
}

/* Whether the image can be run from here: the config and every layer of an image; of an index at least one image, and
 * none of which only the manifest is here. */
static bool image_is_whole(struct cache *c, struct image_tree *tree, const struct manifest *m, int depth)
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
        look_into(c, tree, l, depth);
        if (!l->whole)
            return false;
        here++;
    }
    return named == 0 || here > 0;
}

/* ---- a row of `ls` ---- */

struct image_seen {
    json_t *platforms;
    struct digest image_id; /* DIGEST_NONE: of none, or of which one? */
    bool whole;
};

static void see_image(struct cache *c, const struct manifest *m, struct image_seen *s)
{
    struct image_config config;
    const struct part *p = manifest_part(m, PART_CONFIG);

    if (m->kind != MANIFEST_IMAGE || !p)
        return;
    s->image_id = p->digest;
    if (image_load_config(c, m, &config) && config.platform[0])
        json_array_append_new(s->platforms, visible_json(config.platform));
    image_config_free(&config);
}

static void see_index(struct cache *c, struct image_tree *tree, const struct manifest *m, struct image_seen *s)
{
    int runnable = 0;

    for (size_t k = 0; k < m->count; k++) {
        const struct part *p = &m->parts[k];
        struct image_leaf *l = p->role == PART_MANIFEST ? image_tree_find(tree, &p->digest) : NULL;
        if (!l || !l->stored || p->attestation)
            continue;
        look_into(c, tree, l, 0);
        if (!l->readable)
            continue;
        if (p->platform[0])
            json_array_append_new(s->platforms, visible_json(p->platform));
        s->image_id = ++runnable == 1 ? l->config : (struct digest){0};
    }
}

/* The common case: the index knows what the image consists of, and only a few texts of its files are needed. False: the
 * manifests have to be read. */
static bool see_quickly(struct cache *c, struct cached_image *i, const struct body *body, struct image_seen *s)
{
    _cleanup_buf_ struct buf text = {0};
    char platform[PLATFORM_MAX + 1];
    bool sure, whole = image_tree_is_whole(&i->tree, &sure);

    if (!sure || !manifest_skim_config(body->data, body->len, &s->image_id))
        return false;
    s->whole = whole;
    if (!cache_read_blob(c, &s->image_id, MANIFEST_SIZE_MAX, &text, NULL) || text.len == 0)
        return true;
    image_config_platform(platform, text.data, text.len);
    if (platform[0])
        json_array_append_new(s->platforms, visible_json(platform));
    return true;
}

static void see(struct cache *c, struct cached_image *i, struct image_seen *s)
{
    _cleanup_manifest_ struct manifest m = {0};
    _cleanup_body_ struct body *body = i->stored ? cache_peek_manifest(c, &i->row.digest, i->blob.size, NULL) : NULL;

    if (!body || see_quickly(c, i, body, s) || !manifest_parse(&m, body->data, body->len, NULL))
        return;
    s->whole = image_is_whole(c, &i->tree, &m, 0);
    s->image_id = (struct digest){0};
    see_image(c, &m, s);
    see_index(c, &i->tree, &m, s);
}

json_t *image_describe(struct cache *c, struct cached_image *i)
{
    struct image_seen s = {.platforms = json_array()};
    int64_t size = 0, shared = 0, partial = 0;
    char reference[REF_TEXT_MAX];

    OFF_LOOPS;
    see(c, i, &s);
    for (size_t k = 0; k < i->tree.count; k++) {
        const struct image_leaf *l = &i->tree.list[k];
        int64_t here = l->stored ? l->size : l->part;
        size += here;
        shared += l->shared ? here : 0;
        partial += l->stored ? 0 : here;
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:b}", "reference",
                     image_reference(i, reference), "digest", image_digest_json(&i->row.digest), "media_type",
                     visible_json(i->blob.media_type), "image_id", image_digest_json(&s.image_id), "platforms",
                     s.platforms, "size", (json_int_t)size, "shared_size", (json_int_t)shared, "partial_size",
                     (json_int_t)partial, "last_used", (json_int_t)i->blob.used, "pinned", i->pinned, "cached", s.whole,
                     "private", i->is_private);
}
