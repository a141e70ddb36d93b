#include "cli/filter.h"

#include "base/clock.h"
#include "base/ref.h"
#include "config/config.h"

#include <string.h>

enum { SORT_NONE, SORT_NAME, SORT_SIZE, SORT_USED, SORT_SHARED };

static const char *const SORTS[] = {"", "name", "size", "used", "shared"};

bool filter_is_empty(const struct image_filter *f)
{
    return !f->upstream && !f->unused_for && !f->larger;
}

bool filter_read(struct image_filter *f, struct err *err)
{
    struct amount amount = {.bytes = -1};
    int64_t age_ms = 0;

    if (f->unused_for && !config_parse_duration(f->unused_for, &age_ms))
        return err_set(err, ERR_INVALID, "--unused-for: \"%s\" is not a duration such as 30d or 12h", f->unused_for);
    if (f->larger && (!config_parse_amount(f->larger, &amount) || amount.bytes < 0))
        return err_set(err, ERR_INVALID, "--larger: \"%s\" is not a size such as 1GiB", f->larger);
    f->used_before = f->unused_for ? clock_now_s() - age_ms / 1000 : INT64_MAX;
    f->bytes = amount.bytes;
    f->order = SORT_NONE;
    for (int i = SORT_NAME; f->sort && i < (int)ARRAY_LEN(SORTS); i++)
        f->order = strcmp(f->sort, SORTS[i]) == 0 ? i : f->order;
    return !f->sort || f->order != SORT_NONE ||
           err_set(err, ERR_INVALID, "--sort: \"%s\" is none of name, size, used and shared", f->sort);
}

static bool filter_passes(const struct image_filter *f, const json_t *image)
{
    struct ref ref;

    if (f->upstream && (!ref_parse(&ref, cli_text(image, "reference"), NULL) || strcasecmp(ref.host, f->upstream) != 0))
        return false;
    return json_integer_value(json_object_get(image, "last_used")) <= f->used_before &&
           cli_bytes(image, "size") > f->bytes;
}

/* ---- order ---- */

struct filter_entry {
    json_t *image;
    const struct image_filter *filter;
};

static int by_number(const json_t *a, const json_t *b, const char *key)
{
    json_int_t x = json_integer_value(json_object_get(a, key)), y = json_integer_value(json_object_get(b, key));

    return x < y ? 1 : x > y ? -1 : 0; /* the largest and the latest first */
}

static int filter_compare(const void *a, const void *b)
{
    const struct filter_entry *x = a, *y = b;
    static const char *const keys[] = {[SORT_SIZE] = "size", [SORT_USED] = "last_used", [SORT_SHARED] = "shared_size"};
    int by_name = strcmp(cli_text(x->image, "reference"), cli_text(y->image, "reference"));
    int order = x->filter->order == SORT_NAME ? 0 : by_number(x->image, y->image, keys[x->filter->order]);

    order = order ? order : by_name;
    return x->filter->reverse ? -order : order;
}

json_t *filter_images(const struct image_filter *f, const json_t *images)
{
    struct filter_entry *list = xcalloc(json_array_size(images) + 1, sizeof(*list));
    json_t *out = json_array(), *image;
    size_t count = 0, i;

    json_array_foreach((json_t *)images, i, image)
        if (filter_passes(f, image))
            list[count++] = (struct filter_entry){image, f};
    if (f->order != SORT_NONE)
        qsort(list, count, sizeof(*list), filter_compare);
    for (i = 0; i < count; i++) {
        size_t at = f->order == SORT_NONE && f->reverse ? count - 1 - i : i;
        json_array_append(out, list[at].image);
    }
    free(list);
    return out;
}
