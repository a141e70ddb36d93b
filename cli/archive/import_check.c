/* Checks the descriptors of all images before anything is sent. An invalid digest or size is an error: no blob could
 * match it. A size that differs from its blob's is a warning: engines that compare it, such as containerd, will not
 * pull the image. */
#include "cli/archive/import_private.h"

#include "base/array.h"
#include "base/document.h"

enum { NOTES_MAX = 10, SHOWN_MAX = 100 };

struct import_checker {
    const struct archive_files *a;
    const struct import_plan *plan;
    int64_t blob_max; /* bytes; 0: not known */
    const char *image, *list;
    const struct digest *document;
    size_t nth;
    int notes;
    struct key_map seen; /* documents checked, or in `next` */
    struct digest *next; /* documents still to be checked */
    size_t count, cap;
    struct err *err;
};

static void check_push(struct import_checker *c, const struct digest *d)
{
    if (!key_map_add(&c->seen, digest_key(d), digest_key_len(d), 0))
        return;
    *ARRAY_NEXT(c->next, c->count, c->cap) = *d;
    c->count++;
}

/* "app.tar: docker.io/library/app:1: layers[2] of sha256:0123456789ab" */
static char *check_place_of(const struct import_checker *c)
{
    char text[DIGEST_TEXT_MAX], shown[CLI_TEXT], nth[32] = "";

    if (c->nth != SIZE_MAX)
        snprintf(nth, sizeof(nth), "[%zu]", c->nth);
    return xasprintf("%s: %s: %s%s of %s", c->a->path, c->image, c->list, nth,
                     cli_short(digest_format(c->document, text), shown));
}

static bool check_refuse(struct import_checker *c, const char *key, const json_t *value, const char *why)
{
    _cleanup_free_ char *place = check_place_of(c),
                        *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    return err_set(c->err, ERR_INVALID, "%s: its %s, %.*s, %s", place, key, (int)SHOWN_MAX, text ? text : "missing",
                   why);
}

static void check_note_size(struct import_checker *c, int64_t claimed, const struct import_blob *b)
{
    _cleanup_free_ char *place = check_place_of(c);

    if (c->notes++ >= NOTES_MAX)
        return;
    if (b)
        cli_say(
            stderr,
            "entrepot: %s: its size is %lld, but the blob has %lld bytes: engines that compare sizes do not pull it",
            place, (long long)claimed, (long long)import_blob_size(b));
    else
        cli_say(stderr, "entrepot: %s: not in the archive, and its size of %lld bytes exceeds cache.blob_max, %lld",
                place, (long long)claimed, (long long)c->blob_max);
}

static bool check_descriptor(struct import_checker *c, const json_t *descriptor)
{
    const char *text = document_text(descriptor, "digest");
    const json_t *size = document_get(descriptor, "size");
    int64_t claimed = document_number(descriptor, "size");
    struct digest d;

    if (!text || !digest_parse(&d, text, strlen(text)))
        return check_refuse(c, "digest", document_get(descriptor, "digest"), "is not a sha256 or sha512 digest");
    if (size && claimed < 0)
        return check_refuse(c, "size", size, "is invalid");
    const struct import_blob *b = import_find_blob(c->plan, &d);
    if (size && (b ? claimed != import_blob_size(b) : c->blob_max > 0 && claimed > c->blob_max))
        check_note_size(c, claimed, b);
    if (strcmp(c->list, "manifests") == 0)
        check_push(c, &d);
    return true;
}

static bool check_list(struct import_checker *c, const json_t *doc, const char *key)
{
    const json_t *list = document_get(doc, key);
    bool ok = true;

    c->list = key;
    c->nth = SIZE_MAX;
    if (json_is_object(list))
        return check_descriptor(c, list);
    for (c->nth = 0; ok && c->nth < json_array_size(list); c->nth++)
        ok = check_descriptor(c, json_array_get(list, c->nth));
    return ok;
}

static bool check_document(struct import_checker *c, const struct digest *d)
{
    static const char *const lists[] = {"config", "layers", "blobs", "manifests", "subject"};
    const struct import_blob *b = import_find_blob(c->plan, d);
    const char *text = !b ? NULL : b->file ? b->file->text : b->text;
    struct err why = {0};
    json_t *doc = text ? document_read(text, strlen(text), &why) : NULL; /* else the daemon reports the error */
    bool ok = true;

    c->document = d;
    for (size_t i = 0; ok && doc && i < ARRAY_LEN(lists); i++)
        ok = check_list(c, doc, lists[i]);
    json_decref(doc);
    return ok;
}

bool import_check(const struct import_plan *p, const struct archive_files *a, int64_t blob_max, struct err *err)
{
    struct import_checker c = {.a = a, .plan = p, .blob_max = blob_max, .err = err};
    bool ok = true;
    json_t *image;
    size_t i;

    json_array_foreach(p->images, i, image) {
        const char *text = cli_text(image, "digest");
        struct digest d;
        c.image = cli_text(image, "name");
        if (digest_parse(&d, text, strlen(text)))
            check_push(&c, &d);
        while (ok && c.count > 0) {
            d = c.next[--c.count];
            ok = check_document(&c, &d);
        }
    }
    if (c.notes > NOTES_MAX)
        cli_say(stderr, "entrepot: %s: %d more sizes are wrong", a->path, c.notes - NOTES_MAX);
    key_map_free(&c.seen);
    free(c.next);
    return ok;
}
