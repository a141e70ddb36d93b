/* What `docker load` reads: manifest.json (Docker's image specification v1.2, "Combined Image JSON + Filesystem
 * Changeset Format"). It has no digests of manifests and one platform of an image. In a layout it names the layout's
 * blobs, as `docker save` has done since 25. */
#include "cache/export_private.h"

#include <string.h>

static const char *platform_wanted(const struct export_plan *p, char host[PLATFORM_TEXT])
{
    return p->wish->platforms[0][0] ? p->wish->platforms[0] : platform_of_host(host);
}

/* Docker refuses a whole archive for one image whose layers are not those of its config. */
static bool has_layers(struct export_plan *p, const struct manifest *m, const struct part *config)
{
    _cleanup_body_ struct body *body = NULL;
    struct image_config c = {0};
    struct cache_hit hit;
    size_t layers = 0;

    for (size_t i = 0; i < m->count; i++) {
        if (m->parts[i].role != PART_LAYER)
            continue;
        layers++;
        if (!strstr(m->parts[i].media_type, "tar") || !export_find(p, &m->parts[i].digest, &hit))
            return false;
    }
    if (export_find(p, &config->digest, &hit))
        body = cache_peek_manifest(p->c, &config->digest, hit.blob.size, NULL);
    bool same = body && image_config_parse(&c, body->data, body->len, NULL) && c.count == layers;
    image_config_free(&c);
    return same;
}

static bool is_image(struct export_plan *p, const struct manifest *m)
{
    const struct part *config = manifest_part(m, PART_CONFIG);

    return m->kind == MANIFEST_IMAGE && config && strstr(config->media_type, "image") && has_layers(p, m, config);
}

static void note_zstd(struct export_plan *p, const struct manifest *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->parts[i].role != PART_LAYER || !strstr(m->parts[i].media_type, "zstd"))
            continue;
        buf_addf(&p->notes, "%s has layers that are compressed with zstd: docker load before 23 does not read them\n",
                 p->text);
        return;
    }
}

/* In a layout, by the names of its blobs; else docker gives a config and a layer their own kinds of name. */
static void docker_add_entry(struct export_plan *p, const struct ref *ref, const struct manifest *m, bool in_layout)
{
    json_t *layers = json_array(), *tags = json_array(), *config = NULL;
    char hex[DIGEST_TEXT_MAX], tag[REF_TEXT_MAX + REF_TAG_MAX + 2];
    struct cache_hit hit;

    for (size_t i = 0; i < m->count; i++) {
        const struct part *part = &m->parts[i];
        bool is_config = part->role == PART_CONFIG;
        if ((!is_config && part->role != PART_LAYER) || !export_find(p, &part->digest, &hit))
            continue;
        digest_hex(&part->digest, hex);
        _cleanup_free_ char *name = in_layout ? xasprintf("blobs/%s/%s", digest_alg_name(&part->digest), hex)
                                              : xasprintf("%s.%s", hex, is_config ? "json" : "tar");
        if (!in_layout)
            export_add_blob(p, &part->digest, hit.blob.size, name);
        if (is_config && !config)
            config = json_string(name);
        else if (!is_config)
            json_array_append_new(layers, json_string(name));
    }
    snprintf(tag, sizeof(tag), "%s:%s", p->name, ref->tag);
    if (ref->tag[0])
        json_array_append_new(tags, json_string(tag));
    json_array_append_new(p->docker,
                          json_pack("{s:o, s:o, s:o}", "Config", config, "RepoTags", tags, "Layers", layers));
}

/* The one of what is in the archive that serves the platform best. */
static const struct export_leaf *choose_leaf(struct export_plan *p, const struct export_tree *tree)
{
    const struct export_leaf *best = NULL;
    char host[PLATFORM_TEXT];
    int most = -1;

    for (size_t i = 0; i < tree->count; i++) {
        const struct export_leaf *leaf = &tree->leaves[i];
        int score = leaf->attestation ? -1 : platform_score(platform_wanted(p, host), leaf->platform);
        if (score > most) {
            best = leaf;
            most = score;
        }
    }
    return best;
}

void export_add_docker_entry(struct export_plan *p, const struct ref *ref, const struct digest *root,
                             const struct export_tree *tree)
{
    _cleanup_manifest_ struct manifest m = {0};
    const struct export_leaf *leaf = choose_leaf(p, tree);
    struct cache_hit hit;

    if (!export_load(p, leaf ? &leaf->digest : root, &m, &hit))
        return;
    if (!is_image(p, &m)) {
        buf_addf(&p->notes, "%s is no image that docker's classic store could load: it is in no manifest.json\n",
                 p->text);
        return;
    }
    note_zstd(p, &m);
    docker_add_entry(p, ref, &m, true);
}

/* ---- an archive of nothing else ---- */

static bool docker_choose_image(struct export_plan *p, struct digest *d, struct manifest *m)
{
    char host[PLATFORM_TEXT];
    const char *platform = platform_wanted(p, host);
    struct cache_hit hit;

    for (int depth = 0; depth <= EXPORT_DEPTH_MAX; depth++) {
        if (!export_load(p, d, m, &hit))
            return export_is_incomplete(p, depth ? platform : NULL, d);
        if (m->kind != MANIFEST_INDEX)
            return true;
        const struct part *part = manifest_choose(m, platform);
        if (!part)
            return err_set(p->err, ERR_NOT_FOUND, "%s has no image for %s: --platform names another", p->text,
                           platform);
        *d = part->digest;
        manifest_free(m);
        memset(m, 0, sizeof(*m));
    }
    return err_set(p->err, ERR_INVALID, "%s: more than %d indexes within one another", p->text, (int)EXPORT_DEPTH_MAX);
}

bool export_add_docker_image(struct export_plan *p, const struct ref *ref, struct digest d)
{
    _cleanup_manifest_ struct manifest m = {0};

    if (!docker_choose_image(p, &d, &m))
        return false;
    const struct part *missing = export_missing(p, &m);
    if (missing)
        return export_is_incomplete(p, p->wish->platforms[0], &missing->digest);
    if (!is_image(p, &m))
        return err_set(p->err, ERR_UNSUPPORTED, "%s is no image that docker could load: --format oci", p->text);
    note_zstd(p, &m);
    docker_add_entry(p, ref, &m, false);
    return true;
}
