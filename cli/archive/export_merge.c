/* A folder may have the images of earlier exports: its entries are kept, unless a new one has the same name. */
#include "cli/archive/export.h"

#include <string.h>

static const char *merge_name_of(const json_t *descriptor)
{
    return json_string_value(
        json_object_get(json_object_get(descriptor, "annotations"), "org.opencontainers.image.ref.name"));
}

/* The sort key of an entry: its name, or the first tag in docker's manifest.json. */
static const char *merge_key_of(const json_t *entry)
{
    const char *name = merge_name_of(entry),
               *tag = json_string_value(json_array_get(json_object_get(entry, "RepoTags"), 0));

    return name ? name : tag ? tag : "";
}

static bool merge_is_replaced(const json_t *old, const json_t *list)
{
    const char *config = json_string_value(json_object_get(old, "Config")), *other;
    json_t *d;
    size_t i;

    json_array_foreach((json_t *)list, i, d) {
        bool same = *merge_key_of(old) ? strcmp(merge_key_of(d), merge_key_of(old)) == 0 : json_equal(d, (json_t *)old);
        other = json_string_value(json_object_get(d, "Config"));
        if (same || (config && other && !*merge_key_of(old) && strcmp(config, other) == 0))
            return true;
    }
    return false;
}

/* Sorted, so that the order of exports makes no difference. */
static void merge_insert(json_t *all, json_t *entry)
{
    size_t i = 0;

    while (i < json_array_size(all) && strcmp(merge_key_of(json_array_get(all, i)), merge_key_of(entry)) <= 0)
        i++;
    json_array_insert(all, i, entry);
}

char *export_merge(const struct export_job *job, const char *name, const char *fresh)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", job->place.path, name);
    json_t *before = json_load_file(path, 0, NULL), *doc = json_loads(fresh, 0, NULL), *entry, *all = json_array();
    bool is_index = json_is_object(doc);
    const json_t *list = is_index ? json_object_get(doc, "manifests") : doc,
                 *old = is_index ? json_object_get(before, "manifests") : before;
    size_t i;

    json_array_foreach((json_t *)old, i, entry)
        if (!merge_is_replaced(entry, list))
            merge_insert(all, entry);
    json_array_foreach((json_t *)list, i, entry)
        merge_insert(all, entry);
    if (is_index)
        json_object_set(doc, "manifests", all);
    char *text = json_dumps(is_index ? doc : all, JSON_COMPACT), *line = xasprintf("%s\n", text);
    free(text);
    json_decref(all);
    json_decref(before);
    json_decref(doc);
    return line;
}
