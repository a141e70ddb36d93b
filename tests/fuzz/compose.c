/* A compose file, with its .env and a file that it may include or extend: parts of the input by the names "", ".env"
 * and "other.yaml". */
#include "base/ref.h"
#include "cli/images/list.h"
#include "tests/fuzz/fuzz.h"

static const char *const FILES[] = {"compose.yaml", ".env", "other.yaml"};

/* What an input does not have is empty. */
static void write_files(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[ARRAY_LEN(FILES)] = {0}, p;
    size_t at = 0;

    while (fuzz_next(data, size, &at, &p))
        for (size_t i = 0; i < ARRAY_LEN(FILES); i++)
            if (strcmp(p.name, p.name[0] ? FILES[i] : "") == 0 || (!p.name[0] && i == 0))
                parts[i] = p;
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++)
        fuzz_file(FILES[i], parts[i].size > 0 ? parts[i].data : data, parts[i].size);
}

/* However variables stand for one another, and files name each other, it ends soon with a list of references. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *file = xasprintf("%s/compose.yaml", fuzz_folder());
    struct image_list l = {0};
    struct err err = {0};
    struct ref ref;

    write_files(data, size);
    if (!image_list_read_compose(&l, file, &err))
        MUST(err.code != ERR_OK && err.msg[0]);
    MUST(l.count <= IMAGE_LIST_MAX);
    for (size_t i = 0; i < l.count; i++)
        MUST(ref_parse(&ref, l.references[i], NULL));
    image_list_free(&l);
    return 0;
}
