/* What `docker save` writes: manifest.json lists the images with their config and layers. */
#include "cli/archive/import_private.h"

/* Checks a layer against its diff ID in the config. */
static bool docker_check_layer(const struct archive_files *a, const struct archive_file *f, const json_t *diff_id,
                               struct err *err)
{
    const char *text = json_string_value(diff_id);
    char seen[DIGEST_TEXT_MAX];
    struct digest want;

    if (f->diff_id.alg == DIGEST_NONE ||
        (text && digest_parse(&want, text, strlen(text)) && digest_eq(&want, &f->diff_id)))
        return true;
    return err_set(err, ERR_DIGEST, "%s: the layer %s is damaged: its digest is %s, expected %s", a->path, f->name,
                   digest_format(&f->diff_id, seen), text ? text : "none");
}

/* Adds a file that manifest.json names, and returns its descriptor. */
static json_t *docker_describe(struct import_plan *p, const struct archive_files *a, const json_t *name, bool is_config,
                               const struct archive_file **found, struct err *err)
{
    char text[DIGEST_TEXT_MAX], type[64];
    struct digest d;
    const struct archive_file *f = json_is_string(name) ? archive_find(a, json_string_value(name)) : NULL;

    if (!f) {
        err_set(err, ERR_INVALID, "%s: %s, which manifest.json names, is missing", a->path,
                json_is_string(name) ? json_string_value(name) : "a file");
        return NULL;
    }
    *found = f;
    d = f->digest;
    if (d.alg == DIGEST_NONE && !archive_blob_digest(f->name, &d)) {
        err_set(err, ERR_INVALID, "%s: %s has no digest", a->path, f->name);
        return NULL;
    }
    import_add_blob(p, &d, f);
    snprintf(type, sizeof(type), "application/vnd.oci.image.layer.v1.tar%s", archive_packing(f));
    return json_pack("{s:s, s:s, s:I}", "mediaType", is_config ? "application/vnd.oci.image.config.v1+json" : type,
                     "digest", digest_format(&d, text), "size", (json_int_t)f->size);
}

/* The archive has no manifest: generates one, always the same for the same archive. */
static bool docker_make_manifest(struct import_plan *p, const struct archive_files *a, const json_t *image,
                                 struct digest *out, struct err *err)
{
    const struct archive_file *f = NULL;
    const json_t *names = json_object_get(image, "Layers");
    json_t *config = docker_describe(p, a, json_object_get(image, "Config"), true, &f, err), *layers = json_array(), *l;
    json_t *about = import_document(p, f);
    const json_t *ids = json_object_get(json_object_get(about, "rootfs"), "diff_ids");
    bool ok = config != NULL;
    size_t i;

    if (ok && json_array_size(ids) != json_array_size(names))
        ok = err_set(err, ERR_INVALID, "%s: %s does not list the layers of manifest.json", a->path, f->name);
    json_array_foreach(names, i, l) {
        json_t *layer = ok ? docker_describe(p, a, l, false, &f, err) : NULL;
        ok = layer && docker_check_layer(a, f, json_array_get(ids, i), err);
        if (layer)
            json_array_append_new(layers, layer);
    }
    json_decref(about);
    json_t *doc = ok ? json_pack("{s:i, s:s, s:O, s:O}", "schemaVersion", 2, "mediaType",
                                 "application/vnd.oci.image.manifest.v1+json", "config", config, "layers", layers)
                     : NULL;
    if (ok) {
        char *text = json_dumps(doc, JSON_COMPACT);
        digest_of(DIGEST_SHA256, text, strlen(text), out);
        struct import_blob *b = import_add_blob(p, out, NULL);
        if (b->text || b->file) {
            free(text);
        } else {
            b->text = text;
            b->len = strlen(text);
        }
    }
    json_decref(doc);
    json_decref(config);
    json_decref(layers);
    return ok;
}

/* Adds the image under each of its full names; *count: how many. */
static bool docker_add_names(struct import_plan *p, const struct archive_files *a, const json_t *image,
                             const struct digest *d, int *count, struct err *err)
{
    struct ref ref;
    json_t *tag;
    size_t i;

    *count = 0;
    json_array_foreach(json_object_get(image, "RepoTags"), i, tag) {
        const char *name = json_string_value(tag);
        if (!import_is_full(name))
            continue;
        if (!ref_parse(&ref, name, err))
            return err_wrap(err, "%s: RepoTags of manifest.json", a->path);
        import_add_image(p, name, d);
        (*count)++;
    }
    return true;
}

static int docker_count_unnamed(const json_t *doc)
{
    json_t *image, *tag;
    int count = 0;
    size_t i, k;

    json_array_foreach((json_t *)doc, i, image) {
        bool named = false;
        json_array_foreach(json_object_get(image, "RepoTags"), k, tag)
            named |= import_is_full(json_string_value(tag));
        count += !named;
    }
    return count;
}

static bool docker_add_image(struct import_plan *p, const struct archive_files *a, const json_t *image,
                             const char *given, bool is_only, struct err *err)
{
    char text[DIGEST_TEXT_MAX], name[REF_TEXT_MAX];
    struct digest d;
    int named = 0;

    if (!docker_make_manifest(p, a, image, &d, err) ||
        ((!is_only || !given) && !docker_add_names(p, a, image, &d, &named, err)))
        return false;
    if (named > 0)
        return true;
    if (given) {
        if (!import_expand(a, given, REF_DEFAULT_TAG, name, err))
            return false;
        import_add_image(p, name, &d);
        return true;
    }
    digest_format(&d, text);
    if (is_only)
        return err_set(err, ERR_INVALID, "%s: its image, %s, has no name: give it one with --name REF", a->path, text);
    cli_say(stderr, "entrepot: %s: left out an image without a name, %s: give it one with --name REF", a->path, text);
    return true;
}

bool import_docker(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    json_t *doc = import_parse(a, "manifest.json", err), *image;
    size_t count = json_array_size(doc), i;
    int unnamed = docker_count_unnamed(doc);
    bool ok = doc != NULL;

    if (ok && count == 0)
        ok = err_set(err, ERR_INVALID, "%s: no images in its manifest.json", a->path);
    if (ok && given && count > 1 && unnamed != 1)
        ok = err_set(err, ERR_INVALID, "%s has %zu images, %d of them without a name: --name names exactly one",
                     a->path, count, unnamed);
    json_array_foreach(ok ? doc : NULL, i, image)
        ok = ok && docker_add_image(p, a, image, given, count == 1, err);
    if (ok && json_array_size(p->images) == 0)
        ok = err_set(
            err, ERR_INVALID,
            "%s: none of its images has a name; extract one with skopeo copy docker-archive:FILE:@0 and name it with "
            "--name REF",
            a->path);
    json_decref(doc);
    return ok;
}
