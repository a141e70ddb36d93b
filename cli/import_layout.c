/* An OCI image layout: which of the entries of its index.json are images, which are about images (signatures and other
 * referrers), and what each is to be called. */
#include "cli/import_private.h"

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI        "org.opencontainers.image.ref.name"
#define EXPORT_INDEX    "io.entrepot.index"         /* cache/export.h */
#define KIND_COSIGN     "dev.cosignproject.cosign/" /* what `cosign save` says an entry is */

/* ---- what is in it ---- */

const char *layout_note(const json_t *descriptor, const char *key)
{
    return json_string_value(json_object_get(json_object_get(descriptor, "annotations"), key));
}

const char *layout_name(const json_t *descriptor)
{
    const char *full = layout_note(descriptor, NAME_CONTAINERD), *ref = layout_note(descriptor, NAME_OCI);
    struct digest d;

    if (import_is_full(full))
        return full;
    if (full && digest_parse(&d, full, strlen(full))) /* what CRI calls it; then `ref` is a part of that */
        return NULL;
    return ref && !digest_parse(&d, ref, strlen(ref)) && !strchr(ref, '<') ? ref : NULL;
}

bool layout_digest(const json_t *object, struct digest *d)
{
    const char *text = json_string_value(json_object_get(object, "digest"));

    return text && digest_parse(d, text, strlen(text));
}

static const struct archive_file *file_of(const struct archive_files *a, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *name = xasprintf("blobs/%s/%s", digest_alg_name(d), digest_hex(d, hex));

    return archive_find(a, name);
}

json_t *layout_document(const struct archive_files *a, const struct digest *d)
{
    const struct archive_file *f = file_of(a, d);

    return f && f->text ? json_loads(f->text, 0, NULL) : NULL;
}

/* Layouts may hold anything (image-spec image-layout.md); an entry without a type is taken for what it says in it. */
static bool is_manifest(const json_t *descriptor)
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

bool layout_subject(const struct layout *l, const struct digest *d, struct digest *subject)
{
    json_t *doc = layout_document(l->a, d);
    bool has = layout_digest(json_object_get(doc, "subject"), subject);

    json_decref(doc);
    return has;
}

/* By its name: that of a digest, or the tag that stands for one ("sha256-<hex>.sig"). */
bool layout_is_named_about(const char *name, const char **tag)
{
    struct ref ref;
    const char *own = name;

    if (import_is_full(name)) {
        if (!ref_parse(&ref, name, NULL))
            return false;
        if (ref.digest.alg != DIGEST_NONE && !ref.tag[0])
            return true;
        const char *slash = strrchr(name, '/'), *colon = strchr(slash ? slash : name, ':');
        own = colon ? colon + 1 : "latest";
    }
    if (!ref_is_statement_tag(own))
        return false;
    *tag = own;
    return true;
}

/* Whether an index names it, also through one in it. */
bool layout_contains(const struct layout *l, const struct digest *index, const struct digest *d, int depth)
{
    json_t *doc = depth < LAYOUT_DEPTH_MAX ? layout_document(l->a, index) : NULL, *entry;
    bool found = false;
    struct digest one;
    size_t i;

    json_array_foreach(json_object_get(doc, "manifests"), i, entry)
        found = found || (layout_digest(entry, &one) && (digest_eq(&one, d) || layout_contains(l, &one, d, depth + 1)));
    json_decref(doc);
    return found;
}

/* ---- the entries ---- */

static void classify(struct layout *l, struct layout_item *it)
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

    if (!is_manifest(d)) {
        cli_say(stderr, "entrepot: %s: an entry of index.json is no image and is left out: it is of type %s",
                l->a->path, json_string_value(json_object_get(d, "mediaType")));
        return true;
    }
    if (!layout_digest(d, &it->digest))
        return err_set(l->err, ERR_INVALID, "%s: an entry of index.json has no valid digest", l->a->path);
    if (index && digest_parse(&whole, index, strlen(index)) && file_of(l->a, &whole))
        it->digest = whole;
    it->descriptor = d;
    it->name = layout_name(d);
    classify(l, it);
    l->count++;
    return true;
}

/* The manifest whose config that is. */
static bool find_by_config(const struct layout *l, const char *config, struct digest *d)
{
    struct digest want, seen;
    bool found = false;

    if (!config || !archive_blob_digest(config, &want))
        return false;
    for (size_t i = 0; !found && i < l->a->count; i++) {
        const struct archive_file *f = &l->a->list[i];
        if (f->target || !f->text || !strstr(f->text, "\"config\"") || !archive_blob_digest(f->name, d))
            continue;
        json_t *doc = json_loads(f->text, 0, NULL);
        found = layout_digest(json_object_get(doc, "config"), &seen) && digest_eq(&seen, &want);
        json_decref(doc);
    }
    return found;
}

static bool is_in_entries(const struct layout *l, const struct digest *d)
{
    for (size_t i = 0; i < l->count; i++)
        if (digest_eq(&l->items[i].digest, d) || layout_contains(l, &l->items[i].digest, d, 0))
            return true;
    return false;
}

/* What `docker save` was given by its ID is in manifest.json alone. */
static void read_docker_items(struct layout *l, const json_t *docker)
{
    struct digest d;
    json_t *image;
    size_t i;

    json_array_foreach((json_t *)docker, i, image) {
        const char *config = json_string_value(json_object_get(image, "Config"));
        if (json_array_size(json_object_get(image, "RepoTags")) == 0 && find_by_config(l, config, &d) &&
            !is_in_entries(l, &d))
            l->items[l->count++].digest = d;
    }
}

/* Entries without a name beside one that has one are about it; an archive of a single one is that image. */
static void settle(struct layout *l)
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
        l->images += !it->about;
        l->nameless += it->about && !it->name && !it->suffix && !layout_subject(l, &it->digest, &subject);
    }
}

static bool read_items(struct layout *l, const json_t *list)
{
    size_t i;
    json_t *d;

    const struct archive_file *f = archive_find(l->a, "manifest.json");
    json_t *docker = f && f->text ? json_loads(f->text, 0, NULL) : NULL;
    bool ok = true;
    l->items = xcalloc(json_array_size(list) + json_array_size(docker) + 1, sizeof(*l->items));
    json_array_foreach((json_t *)list, i, d)
        ok = ok && read_item(l, d);
    if (ok)
        read_docker_items(l, docker);
    json_decref(docker);
    if (!ok)
        return false;
    settle(l);
    return l->images > 0 || err_set(l->err, ERR_INVALID, "%s: there is no image in its index.json", l->a->path);
}

/* ---- names ---- */

static bool no_name(struct layout *l, const struct layout_item *it)
{
    char own[REF_TEXT_MAX], text[DIGEST_TEXT_MAX];

    import_own_name(l->a, own);
    if (l->images > 1 && it->name)
        return err_set(l->err, ERR_INVALID,
                       "%s: one of its images is called \"%s\", which does not say of which repository it is: --name "
                       "REPOSITORY:{tag} does, such as --name '%s:{tag}'",
                       l->a->path, it->name, own);
    if (l->images > 1)
        return err_set(l->err, ERR_INVALID,
                       "%s has %d images, and one of them, %s, has no name there; skopeo copy or oras copy takes it "
                       "out, and --name REF names it",
                       l->a->path, l->images, digest_format(&it->digest, text));
    if (!it->name)
        return err_set(l->err, ERR_INVALID,
                       "%s: its image has no name there: --name REF gives it one, such as --name %s:latest", l->a->path,
                       own);
    return err_set(
        l->err, ERR_INVALID,
        "%s: its image is called \"%s\", which does not say of which repository it is: --name REF does, such "
        "as --name %s:%s",
        l->a->path, it->name, own, it->name);
}

/* The name that it has there. */
static bool take_name(struct layout *l, const char *name, char out[REF_TEXT_MAX])
{
    struct ref ref;

    if (!ref_parse(&ref, name, l->err))
        return err_wrap(l->err, "%s: what it calls an image", l->a->path);
    ref_format(&ref, out);
    return true;
}

/* --name for an image of several: it has no full name, and the template makes one of its tag. Without a tag, --name is
 * their repository. */
static bool name_of_many(struct layout *l, const struct layout_item *it, char out[REF_TEXT_MAX])
{
    const char *slash = strrchr(l->given, '/'), *last = slash ? slash : l->given;
    bool has_tag = strchr(last, ':') || strchr(last, '@');

    if (import_is_full(it->name))
        return take_name(l, it->name, out);
    if (!it->name)
        return no_name(l, it);
    if (has_tag && !import_is_template(l->given))
        return err_set(l->err, ERR_INVALID, "%s has %d images: --name is for one, or has {tag} in it", l->a->path,
                       l->images);
    _cleanup_free_ char *template = xasprintf("%s%s", l->given, has_tag ? "" : ":{tag}");
    return import_expand(l->a, template, it->name, out, l->err);
}

static bool is_taken(const struct layout *l, const char *full, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    json_t *image;
    size_t i;

    json_array_foreach(l->plan->images, i, image)
        if (strcmp(json_string_value(json_object_get(image, "name")), full) == 0)
            return strcmp(json_string_value(json_object_get(image, "digest")), digest_format(d, text)) != 0;
    return false;
}

static bool name_image(struct layout *l, struct layout_item *it)
{
    char full[REF_TEXT_MAX];
    struct ref ref;
    bool ok;

    if (l->given && l->images == 1)
        ok = import_expand(l->a, l->given, it->name && !import_is_full(it->name) ? it->name : REF_DEFAULT_TAG, full,
                           l->err);
    else if (l->given)
        ok = name_of_many(l, it, full);
    else if (import_is_full(it->name))
        ok = take_name(l, it->name, full);
    else
        ok = no_name(l, it);
    if (!ok || !ref_parse(&ref, full, l->err))
        return false;
    if (is_taken(l, full, &it->digest))
        return err_set(l->err, ERR_INVALID, "%s: two of its images would be called %s", l->a->path, full);
    ref_name(&ref, it->repo);
    import_add_image(l->plan, full, &it->digest);
    return true;
}

/* ---- blobs ---- */

/* Documents that our own export made for others stay behind. */
static bool is_made(const struct layout *l, const struct digest *d)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_item *it = &l->items[i];
        const char *list = layout_note(it->descriptor, EXPORT_REFERRERS),
                   *type = json_string_value(json_object_get(it->descriptor, "mediaType"));
        struct digest made;
        if (list && digest_parse(&made, list, strlen(list)) && digest_eq(&made, d))
            return true;
        if (!layout_digest(it->descriptor, &made) || digest_eq(&made, &it->digest) || !type || !strstr(type, "index"))
            continue;
        if (digest_eq(&made, d))
            return true;
    }
    return false;
}

static void add_blobs(struct layout *l)
{
    struct digest d;

    for (size_t i = 0; i < l->a->count; i++)
        if (!l->a->list[i].target && archive_blob_digest(l->a->list[i].name, &d) && !is_made(l, &d))
            import_add_blob(l->plan, &d, &l->a->list[i]);
}

bool import_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    struct layout l = {.plan = p, .a = a, .given = given, .err = err};
    json_t *doc = import_parse(a, "index.json", err);
    bool ok = doc && read_items(&l, json_object_get(doc, "manifests"));

    p->format = "OCI image layout";
    for (size_t i = 0; ok && i < l.count; i++)
        ok = l.items[i].about || name_image(&l, &l.items[i]);
    for (size_t i = 0; ok && i < l.count; i++) {
        if (l.items[i].about)
            ok = layout_name_about(&l, &l.items[i]);
        else
            layout_add_referrers(&l, &l.items[i]);
    }
    if (ok) {
        layout_find_referrers(&l);
        add_blobs(&l);
    }
    free(l.items);
    json_decref(doc);
    return ok;
}
