/* An OCI image layout: which of the entries of its index.json are images, which are about images (signatures and other
 * referrers), and what each is to be called. */
#include "cli/import_private.h"

#define NAME_CONTAINERD  "io.containerd.image.name"
#define NAME_OCI         "org.opencontainers.image.ref.name"
#define EXPORT_INDEX     "io.entrepot.index" /* cache/export.h */
#define EXPORT_REFERRERS "io.entrepot.referrers"
#define KIND_COSIGN      "dev.cosignproject.cosign/" /* what `cosign save` says an entry is */

enum { DEPTH_MAX = 4 };

/* An entry of index.json. */
struct item {
    struct digest digest;
    const json_t *descriptor;
    const char *name;        /* full, or a tag alone; NULL: none */
    const char *suffix;      /* ".sig": it is that of cosign about the layout's image */
    bool about;              /* something about an image */
    char repo[REF_TEXT_MAX]; /* of an image that has been named */
};

struct layout {
    struct import_plan *plan;
    const struct archive_files *a;
    const char *given;
    struct item *items;
    size_t count;
    int images;
    struct err *err;
};

/* ---- what is in it ---- */

static const char *note_of(const json_t *descriptor, const char *key)
{
    return json_string_value(json_object_get(json_object_get(descriptor, "annotations"), key));
}

static const char *name_of(const json_t *descriptor)
{
    const char *full = note_of(descriptor, NAME_CONTAINERD), *ref = note_of(descriptor, NAME_OCI);
    struct digest d;

    if (import_is_full(full))
        return full;
    return ref && !digest_parse(&d, ref, strlen(ref)) && !strchr(ref, '<') ? ref : NULL;
}

static bool digest_at(const json_t *object, struct digest *d)
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

static json_t *document_of(const struct archive_files *a, const struct digest *d)
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

static bool has_subject(const struct layout *l, const struct digest *d, struct digest *subject)
{
    json_t *doc = document_of(l->a, d);
    bool has = digest_at(json_object_get(doc, "subject"), subject);

    json_decref(doc);
    return has;
}

/* By its name: that of a digest, or the tag that stands for one ("sha256-<hex>.sig"). */
static bool is_named_about(const char *name, const char **tag)
{
    struct ref ref;
    const char *own = name;

    if (import_is_full(name)) {
        if (!ref_parse(&ref, name, NULL))
            return false;
        if (ref.digest.alg != DIGEST_NONE && !ref.tag[0])
            return true;
        own = strrchr(name, ':') + 1;
    }
    if (strncmp(own, "sha256-", 7) != 0 && strncmp(own, "sha512-", 7) != 0)
        return false;
    *tag = own;
    return true;
}

/* ---- the entries ---- */

static void classify(struct layout *l, struct item *it)
{
    const char *kind = note_of(it->descriptor, "kind"), *tag = NULL;
    struct digest subject;

    if (kind && strncmp(kind, KIND_COSIGN, strlen(KIND_COSIGN)) == 0) {
        kind += strlen(KIND_COSIGN);
        it->suffix = strcmp(kind, "sigs") == 0    ? ".sig"
                     : strcmp(kind, "atts") == 0  ? ".att"
                     : strcmp(kind, "sboms") == 0 ? ".sbom"
                                                  : NULL;
    }
    it->about = it->suffix || (it->name && is_named_about(it->name, &tag)) ||
                (!it->name && has_subject(l, &it->digest, &subject));
}

static bool read_item(struct layout *l, const json_t *d)
{
    struct item *it = &l->items[l->count];
    struct digest whole;
    const char *index = note_of(d, EXPORT_INDEX);

    if (!is_manifest(d)) {
        cli_say(stderr, "entrepot: %s: an entry of index.json is no image and is left out: it is of type %s",
                l->a->path, json_string_value(json_object_get(d, "mediaType")));
        return true;
    }
    if (!digest_at(d, &it->digest))
        return err_set(l->err, ERR_INVALID, "%s: an entry of index.json has no valid digest", l->a->path);
    if (index && digest_parse(&whole, index, strlen(index)) && file_of(l->a, &whole))
        it->digest = whole;
    it->descriptor = d;
    it->name = name_of(d);
    classify(l, it);
    l->count++;
    return true;
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
    for (size_t i = 0; i < l->count; i++)
        l->images += !l->items[i].about;
}

static bool read_items(struct layout *l, const json_t *list)
{
    size_t i;
    json_t *d;

    l->items = xcalloc(json_array_size(list) + 1, sizeof(*l->items));
    json_array_foreach((json_t *)list, i, d)
        if (!read_item(l, d))
            return false;
    settle(l);
    return l->images > 0 || err_set(l->err, ERR_INVALID, "%s: there is no image in its index.json", l->a->path);
}

/* ---- names ---- */

static bool no_name(struct layout *l, const struct item *it)
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

/* --name for an image of several: it has no full name, and the template makes one of its tag. */
static bool name_of_many(struct layout *l, const struct item *it, char out[REF_TEXT_MAX])
{
    _cleanup_free_ char *with_tag = xasprintf("%s:{tag}", l->given);
    struct ref ref;

    if (import_is_full(it->name))
        return import_expand(l->a, it->name, "", out, l->err);
    if (!it->name)
        return no_name(l, it);
    if (import_is_template(l->given))
        return import_expand(l->a, l->given, it->name, out, l->err);
    /* A repository alone; ref_parse() fills a tag in. */
    bool has_tag = strchr(strrchr(l->given, '/') ? strrchr(l->given, '/') : l->given, ':') != NULL;
    if (has_tag || !ref_parse(&ref, l->given, NULL) || ref.digest.alg != DIGEST_NONE)
        return err_set(l->err, ERR_INVALID, "%s has %d images: --name is for one, or has {tag} in it", l->a->path,
                       l->images);
    return import_expand(l->a, with_tag, it->name, out, l->err);
}

static bool name_image(struct layout *l, struct item *it)
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
        ok = import_expand(l->a, it->name, "", full, l->err);
    else
        ok = no_name(l, it);
    if (!ok || !ref_parse(&ref, full, l->err))
        return false;
    ref_name(&ref, it->repo);
    import_add_image(l->plan, full, &it->digest);
    return true;
}

/* ---- what is about an image ---- */

/* Whether an index names it, also through one in it. */
static bool contains(const struct layout *l, const struct digest *index, const struct digest *d, int depth)
{
    json_t *doc = depth < DEPTH_MAX ? document_of(l->a, index) : NULL, *entry;
    bool found = false;
    struct digest one;
    size_t i;

    json_array_foreach(json_object_get(doc, "manifests"), i, entry)
        found = found || (digest_at(entry, &one) && (digest_eq(&one, d) || contains(l, &one, d, depth + 1)));
    json_decref(doc);
    return found;
}

static const struct item *owner_of(const struct layout *l, const struct digest *subject)
{
    for (size_t i = 0; i < l->count; i++)
        if (!l->items[i].about && digest_eq(&l->items[i].digest, subject))
            return &l->items[i];
    for (size_t i = 0; i < l->count; i++)
        if (!l->items[i].about && contains(l, &l->items[i].digest, subject, 0))
            return &l->items[i];
    return NULL;
}

/* The image that a document is about, or that what it is about is about. */
static const struct item *owner_by_subject(const struct layout *l, const struct digest *d)
{
    const struct item *owner = NULL;
    struct digest subject, at = *d;

    for (int i = 0; !owner && i < DEPTH_MAX && has_subject(l, &at, &subject); i++) {
        owner = owner_of(l, &subject);
        at = subject;
    }
    return owner;
}

static const struct item *owner_by_tag(const struct layout *l, const char *tag)
{
    char text[DIGEST_TEXT_MAX + 1];
    struct digest d;

    snprintf(text, sizeof(text), "%.*s", (int)strcspn(tag, "."), tag);
    text[6] = ':';
    return digest_parse(&d, text, strlen(text)) ? owner_of(l, &d) : NULL;
}

/* The first image, if all are of one repository. */
static const struct item *only_owner(const struct layout *l)
{
    const struct item *first = NULL;

    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].about)
            continue;
        if (first && strcmp(first->repo, l->items[i].repo) != 0)
            return NULL;
        first = first ? first : &l->items[i];
    }
    return first;
}

static void add_about(struct layout *l, const char *repo, const char *tag, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    _cleanup_free_ char *full = tag ? xasprintf("%s:%s", repo, tag) : xasprintf("%s@%s", repo, digest_format(d, text));

    import_add_image(l->plan, full, d);
}

/* It goes with its image, under whatever name that gets. */
static bool name_about(struct layout *l, const struct item *it)
{
    const struct item *owner = owner_by_subject(l, &it->digest);
    char text[DIGEST_TEXT_MAX + 8];
    const char *tag = NULL;
    struct ref ref;

    if (it->name)
        is_named_about(it->name, &tag);
    owner = owner || !tag ? owner : owner_by_tag(l, tag);
    owner = owner ? owner : only_owner(l);
    if (it->suffix && owner && !tag) {
        digest_format(&owner->digest, text);
        *strchr(text, ':') = '-';
        tag = strcat(text, it->suffix);
    }
    if (owner) {
        add_about(l, owner->repo, tag, &it->digest);
        return true;
    }
    if (!import_is_full(it->name)) {
        cli_say(stderr,
                "entrepot: %s: an entry of index.json is left out, %s: it has no name, and none of the images is its "
                "subject",
                l->a->path, digest_format(&it->digest, text));
        return true;
    }
    if (!ref_parse(&ref, it->name, l->err))
        return false;
    import_add_image(l->plan, it->name, &it->digest);
    return true;
}

/* What our own export has beside the entries. */
static void add_referrers(struct layout *l, const struct item *it)
{
    const char *text = note_of(it->descriptor, EXPORT_REFERRERS);
    struct digest list, d;
    json_t *doc = text && digest_parse(&list, text, strlen(text)) ? document_of(l->a, &list) : NULL, *entry;
    size_t i;

    json_array_foreach(json_object_get(doc, "manifests"), i, entry) {
        const char *name = name_of(entry), *tag = NULL;
        if (name)
            is_named_about(name, &tag);
        if (digest_at(entry, &d))
            add_about(l, it->repo, tag, &d);
    }
    json_decref(doc);
}

static bool is_planned(const struct layout *l, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    json_t *image;
    size_t i;

    digest_format(d, text);
    json_array_foreach(l->plan->images, i, image)
        if (strcmp(json_string_value(json_object_get(image, "digest")), text) == 0)
            return true;
    return false;
}

/* Referrers that are in the layout and that no entry names. */
static void find_referrers(struct layout *l)
{
    for (size_t i = 0; i < l->a->count; i++) {
        const struct archive_file *f = &l->a->list[i];
        const struct item *owner;
        struct digest d;
        if (f->target || !f->text || !strstr(f->text, "\"subject\"") || !archive_blob_digest(f->name, &d) ||
            is_planned(l, &d))
            continue;
        owner = owner_by_subject(l, &d);
        if (owner)
            add_about(l, owner->repo, NULL, &d);
    }
}

/* ---- blobs ---- */

/* Documents that our own export made for others stay behind. */
static bool is_made(const struct layout *l, const struct digest *d)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct item *it = &l->items[i];
        const char *list = note_of(it->descriptor, EXPORT_REFERRERS),
                   *type = json_string_value(json_object_get(it->descriptor, "mediaType"));
        struct digest made;
        if (list && digest_parse(&made, list, strlen(list)) && digest_eq(&made, d))
            return true;
        if (!digest_at(it->descriptor, &made) || digest_eq(&made, &it->digest) || !type || !strstr(type, "index"))
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
            ok = name_about(&l, &l.items[i]);
        else
            add_referrers(&l, &l.items[i]);
    }
    if (ok) {
        find_referrers(&l);
        add_blobs(&l);
    }
    free(l.items);
    json_decref(doc);
    return ok;
}
