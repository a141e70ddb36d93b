/* The bytes of an archive that is imported: tar, in any of its formats, packed or not. */
#include "cli/archive/archive.h"
#include "tests/fuzz/fuzz.h"

struct reading {
    int64_t bytes, bound;
};

static bool begin(void *arg, const struct archive_file *f, bool *wanted, struct err *err UNUSED)
{
    struct reading *r = arg;

    r->bound = f->size;
    r->bytes = 0;
    *wanted = true;
    return true;
}

static bool take(void *arg, const void *data UNUSED, size_t len, struct err *err UNUSED)
{
    ((struct reading *)arg)->bytes += (int64_t)len;
    return true;
}

static bool end(void *arg UNUSED, struct err *err UNUSED)
{
    return true;
}

static void check(const struct archive_files *a)
{
    size_t texts = 0;

    for (size_t i = 0; i < a->count; i++) {
        const struct archive_file *f = &a->list[i];
        MUST(f->name && f->size >= 0);
        MUST(!f->target || !f->text);
        texts += f->text ? strlen(f->text) : 0;
        const struct archive_file *found = archive_find(a, f->name);
        MUST(!found || !found->target);
        archive_packing(f);
    }
    MUST(texts <= ARCHIVE_TEXTS_MAX);
}

/* An archive is listed or refused with a reason; what was listed can be read, or is refused with one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_files a = {0};
    struct err err = {0};
    struct reading r = {0};
    const struct archive_visit v = {begin, take, end, &r};

    if (archive_list(&a, fuzz_file("archive.tar", data, size), &err)) {
        check(&a);
        err = (struct err){0};
        MUST(archive_read(&a, &v, &err) || err.msg[0]);
    } else {
        MUST(err.code != ERR_OK && err.msg[0]);
    }
    archive_files_free(&a);
    return 0;
}
