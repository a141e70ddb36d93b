/* The result of reading an archive: which blobs it has, and which images they make up. */
#include "cli/archive/import_private.h"

#include "base/array.h"

/* Far above any real archive, whose documents are parsed a few times each. */
enum { IMAGES_MAX = 1 << 18 };
static const size_t PARSED_MAX = 4 * (size_t)ARCHIVE_TEXTS_MAX;

void import_plan_free(struct import_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->blobs[i].text);
    free(p->blobs);
    key_map_free(&p->digests);
    key_map_free(&p->names);
    key_map_free(&p->entered);
    json_decref(p->images);
    memset(p, 0, sizeof(*p));
}

const struct import_blob *import_find_blob(const struct import_plan *p, const struct digest *d)
{
    int64_t at = key_map_find(&p->digests, digest_key(d), digest_key_len(d));

    return at >= 0 ? &p->blobs[at] : NULL;
}

int64_t import_blob_size(const struct import_blob *b)
{
    return b->file ? b->file->size : (int64_t)b->len;
}

struct import_blob *import_add_blob(struct import_plan *p, const struct digest *d, const struct archive_file *file)
{
    if (!key_map_add(&p->digests, digest_key(d), digest_key_len(d), (int64_t)p->count))
        return &p->blobs[key_map_find(&p->digests, digest_key(d), digest_key_len(d))];
    struct import_blob *b = ARRAY_NEXT(p->blobs, p->count, p->cap);
    *b = (struct import_blob){.digest = *d, .file = file};
    p->count++;
    return b;
}

void import_add_image(struct import_plan *p, const char *name, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    size_t count = json_array_size(p->images);
    const char *same = import_digest_of(p, name);

    digest_format(d, text);
    if (same && strcmp(same, text) == 0)
        return;
    if (count == IMAGES_MAX) {
        p->too_much = "it has more images than a cache can hold";
        return;
    }
    key_map_add(&p->names, name, strlen(name), (int64_t)count);
    key_map_add(&p->entered, digest_key(d), digest_key_len(d), (int64_t)count);
    json_array_append_new(p->images, json_pack("{s:s, s:s}", "name", name, "digest", text));
}

const char *import_digest_of(const struct import_plan *p, const char *name)
{
    int64_t at = key_map_find(&p->names, name, strlen(name));

    return at < 0 ? NULL : json_string_value(json_object_get(json_array_get(p->images, (size_t)at), "digest"));
}

json_t *import_document(struct import_plan *p, const struct archive_file *file)
{
    if (!file || !file->text)
        return NULL;
    p->parsed += strlen(file->text);
    if (p->parsed > PARSED_MAX)
        p->too_much = "its documents reference each other too often to be read";
    return p->too_much ? NULL : json_loads(file->text, 0, NULL);
}

json_t *import_parse(const struct archive_files *a, const char *name, struct err *err)
{
    const struct archive_file *f = archive_find(a, name);
    json_error_t why;
    json_t *doc = f && f->text ? json_loads(f->text, 0, &why) : NULL;

    if (!doc)
        err_set(err, ERR_INVALID, "%s: %s is %s", a->path, name, f && f->text ? "not JSON" : "missing");
    return doc;
}
