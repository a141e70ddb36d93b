/* What images an archive has. The input's parts are its files ("== blobs/sha256/..."); "-> NAME" as all of one's
 * content makes it a link. */
#include "base/ref.h"
#include "cli/import.h"
#include "tests/fuzz/fuzz.h"

enum { FILES_MAX = 64 };

static void add_file(struct archive_files *a, const struct fuzz_part *p)
{
    struct archive_file *f = &a->list[a->count++];

    *f = (struct archive_file){.name = xstrdup(p->name), .size = (int64_t)p->size};
    if (p->size > 3 && memcmp(p->data, "-> ", 3) == 0) {
        f->target = fuzz_text(p->data + 3, strcspn((const char *)p->data + 3, "\n"));
        return;
    }
    if (p->size > 0 && strchr("{[", p->data[0]) && p->data[0])
        f->text = fuzz_text(p->data, p->size);
    if (!archive_blob_digest(f->name, &f->digest))
        digest_of(DIGEST_SHA256, p->data, p->size, &f->digest);
    else
        f->digest = (struct digest){0};
    f->diff_id = f->digest;
    memcpy(f->magic, p->data, MIN(p->size, sizeof(f->magic)));
}

/* Every image that is planned has a reference and a digest; every blob is of a file of the archive, or was made. */
static void check(const struct import_plan *plan)
{
    json_t *image;
    size_t i;

    json_array_foreach(plan->images, i, image) {
        const char *name = json_string_value(json_object_get(image, "name")),
                   *digest = json_string_value(json_object_get(image, "digest"));
        struct ref ref;
        struct digest d;
        MUST(name && digest && digest_parse(&d, digest, strlen(digest)));
        MUST(ref_parse(&ref, name, NULL));
    }
    for (i = 0; i < plan->count; i++)
        MUST(digest_len(&plan->blobs[i].digest) > 0 && !plan->blobs[i].file == !!plan->blobs[i].text);
}

static void plan(const struct archive_files *a, const char *name)
{
    struct import_plan p;
    struct err err = {0};

    if (import_plan(a, name, &p, &err)) {
        MUST(p.format);
        check(&p);
    } else {
        MUST(err.code != ERR_OK && err.msg[0]);
    }
    import_plan_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_file list[FILES_MAX];
    struct archive_files a = {.list = list, .path = "archive.tar", .fd = -1};
    struct fuzz_part part;
    _cleanup_free_ char *text = xmalloc(size + 1); /* so that what ends with a part ends */
    size_t at = 0;

    memcpy(text, data, size);
    text[size] = '\0';
    while (a.count < FILES_MAX && fuzz_next((uint8_t *)text, size, &at, &part))
        add_file(&a, &part);
    plan(&a, NULL);
    plan(&a, "registry.test/{name}:{tag}");
    plan(&a, "app:1");
    for (size_t i = 0; i < a.count; i++) {
        free(list[i].name);
        free(list[i].target);
        free(list[i].text);
    }
    return 0;
}
