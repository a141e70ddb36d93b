/* The documents of an OCI image layout: descriptors, annotations, subjects, indexes. */
#include "cli/archive/import_private.h"

#include "base/array.h"

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI        "org.opencontainers.image.ref.name"

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
    if (full &&
        digest_parse(&d, full, strlen(full))) /* named by containerd's CRI plugin; `ref` is a part of that name then */
        return NULL;
    return ref && !digest_parse(&d, ref, strlen(ref)) && !strchr(ref, '<') ? ref : NULL;
}

bool layout_digest(const json_t *object, struct digest *d)
{
    const char *text = json_string_value(json_object_get(object, "digest"));

    return text && digest_parse(d, text, strlen(text));
}

const struct archive_file *layout_file(const struct archive_files *a, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *name = xasprintf("blobs/%s/%s", digest_alg_name(d), digest_hex(d, hex));

    return archive_find(a, name);
}

json_t *layout_document(const struct layout *l, const struct digest *d)
{
    return import_document(l->plan, layout_file(l->a, d));
}

bool layout_subject(const struct layout *l, const struct digest *d, struct digest *subject)
{
    const struct archive_file *f = layout_file(l->a, d);
    struct layout_fact *fact = f ? &l->facts[f - l->a->list] : NULL;

    if (!fact)
        return false;
    if (!fact->known) {
        json_t *doc = import_document(l->plan, f);
        if (!layout_digest(json_object_get(doc, "subject"), &fact->subject))
            fact->subject.alg = DIGEST_NONE;
        json_decref(doc);
    }
    fact->known = true;
    *subject = fact->subject;
    return subject->alg != DIGEST_NONE;
}

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

void layout_spread(const struct layout *l, struct key_map *to, const struct digest *d, int64_t place)
{
    size_t count = 0, cap = 0;
    struct digest *next = NULL;

    if (!key_map_add(to, digest_key(d), digest_key_len(d), place))
        return;
    *ARRAY_NEXT(next, count, cap) = *d;
    count++;
    while (count > 0) {
        const struct archive_file *f = layout_file(l->a, &next[--count]);
        json_t *doc = f && f->text && strstr(f->text, "\"manifests\"") ? import_document(l->plan, f) : NULL, *entry;
        struct digest one;
        size_t i;
        json_array_foreach(json_object_get(doc, "manifests"), i, entry) {
            if (!layout_digest(entry, &one) || !key_map_add(to, digest_key(&one), digest_key_len(&one), place))
                continue;
            *ARRAY_NEXT(next, count, cap) = one;
            count++;
        }
        json_decref(doc);
    }
    free(next);
}
