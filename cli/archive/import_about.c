/* The referrers in a layout: signatures and others, found by their subject or by cosign's tags. Each is imported
 * with its image, under the name of that image's repository. */
#include "cli/archive/import_private.h"

static const struct layout_item *owner_of(const struct layout *l, const struct digest *subject)
{
    int64_t at = key_map_find(&l->exact, digest_key(subject), digest_key_len(subject));

    if (at < 0)
        at = key_map_find(&l->within, digest_key(subject), digest_key_len(subject));
    return at < 0 ? NULL : &l->items[at];
}

/* The image that is a document's subject, directly or through other referrers. */
static const struct layout_item *owner_by_subject(const struct layout *l, const struct digest *d)
{
    const struct layout_item *owner = NULL;
    struct digest subject, at = *d;

    for (int i = 0; !owner && i < LAYOUT_DEPTH_MAX && layout_subject(l, &at, &subject); i++) {
        owner = owner_of(l, &subject);
        at = subject;
    }
    return owner;
}

static const struct layout_item *owner_by_tag(const struct layout *l, const char *tag)
{
    char text[DIGEST_TEXT_MAX + 1];
    struct digest d;

    snprintf(text, sizeof(text), "%.*s", (int)strcspn(tag, "."), tag);
    text[6] = ':';
    return digest_parse(&d, text, strlen(text)) ? owner_of(l, &d) : NULL;
}

static void import_about_add(struct layout *l, const char *repo, const char *tag, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    _cleanup_free_ char *by_digest = xasprintf("%s@%s", repo, digest_format(d, text));
    _cleanup_free_ char *full = tag ? xasprintf("%s:%s", repo, tag) : xstrdup(by_digest);
    struct ref ref;

    if (!ref_parse(&ref, full, NULL)) { /* not a valid tag */
        free(full);
        full = xstrdup(by_digest);
    }
    import_add_image(l->plan, full, d);
}

/* An entry without a name whose image is not known. */
static bool about_name_nameless(struct layout *l, const struct layout_item *it)
{
    char text[DIGEST_TEXT_MAX], full[REF_TEXT_MAX];

    if (l->given && l->nameless == 1 && !it->name) {
        if (!import_expand(l->a, l->given, REF_DEFAULT_TAG, full, l->err))
            return false;
        import_add_image(l->plan, full, &it->digest);
        return true;
    }
    cli_say(stderr, "entrepot: %s: left out an image without a name, %s%s", l->a->path,
            digest_format(&it->digest, text), l->nameless == 1 ? ": give it one with --name REF" : "");
    return true;
}

bool layout_name_about(struct layout *l, const struct layout_item *it)
{
    const struct layout_item *owner = owner_by_subject(l, &it->digest);
    char text[DIGEST_TEXT_MAX + 8];
    const char *tag = NULL;
    struct ref ref;

    if (it->name)
        layout_is_named_about(it->name, &tag);
    owner = owner || !tag ? owner : owner_by_tag(l, tag);
    owner = owner ? owner : l->only;
    if (it->suffix && owner && !tag) {
        digest_format(&owner->digest, text);
        *strchr(text, ':') = '-';
        tag = strcat(text, it->suffix);
    }
    if (owner) {
        import_about_add(l, owner->repo, tag, &it->digest);
        return true;
    }
    if (!import_is_full(it->name))
        return about_name_nameless(l, it);
    if (!ref_parse(&ref, it->name, l->err))
        return false;
    import_add_image(l->plan, it->name, &it->digest);
    return true;
}

void layout_add_referrers(struct layout *l, const struct layout_item *it)
{
    const char *text = layout_note(it->descriptor, EXPORT_REFERRERS);
    struct digest list, d;
    json_t *doc = text && digest_parse(&list, text, strlen(text)) ? layout_document(l, &list) : NULL, *entry;
    size_t i;

    json_array_foreach(json_object_get(doc, "manifests"), i, entry) {
        const char *name = layout_name(entry), *tag = NULL;
        if (name)
            layout_is_named_about(name, &tag);
        if (layout_digest(entry, &d))
            import_about_add(l, it->repo, tag, &d);
    }
    json_decref(doc);
}

static bool about_is_planned(const struct layout *l, const struct digest *d)
{
    return key_map_find(&l->plan->entered, digest_key(d), digest_key_len(d)) >= 0;
}

void layout_find_referrers(struct layout *l)
{
    for (size_t i = 0; i < l->a->count; i++) {
        const struct archive_file *f = &l->a->list[i];
        const struct layout_item *owner;
        struct digest d;
        if (f->target || !f->text || !strstr(f->text, "\"subject\"") || !archive_blob_digest(f->name, &d) ||
            about_is_planned(l, &d))
            continue;
        owner = owner_by_subject(l, &d);
        if (owner)
            import_about_add(l, owner->repo, NULL, &d);
    }
}
