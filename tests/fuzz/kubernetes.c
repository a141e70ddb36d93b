/* Kubernetes manifests, and plain lists, whose images are to be pulled. */
#include "cli/images/list.h"
#include "base/ref.h"
#include "tests/fuzz/fuzz.h"

/* Every image is a reference, each is there once. */
static void check_list(const struct image_list *l)
{
    struct ref ref;

    MUST(l->count <= IMAGE_LIST_MAX && l->full.count == l->count);
    for (size_t i = 0; i < l->count; i++)
        MUST(ref_parse(&ref, l->references[i], NULL));
}

/* What one says is read again as a plain list. */
static void check_plain(const struct image_list *l)
{
    _cleanup_buf_ struct buf text = {0};
    struct image_list again = {0};
    struct err err = {0};

    for (size_t i = 0; i < l->count; i++)
        buf_addf(&text, "%s\n", l->references[i]);
    MUST(image_list_read(&again, fuzz_file("plain", text.data ? text.data : "", text.len), &err));
    MUST(again.count == l->count);
    for (size_t i = 0; i < l->count; i++)
        MUST(strcmp(again.references[i], l->references[i]) == 0);
    image_list_free(&again);
}

/* Lists are bounded, of references, without one twice; errors name the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_list pods = {0}, plain = {0};
    struct err err = {0};
    const char *file = fuzz_file("list", data, size);

    if (!image_list_read_kubernetes(&pods, file, &err))
        MUST(strstr(err.msg, "list"));
    check_list(&pods);
    if (!image_list_read(&plain, file, &err))
        MUST(strstr(err.msg, "list"));
    check_list(&plain);
    if (pods.count > 0)
        check_plain(&pods);
    image_list_free(&pods);
    image_list_free(&plain);
    return 0;
}
