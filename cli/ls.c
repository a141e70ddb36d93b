#include "cli/lib/cli.h"
#include "cli/filter.h"

#include "base/buf.h"
#include "base/ref.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot ls [REF] [--upstream HOST] [--unused-for TIME] [--larger SIZE] [--sort name|size|used|shared]\n"
    "                   [--reverse] [--pullable] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Lists the images in the cache: reference, digest, image ID, platforms, size, size shared with other images,\n"
    "last use, and whether they are pinned. With REF, only the images of its repository, or of its tag.\n\n"
    "  --upstream HOST     only images of this registry\n"
    "  --unused-for TIME   only images that were not used for so long (30d, 12h)\n"
    "  --larger SIZE       only images that are larger (1GiB)\n"
    "  --sort HOW          by name, or from the largest (size, shared) or latest (used) on\n"
    "  --reverse           the other way round\n"
    "  --pullable          print only the references (name:tag@digest) of complete images, one per line, as input for\n"
    "                      entrepot pull --file - on another node\n\n"
    "Examples:\n"
    "  entrepot ls nginx\n"
    "  entrepot ls --unused-for 30d --sort size\n"
    "  entrepot ls --pullable | ssh other-node entrepot pull --file -\n";

static char *ls_join(const json_t *list)
{
    struct buf out = {0};
    size_t i;
    json_t *p;

    json_array_foreach(list, i, p)
        buf_addf(&out, "%s%s", i ? "," : "", json_string_value(p));
    return out.data ? out.data : xstrdup("-");
}

/* "private incomplete (partial: 1.2 MiB)": layers of which only pieces are here, and what there is of them. */
static void ls_notes(const json_t *im, char *out, size_t room)
{
    char part[CLI_TEXT];
    int64_t partial = cli_bytes(im, "partial_size");

    snprintf(out, room, "%s%s%s%s%s%s", json_is_true(json_object_get(im, "pinned")) ? "pinned " : "",
             json_is_true(json_object_get(im, "private")) ? "private " : "",
             json_is_true(json_object_get(im, "cached")) ? "" : "incomplete", partial > 0 ? " (partial: " : "",
             partial > 0 ? cli_size(partial, part) : "", partial > 0 ? ")" : "");
}

static void ls_print(const json_t *images)
{
    static const char *const headings[] = {"REFERENCE", "DIGEST", "IMAGE ID",  "PLATFORMS",
                                           "SIZE",      "SHARED", "LAST USED", ""};
    struct cli_table table = {.columns = ARRAY_LEN(headings), .headings = headings, .right = "ef"};
    size_t i;
    json_t *im;

    json_array_foreach(images, i, im) {
        char digest[CLI_TEXT], id[CLI_TEXT], size[CLI_TEXT], shared[CLI_TEXT], ago[CLI_TEXT], notes[CLI_TEXT + 64];
        _cleanup_free_ char *platforms = ls_join(json_object_get(im, "platforms"));
        ls_notes(im, notes, sizeof(notes));
        const char *const cells[] = {
            cli_text(im, "reference"),
            cli_short(cli_text(im, "digest"), digest),
            cli_short(cli_text(im, "image_id"), id),
            platforms,
            cli_size(cli_bytes(im, "size"), size),
            cli_size(cli_bytes(im, "shared_size"), shared),
            cli_ago(json_integer_value(json_object_get(im, "last_used")), ago),
            notes,
        };
        cli_table_add(&table, cells);
    }
    cli_table_print(&table);
}

/* The request: with a digest, the images that have it, under any tag; a tag beside it is ignored, as in inspect and
 * export. */
static char *ls_page_of(const char *name, const struct ref *want)
{
    char repository[REF_TEXT_MAX], digest[DIGEST_TEXT_MAX];
    const char *last = name ? strrchr(name, '/') : NULL;
    bool by_digest = name && want->digest.alg != DIGEST_NONE, tagged = name && strchr(last ? last : name, ':');

    return name ? xasprintf("/v1/images?repository=%s%s%s", ref_name(want, repository),
                            by_digest ? "&digest="
                            : tagged  ? "&tag="
                                      : "",
                            by_digest ? digest_format(&want->digest, digest)
                            : tagged  ? want->tag
                                      : "")
                : xstrdup("/v1/images");
}

static int ls_by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether an image that was pulled by digest is also listed under a tag of its repository. */
static bool has_tag_too(const json_t *images, const struct ref *ref)
{
    char digest[DIGEST_TEXT_MAX];
    struct ref other;
    json_t *im;
    size_t i;

    digest_format(&ref->digest, digest);
    json_array_foreach((json_t *)images, i, im)
        if (strcmp(cli_text(im, "digest"), digest) == 0 && ref_parse(&other, cli_text(im, "reference"), NULL) &&
            other.tag[0] && strcmp(other.host, ref->host) == 0 && strcmp(other.path, ref->path) == 0)
            return true;
    return false;
}

/* The references of complete images, sorted, without duplicates. */
static json_t *pullable(const json_t *images)
{
    size_t count = 0, i;
    char **lines = xcalloc(json_array_size(images) + 1, sizeof(*lines));
    json_t *out = json_array(), *im;
    struct ref ref;

    json_array_foreach(images, i, im) {
        char name[REF_TEXT_MAX];
        if (!json_is_true(json_object_get(im, "cached")) || !ref_parse(&ref, cli_text(im, "reference"), NULL) ||
            (!ref.tag[0] && has_tag_too(images, &ref)))
            continue;
        lines[count++] =
            xasprintf("%s%s%s@%s", ref_name(&ref, name), ref.tag[0] ? ":" : "", ref.tag, cli_text(im, "digest"));
    }
    qsort(lines, count, sizeof(*lines), ls_by_text);
    for (i = 0; i < count; i++) {
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
            json_array_append_new(out, json_string(lines[i]));
    }
    for (i = 0; i < count; i++)
        free(lines[i]);
    free(lines);
    return out;
}

static void print_pullable(const json_t *images, bool as_json)
{
    json_t *list = pullable(images), *line;
    size_t i;

    if (as_json)
        cli_print_json(list);
    json_array_foreach(list, i, line)
        if (!as_json)
            cli_say(stdout, "%s", json_string_value(line));
    json_decref(list);
}

int cmd_ls(int argc, char **argv)
{
    struct cli_options o = {0};
    const char *name = NULL;
    bool only_pullable = false;
    struct image_filter filter = {0};
    const struct cli_option options[] = {
        {"pullable", .flag = &only_pullable}, FILTER_OPTIONS(&filter), FILTER_SORT_OPTIONS(&filter), {0}};
    struct ref want;
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, cli_take_argument, .arg = &name}, argc, argv);
    if (rc >= 0)
        return rc;
    if ((name && !ref_parse(&want, name, &err)) || !filter_read(&filter, &err))
        return cli_usage(USAGE, "ls: %s", err.msg);
    _cleanup_free_ char *page = ls_page_of(name, &want);
    if (!cli_ask(&o, page, NULL, &answer, &err))
        return cli_fail(&err);
    json_t *images = filter_images(&filter, json_object_get(answer, "images"));
    json_object_set_new(answer, "images", images);
    if (only_pullable)
        print_pullable(images, o.json);
    else if (o.json)
        cli_print_json(answer);
    else
        ls_print(images);
    json_decref(answer);
    return EXIT_DONE;
}
