#include "cli/cli.h"

#include "base/ref.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot ls [REF] [--json] [--socket PATH] [--cache DIR]\n\n"
    "Images in the cache: reference, digest, image ID, platforms, size, of that shared with other\n"
    "images, last used, pinned. With REF, the images of its repository (a tag narrows it down).\n";

static const char *text(const json_t *image, const char *key)
{
    const char *s = json_string_value(json_object_get(image, key));

    return s ? s : "-";
}

static void print_platforms(const json_t *list, char *out, size_t room)
{
    size_t i, used = 0;
    json_t *p;

    snprintf(out, room, "-");
    json_array_foreach(list, i, p)
    {
        if (used < room)
            used += (size_t)snprintf(out + used, room - used, "%s%s", i ? "," : "", json_string_value(p));
    }
}

static void print(const json_t *images)
{
    size_t i;
    int width = 9;
    json_t *im;

    json_array_foreach(images, i, im) width = MAX(width, (int)strlen(text(im, "reference")));
    printf("%-*s  %-19s  %-19s  %-14s  %9s  %9s  %-10s  %s\n", width, "REFERENCE", "DIGEST", "IMAGE ID", "PLATFORMS",
           "SIZE", "SHARED", "LAST USED", "");
    json_array_foreach(images, i, im)
    {
        char digest[CLI_TEXT], id[CLI_TEXT], size[CLI_TEXT], shared[CLI_TEXT], ago[CLI_TEXT], platforms[128];
        print_platforms(json_object_get(im, "platforms"), platforms, sizeof(platforms));
        printf("%-*s  %-19s  %-19s  %-14s  %9s  %9s  %-10s  %s%s\n", width, text(im, "reference"),
               cli_short(text(im, "digest"), digest), cli_short(text(im, "image_id"), id), platforms,
               cli_size(json_integer_value(json_object_get(im, "size")), size),
               cli_size(json_integer_value(json_object_get(im, "shared_size")), shared),
               cli_ago(json_integer_value(json_object_get(im, "last_used")), ago),
               json_is_true(json_object_get(im, "pinned")) ? "pinned " : "",
               json_is_true(json_object_get(im, "cached")) ? "" : "incomplete");
    }
}

/* Whether an image belongs to what was asked for. */
static bool is_wanted(const json_t *image, const struct ref *want, bool tag_given)
{
    struct ref ref;

    if (!ref_parse(&ref, text(image, "reference"), NULL))
        return false;
    return strcmp(ref.host, want->host) == 0 && strcmp(ref.path, want->path) == 0 &&
           (!tag_given || (strcmp(ref.tag, want->tag) == 0 && digest_eq(&ref.digest, &want->digest)));
}

int cmd_ls(int argc, char **argv)
{
    struct cli_options o = {0};
    const char *name = NULL;
    struct ref want;
    struct err err = {0};
    json_t *answer;

    for (int i = 1, took; i < argc; i += took) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(USAGE, stdout);
            return EXIT_DONE;
        }
        took = cli_option(&o, argc, argv, i);
        if (took < 0)
            return EXIT_USAGE;
        if (took == 0 && (argv[i][0] == '-' || name))
            return cli_usage(USAGE, "ls: \"%s\" is one too many", argv[i]);
        if (took == 0) {
            name = argv[i];
            took = 1;
        }
    }
    if (name && !ref_parse(&want, name, &err))
        return cli_fail(&err);
    if (!cli_ask(&o, "/v1/images", NULL, &answer, &err))
        return cli_fail(&err);
    json_t *images = json_object_get(answer, "images");
    const char *last = name ? strrchr(name, '/') : NULL;
    bool tag_given = name && (strchr(last ? last : name, ':') || strchr(name, '@'));
    for (size_t i = json_array_size(images); name && i-- > 0;)
        if (!is_wanted(json_array_get(images, i), &want, tag_given))
            json_array_remove(images, i);
    if (o.json)
        cli_print_json(answer);
    else
        print(images);
    json_decref(answer);
    return EXIT_DONE;
}
