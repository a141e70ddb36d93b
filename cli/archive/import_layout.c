/* An OCI image layout: which entries of its index.json are images, which are referrers of images (signatures and
 * others), and the name of each. */
#include "cli/archive/import_private.h"

#define EXPORT_INDEX "io.entrepot.index"         /* cache/export.h */
#define KIND_COSIGN  "dev.cosignproject.cosign/" /* the prefix of `kind` that `cosign save` writes */

/* ---- the entries ---- */

/* A layout may contain anything (image-spec, image-layout.md); an entry without a media type counts as a manifest. */
static bool layout_is_manifest(const json_t *descriptor)
{
    static const char *const types[] = {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.artifact.manifest.v1+json",
    };
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));

    for (size_t i = 0; type && i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return !type;
}

static void layout_classify(struct layout *l, struct layout_item *it)
{
    const char *kind = layout_note(it->descriptor, "kind"), *tag = NULL;
    struct digest subject;

    if (kind && strncmp(kind, KIND_COSIGN, strlen(KIND_COSIGN)) == 0) {
        kind += strlen(KIND_COSIGN);
        it->suffix = strcmp(kind, "sigs") == 0    ? ".sig"
                     : strcmp(kind, "atts") == 0  ? ".att"
                     : strcmp(kind, "sboms") == 0 ? ".sbom"
                                                  : NULL;
    }
    it->about = it->suffix || (it->name && layout_is_named_about(it->name, &tag)) ||
                (!it->name && layout_subject(l, &it->digest, &subject));
}

static bool read_item(struct layout *l, const json_t *d)
{
    struct layout_item *it = &l->items[l->count];
    struct digest whole;
    const char *index = layout_note(d, EXPORT_INDEX);

    if (!layout_is_manifest(d)) {
        cli_say(stderr, "entrepot: %s: left out an entry of index.json that is not an image: its media type is %s",
                l->a->path, json_string_value(json_object_get(d, "mediaType")));
        return true;
    }
    if (!layout_digest(d, &it->digest))
        return err_set(l->err, ERR_INVALID, "%s: an entry of index.json has no valid digest", l->a->path);
    if (index && digest_parse(&whole, index, strlen(index)) && layout_file(l->a, &whole))
        it->digest = whole;
    it->descriptor = d;
    it->name = layout_name(d);
    layout_classify(l, it);
    l->count++;
    return true;
}

/* Maps configs to manifests. */
static void read_configs(struct layout *l)
{
    struct digest d, config;

    for (size_t i = 0; i < l->a->count; i++) {
        const struct archive_file *f = &l->a->list[i];
        if (f->target || !f->text || !strstr(f->text, "\"config\"") || !archive_blob_digest(f->name, &d))
            continue;
        json_t *doc = import_document(l->plan, f);
        if (layout_digest(json_object_get(doc, "config"), &config))
            key_map_add(&l->configs, digest_key(&config), digest_key_len(&config), (int64_t)i);
        json_decref(doc);
    }
}

/* The manifest with this config. */
static bool find_by_config(const struct layout *l, const char *config, struct digest *d)
{
    struct digest want;
    int64_t at = config && archive_blob_digest(config, &want)
                     ? key_map_find(&l->configs, digest_key(&want), digest_key_len(&want))
                     : KEY_MAP_NONE;

    return at >= 0 && archive_blob_digest(l->a->list[at].name, d);
}

/* Images that `docker save` was given by ID are in manifest.json only. */
static void read_docker_items(struct layout *l, const json_t *docker)
{
    struct key_map listed = {0};
    struct digest d;
    json_t *image;
    size_t i;

    if (json_array_size(docker) > 0)
        read_configs(l);
    for (i = 0; i < l->count && json_array_size(docker) > 0; i++)
        layout_spread(l, &listed, &l->items[i].digest, 0);
    json_array_foreach((json_t *)docker, i, image) {
        const char *config = json_string_value(json_object_get(image, "Config"));
        if (json_array_size(json_object_get(image, "RepoTags")) > 0 || !find_by_config(l, config, &d) ||
            key_map_find(&listed, digest_key(&d), digest_key_len(&d)) >= 0)
            continue;
        l->items[l->count++].digest = d;
        layout_spread(l, &listed, &d, 0);
    }
    key_map_free(&listed);
}

/* Beside an image with a name, entries without one are referrers; a single entry is an image. */
static void layout_classify_all(struct layout *l)
{
    bool named = false;

    for (size_t i = 0; i < l->count; i++)
        named |= l->items[i].name && !l->items[i].about;
    for (size_t i = 0; i < l->count; i++)
        l->items[i].about |= named && !l->items[i].name;
    if (l->count == 1)
        l->items[0].about = false;
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_item *it = &l->items[i];
        struct digest subject;
        if (!it->about) {
            key_map_add(&l->exact, digest_key(&it->digest), digest_key_len(&it->digest), (int64_t)i);
            layout_spread(l, &l->within, &it->digest, (int64_t)i);
        }
        l->images += !it->about;
        l->nameless += it->about && !it->name && !it->suffix && !layout_subject(l, &it->digest, &subject);
    }
}

static bool read_items(struct layout *l, const json_t *list)
{
    size_t i;
    json_t *d;

    const struct archive_file *f = archive_find(l->a, "manifest.json");
    json_t *docker = import_document(l->plan, f);
    bool ok = true;
    l->items = xcalloc(json_array_size(list) + json_array_size(docker) + 1, sizeof(*l->items));
    json_array_foreach((json_t *)list, i, d)
        ok = ok && read_item(l, d);
    if (ok)
        read_docker_items(l, docker);
    json_decref(docker);
    if (!ok)
        return false;
    layout_classify_all(l);
    return l->images > 0 || err_set(l->err, ERR_INVALID, "%s: no images in its index.json", l->a->path);
}

/* ---- names ---- */

static bool layout_refuse_nameless(struct layout *l, const struct layout_item *it)
{
    char own[REF_TEXT_MAX], text[DIGEST_TEXT_MAX];

    import_own_name(l->a, own);
    if (l->images > 1 && it->name)
        return err_set(
            l->err, ERR_INVALID,
            "%s: one of its images has the tag \"%s\" without a repository: use --name REPOSITORY:{tag}, such as "
            "--name '%s:{tag}'",
            l->a->path, it->name, own);
    if (l->images > 1)
        return err_set(
            l->err, ERR_INVALID,
            "%s has %d images, and one of them, %s, has no name: extract it with skopeo copy or oras copy, and name "
            "it with --name REF",
            l->a->path, l->images, digest_format(&it->digest, text));
    if (!it->name)
        return err_set(l->err, ERR_INVALID,
                       "%s: its image has no name: give it one with --name REF, such as --name %s:latest", l->a->path,
                       own);
    return err_set(l->err, ERR_INVALID,
                   "%s: its image has the tag \"%s\" without a repository: use --name REF, such as --name %s:%s",
                   l->a->path, it->name, own, it->name);
}

/* The name in the archive. */
static bool layout_take_name(struct layout *l, const char *name, char out[REF_TEXT_MAX])
{
    struct ref ref;

    if (!ref_parse(&ref, name, l->err))
        return err_wrap(l->err, "%s: the name of an image", l->a->path);
    ref_format(&ref, out);
    return true;
}

/* The name of one of several images with --name: its full name, or the template with its tag. --name without a tag
 * is the repository. */
static bool layout_name_of_many(struct layout *l, const struct layout_item *it, char out[REF_TEXT_MAX])
{
    const char *slash = strrchr(l->given, '/'), *last = slash ? slash : l->given;
    bool has_tag = strchr(last, ':') || strchr(last, '@');

    if (import_is_full(it->name))
        return layout_take_name(l, it->name, out);
    if (!it->name)
        return layout_refuse_nameless(l, it);
    if (has_tag && !import_is_template(l->given))
        return err_set(l->err, ERR_INVALID, "%s has %d images: --name must contain {tag}", l->a->path, l->images);
    _cleanup_free_ char *template = xasprintf("%s%s", l->given, has_tag ? "" : ":{tag}");
    return import_expand(l->a, template, it->name, out, l->err);
}

static bool layout_is_taken(const struct layout *l, const char *full, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    const char *other = import_digest_of(l->plan, full);

    return other && strcmp(other, digest_format(d, text)) != 0;
}

static bool layout_name_image(struct layout *l, struct layout_item *it)
{
    char full[REF_TEXT_MAX];
    struct ref ref;
    bool ok;

    if (l->given && l->images == 1)
        ok = import_expand(l->a, l->given, it->name && !import_is_full(it->name) ? it->name : REF_DEFAULT_TAG, full,
                           l->err);
    else if (l->given)
        ok = layout_name_of_many(l, it, full);
    else if (import_is_full(it->name))
        ok = layout_take_name(l, it->name, full);
    else
        ok = layout_refuse_nameless(l, it);
    if (!ok || !ref_parse(&ref, full, l->err))
        return false;
    if (layout_is_taken(l, full, &it->digest))
        return err_set(l->err, ERR_INVALID, "%s: two of its images would have the name %s", l->a->path, full);
    ref_name(&ref, it->repo);
    import_add_image(l->plan, full, &it->digest);
    return true;
}

/* ---- blobs ---- */

/* Documents that `entrepot export` generates for other tools. */
static void find_made(const struct layout *l, struct key_map *made)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_item *it = &l->items[i];
        const char *list = layout_note(it->descriptor, EXPORT_REFERRERS),
                   *type = json_string_value(json_object_get(it->descriptor, "mediaType"));
        struct digest d;
        if (list && digest_parse(&d, list, strlen(list)))
            key_map_add(made, digest_key(&d), digest_key_len(&d), 0);
        if (layout_digest(it->descriptor, &d) && !digest_eq(&d, &it->digest) && type && strstr(type, "index"))
            key_map_add(made, digest_key(&d), digest_key_len(&d), 0);
    }
}

/* All blobs except generated documents. */
static void layout_add_blobs(struct layout *l)
{
    struct key_map made = {0};
    struct digest d;

    find_made(l, &made);
    for (size_t i = 0; i < l->a->count; i++)
        if (!l->a->list[i].target && archive_blob_digest(l->a->list[i].name, &d) &&
            key_map_find(&made, digest_key(&d), digest_key_len(&d)) < 0)
            import_add_blob(l->plan, &d, &l->a->list[i]);
    key_map_free(&made);
}

/* The first image, if all are of one repository. Every image has its name already. */
static const struct layout_item *only_owner(const struct layout *l)
{
    const struct layout_item *first = NULL;

    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].about)
            continue;
        if (first && strcmp(first->repo, l->items[i].repo) != 0)
            return NULL;
        first = first ? first : &l->items[i];
    }
    return first;
}

static void layout_free(struct layout *l)
{
    free(l->items);
    free(l->facts);
    key_map_free(&l->exact);
    key_map_free(&l->within);
    key_map_free(&l->configs);
}

bool import_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    struct layout l = {.plan = p, .a = a, .given = given, .err = err};
    json_t *doc = import_parse(a, "index.json", err);

    l.facts = xcalloc(a->count, sizeof(*l.facts));
    bool ok = doc && read_items(&l, json_object_get(doc, "manifests"));

    for (size_t i = 0; ok && i < l.count; i++)
        ok = l.items[i].about || layout_name_image(&l, &l.items[i]);
    l.only = ok ? only_owner(&l) : NULL;
    for (size_t i = 0; ok && i < l.count; i++) {
        if (l.items[i].about)
            ok = layout_name_about(&l, &l.items[i]);
        else
            layout_add_referrers(&l, &l.items[i]);
    }
    if (ok) {
        layout_find_referrers(&l);
        layout_add_blobs(&l);
    }
    layout_free(&l);
    json_decref(doc);
    return ok;
}
