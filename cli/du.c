/* `du`: what the removal of images would free, as the daemon counts it. */
#include "cli/filter.h"
#include "cli/rm.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot du [REF|ID]... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Shows how much would be freed by removing each of these images (all, without an argument) alone, the largest\n"
    "first, and by removing all of them: what they share with one another is freed with the last of them only.\n"
    "Pinned images count like others.\n\n"
    "Examples:\n"
    "  entrepot du\n"
    "  entrepot du nginx:1.26 nginx:1.27\n";

static bool du_take_all(const struct cli_options *o, json_t *references, struct err *err)
{
    json_t *answer, *image;
    size_t i;

    if (!cli_ask(o, "/v1/images", NULL, &answer, err))
        return false;
    json_array_foreach(json_object_get(answer, "images"), i, image)
        json_array_append(references, json_object_get(image, "reference"));
    json_decref(answer);
    return true;
}

static int du_compare(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int64_t m = cli_bytes(x, "freed_bytes"), n = cli_bytes(y, "freed_bytes");

    return m < n ? 1 : m > n ? -1 : strcmp(cli_text(x, "reference"), cli_text(y, "reference"));
}

static json_t *du_sort(const json_t *images)
{
    json_t **list = xcalloc(json_array_size(images) + 1, sizeof(*list)), *image, *out = json_array();
    size_t i;

    json_array_foreach((json_t *)images, i, image)
        list[i] = image;
    qsort(list, json_array_size(images), sizeof(json_t *), du_compare);
    for (i = 0; i < json_array_size(images); i++)
        json_array_append(out, list[i]);
    free(list);
    return out;
}

static void du_print(const json_t *answer)
{
    static const char *const headings[] = {"FREES", "REFERENCE"};
    struct cli_table table = {.columns = ARRAY_LEN(headings), .headings = headings, .right = "a"};
    char size[CLI_TEXT];
    json_t *image;
    size_t i;

    json_array_foreach(json_object_get(answer, "images"), i, image)
        cli_table_add(&table, (const char *const[]){cli_size(cli_bytes(image, "freed_bytes"), size),
                                                    cli_text(image, "reference")});
    cli_table_add(&table, (const char *const[]){cli_size(cli_bytes(answer, "freed_bytes"), size), "all of these"});
    cli_table_print(&table);
}

int cmd_du(int argc, char **argv)
{
    struct cli_options o = {0};
    struct err err = {0};
    json_t *references = json_array(), *answer = NULL;
    const struct cli_syntax syntax = {USAGE, .argument = cli_take_reference, .arg = references};

    int rc = cli_parse(&o, &syntax, argc, argv);
    bool any = json_array_size(references) > 0;
    if (rc < 0 && !(any ? rm_resolve : du_take_all)(&o, references, &err))
        rc = cli_fail(&err);
    json_t *body = json_pack("{s:O, s:b, s:b}", "references", references, "dry_run", 1, "pinned", 1);
    if (rc < 0 && json_array_size(references) == 0)
        answer = json_pack("{s:[], s:i, s:i}", "images", "freed_bytes", 0, "freed_blobs", 0);
    else if (rc < 0 && !cli_ask(&o, "/v1/rm", body, &answer, &err))
        rc = cli_fail(&err);
    if (rc < 0) {
        json_object_set_new(answer, "images", du_sort(json_object_get(answer, "images")));
        json_object_del(answer, "removed");
        json_object_del(answer, "dry_run");
    }
    if (rc < 0 && o.json)
        cli_print_json(answer);
    else if (rc < 0)
        du_print(answer);
    json_decref(body);
    json_decref(references);
    json_decref(answer);
    return rc < 0 ? EXIT_DONE : rc;
}
