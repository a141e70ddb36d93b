#include "cli/import.h"

#include "base/ref.h"

#include <string.h>

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI        "org.opencontainers.image.ref.name"

void import_plan_free(struct import_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->blobs[i].text);
    free(p->blobs);
    json_decref(p->images);
    memset(p, 0, sizeof(*p));
}

static struct import_blob *add_blob(struct import_plan *p, const struct digest *d, const struct archive_file *file)
{
    for (size_t i = 0; i < p->count; i++)
        if (digest_eq(&p->blobs[i].digest, d))
            return &p->blobs[i];
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->blobs = xrealloc(p->blobs, p->room * sizeof(*p->blobs));
    }
    struct import_blob *b = &p->blobs[p->count++];
    *b = (struct import_blob){.digest = *d, .file = file};
    return b;
}

static void add_image(struct import_plan *p, const char *name, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    json_array_append_new(p->images, json_pack("{s:s, s:s}", "name", name, "digest", digest_format(d, text)));
}

static json_t *parse(const struct archive_files *a, const char *name, struct err *err)
{
    const struct archive_file *f = archive_find(a, name);
    json_error_t why;
    json_t *doc = f && f->text ? json_loads(f->text, 0, &why) : NULL;

    if (!doc)
        err_set(err, ERR_INVALID, "%s: %s is not %s", a->path, name, f && f->text ? "JSON" : "there");
    return doc;
}

/* ---- an OCI image layout ---- */

/* A tag alone, "1.27", says nothing about the repository. */
static bool is_full(const char *name)
{
    return strpbrk(name, "/:@") != NULL;
}

static const char *name_of(const json_t *descriptor)
{
    const json_t *notes = json_object_get(descriptor, "annotations");
    const char *full = json_string_value(json_object_get(notes, NAME_CONTAINERD)),
               *ref = json_string_value(json_object_get(notes, NAME_OCI));

    return full && is_full(full) ? full : ref;
}

/* The only repository that is named. */
static bool only_repository(const json_t *list, struct ref *out)
{
    json_t *d;
    size_t i;
    int count = 0;

    json_array_foreach(list, i, d) {
        const char *name = name_of(d);
        struct ref ref;
        if (!name || !is_full(name) || !ref_parse(&ref, name, NULL))
            continue;
        if (count == 0 || strcmp(out->host, ref.host) != 0 || strcmp(out->path, ref.path) != 0)
            count++;
        *out = ref;
    }
    return count == 1;
}

/* Something about an image: named by its digest, or by the tag that stands for that ("sha256-<hex>.sig"). */
static bool is_companion(const json_t *descriptor)
{
    const char *name = name_of(descriptor);
    struct ref ref;

    if (!name)
        return true;
    if (!is_full(name) || !ref_parse(&ref, name, NULL))
        return false;
    return ref.digest.alg != DIGEST_NONE || strncmp(ref.tag, "sha256-", 7) == 0 || strncmp(ref.tag, "sha512-", 7) == 0;
}

/* It goes with the image's repository, under a new name, too. */
static bool add_companion(struct import_plan *p, const json_t *list, const json_t *desc, const struct digest *d,
                          const char *given)
{
    char name[REF_TEXT_MAX], full[2 * REF_TEXT_MAX], text[DIGEST_TEXT_MAX];
    struct ref own, ref;
    bool named = name_of(desc) && ref_parse(&own, name_of(desc), NULL);

    if (given ? !ref_parse(&ref, given, NULL) : !only_repository(list, &ref))
        return false;
    if (named && own.digest.alg == DIGEST_NONE)
        snprintf(full, sizeof(full), "%s:%s", ref_name(&ref, name), own.tag);
    else
        snprintf(full, sizeof(full), "%s@%s", ref_name(&ref, name), digest_format(d, text));
    add_image(p, full, d);
    return true;
}

static int count_images(const json_t *list)
{
    json_t *d;
    size_t i;
    int count = 0;

    json_array_foreach(list, i, d)
        count += !is_companion(d);
    return json_array_size(list) == 1 ? 1 : count; /* one without a name is the image */
}

static bool add_descriptor(struct import_plan *p, const struct archive_files *a, const json_t *list, const json_t *desc,
                           const char *given, struct err *err)
{
    const char *digest = json_string_value(json_object_get(desc, "digest")), *name = name_of(desc);
    bool companion = json_array_size(list) > 1 && is_companion(desc);
    struct digest d;
    struct ref ref;

    if (!digest || !digest_parse(&d, digest, strlen(digest)))
        return err_set(err, ERR_INVALID, "%s: index.json names no digest", a->path);
    if (companion && (given || !name) && add_companion(p, list, desc, &d, given))
        return true;
    if (given && !companion) {
        add_image(p, given, &d);
        return true;
    }
    if (name && is_full(name)) {
        if (!ref_parse(&ref, name, err))
            return err_wrap(err, "%s: what it calls an image", a->path);
        add_image(p, name, &d);
        return true;
    }
    return err_set(
        err, ERR_INVALID,
        json_array_size(list) == 1
            ? "%s: the image is called \"%s\" there, which says not of which repository it is: --name REF does"
            : "%s: one of its images is called \"%s\", which says not of which repository it is; --name is for "
              "archives of one image",
        a->path, name ? name : "");
}

static bool plan_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    json_t *doc = parse(a, "index.json", err), *list = json_object_get(doc, "manifests"), *d;
    bool ok = doc != NULL;
    struct digest digest;
    size_t i;

    p->format = "OCI image layout";
    if (ok && json_array_size(list) == 0)
        ok = err_set(err, ERR_INVALID, "%s: there is no image in its index.json", a->path);
    if (ok && given && count_images(list) != 1)
        ok = err_set(err, ERR_INVALID, "%s has %d images: --name is for one", a->path, count_images(list));
    if (ok)
        json_array_foreach(list, i, d)
            ok = ok && add_descriptor(p, a, list, d, given, err);
    for (i = 0; ok && i < a->count; i++)
        if (!a->list[i].target && archive_blob_digest(a->list[i].name, &digest))
            add_blob(p, &digest, &a->list[i]);
    json_decref(doc);
    return ok;
}

/* ---- what `docker save` writes ---- */

/* The config says what each layer is, unpacked. */
static bool is_layer(const struct archive_files *a, const struct archive_file *f, const json_t *diff_id,
                     struct err *err)
{
    const char *text = json_string_value(diff_id);
    char seen[DIGEST_TEXT_MAX];
    struct digest want;

    if (f->diff_id.alg == DIGEST_NONE ||
        (text && digest_parse(&want, text, strlen(text)) && digest_eq(&want, &f->diff_id)))
        return true;
    return err_set(err, ERR_DIGEST, "%s: the layer %s is damaged: it hashes to %s, and its image says %s", a->path,
                   f->name, digest_format(&f->diff_id, seen), text ? text : "nothing");
}

/* Of a file that is named in manifest.json. */
static json_t *describe(struct import_plan *p, const struct archive_files *a, const json_t *name, bool is_config,
                        const struct archive_file **found, struct err *err)
{
    char text[DIGEST_TEXT_MAX], type[64];
    struct digest d;
    const struct archive_file *f = json_is_string(name) ? archive_find(a, json_string_value(name)) : NULL;

    if (!f) {
        err_set(err, ERR_INVALID, "%s: %s, which manifest.json names, is not there", a->path,
                json_is_string(name) ? json_string_value(name) : "what");
        return NULL;
    }
    *found = f;
    d = f->digest;
    if (d.alg == DIGEST_NONE && !archive_blob_digest(f->name, &d)) {
        err_set(err, ERR_INVALID, "%s: %s has no digest", a->path, f->name);
        return NULL;
    }
    add_blob(p, &d, f);
    snprintf(type, sizeof(type), "application/vnd.oci.image.layer.v1.tar%s", archive_packing(f));
    return json_pack("{s:s, s:s, s:I}", "mediaType", is_config ? "application/vnd.oci.image.config.v1+json" : type,
                     "digest", digest_format(&d, text), "size", (json_int_t)f->size);
}

/* The archive has no manifest: the same archive always gets the same one. */
static bool make_manifest(struct import_plan *p, const struct archive_files *a, const json_t *image, struct digest *out,
                          struct err *err)
{
    const struct archive_file *f = NULL;
    const json_t *names = json_object_get(image, "Layers");
    json_t *config = describe(p, a, json_object_get(image, "Config"), true, &f, err), *layers = json_array(), *l;
    json_t *about = f && f->text ? json_loads(f->text, 0, NULL) : NULL;
    const json_t *ids = json_object_get(json_object_get(about, "rootfs"), "diff_ids");
    bool ok = config != NULL;
    size_t i;

    if (ok && json_array_size(ids) != json_array_size(names))
        ok = err_set(err, ERR_INVALID, "%s: %s is not the config of these layers", a->path, f->name);
    json_array_foreach(names, i, l) {
        json_t *layer = ok ? describe(p, a, l, false, &f, err) : NULL;
        ok = layer && is_layer(a, f, json_array_get(ids, i), err);
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
        struct import_blob *b = add_blob(p, out, NULL);
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

static bool plan_docker(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    json_t *doc = parse(a, "manifest.json", err), *image, *tag;
    bool ok = doc != NULL;
    size_t i, k;

    p->format = "docker archive";
    if (ok && json_array_size(doc) == 0)
        ok = err_set(err, ERR_INVALID, "%s: there is no image in its manifest.json", a->path);
    if (ok && given && json_array_size(doc) > 1)
        ok = err_set(err, ERR_INVALID, "%s has %zu images: --name is for one", a->path, json_array_size(doc));
    json_array_foreach(ok ? doc : NULL, i, image) {
        const json_t *tags = json_object_get(image, "RepoTags");
        struct digest d;
        if (!ok || !make_manifest(p, a, image, &d, err)) {
            ok = false;
            break;
        }
        if (given)
            add_image(p, given, &d);
        else if (json_array_size(tags) == 0)
            ok = err_set(err, ERR_INVALID, "%s: an image has no name there: --name REF gives it one", a->path);
        json_array_foreach(given ? NULL : tags, k, tag)
            if (json_is_string(tag))
                add_image(p, json_string_value(tag), &d);
    }
    json_decref(doc);
    return ok;
}

bool import_plan(const struct archive_files *a, const char *name, struct import_plan *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    out->images = json_array();
    if (name) {
        struct ref ref;
        if (!ref_parse(&ref, name, err))
            return err_wrap(err, "--name");
    }
    if (archive_find(a, "index.json"))
        return plan_layout(out, a, name, err);
    if (archive_find(a, "manifest.json"))
        return plan_docker(out, a, name, err);
    return err_set(err, ERR_INVALID,
                   "%s is neither an OCI image layout (it has no index.json) nor an archive of docker save (no "
                   "manifest.json)",
                   a->path);
}
