/* What images an archive has. The input's parts are its files ("== blobs/sha256/..."); "-> NAME" as the content makes
 * one a link. */
#include "base/ref.h"
#include "cli/archive/import.h"
#include "tests/fuzz/fuzz.h"

#include <archive.h>
#include <archive_entry.h>

enum { FILES_MAX = 64, TAR_MAX = 1 << 20 };

static void add_file(struct archive *tar, const struct fuzz_part *p)
{
    struct archive_entry *e = archive_entry_new();
    bool is_link = p->size > 3 && memcmp(p->data, "-> ", 3) == 0;
    _cleanup_free_ char *content = fuzz_text(p->data, p->size);

    archive_entry_set_pathname(e, p->name);
    archive_entry_set_mode(e, (is_link ? AE_IFLNK : AE_IFREG) | 0644);
    archive_entry_set_size(e, is_link ? 0 : (int64_t)p->size);
    content[strcspn(content, "\n")] = '\0';
    if (is_link)
        archive_entry_set_symlink(e, content + 3);
    if (archive_write_header(tar, e) == ARCHIVE_OK && !is_link)
        archive_write_data(tar, p->data, p->size);
    archive_entry_free(e);
}

/* Returns the path of a tar archive of the input's files. */
static const char *write_tar(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *out = xmalloc(TAR_MAX);
    struct archive *tar = archive_write_new();
    struct fuzz_part part;
    size_t at = 0, used = 0;

    archive_write_set_format_gnutar(tar);
    archive_write_set_bytes_in_last_block(tar, 1);
    MUST(archive_write_open_memory(tar, out, TAR_MAX, &used) == ARCHIVE_OK);
    for (int i = 0; i < FILES_MAX && fuzz_next(data, size, &at, &part); i++)
        if (part.name[0])
            add_file(tar, &part);
    archive_write_close(tar);
    archive_write_free(tar);
    return fuzz_file("archive.tar", out, used);
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
        check(&p);
        err = (struct err){0};
        MUST(import_check(&p, a, 1 << 20, &err) || (err.code == ERR_INVALID && err.msg[0]));
    } else {
        MUST(err.code != ERR_OK && err.msg[0]);
    }
    import_plan_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_files a = {0};
    struct err err = {0};

    if (archive_list(&a, write_tar(data, size), &err)) {
        plan(&a, NULL);
        plan(&a, "registry.test/{name}:{tag}");
        plan(&a, "app:1");
    } else {
        MUST(err.code != ERR_OK && err.msg[0]);
    }
    archive_files_free(&a);
    return 0;
}
