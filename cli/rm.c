#include "cli/cli.h"

#include <string.h>

static const char USAGE[] = "Usage: entrepot rm REF... [--json] [--socket PATH] [--cache DIR]\n\n"
                            "Drops images: the tag, and every blob that no other image needs.\n";

static void print(const json_t *answer)
{
    char size[CLI_TEXT];
    size_t i;
    json_t *r;

    json_array_foreach(json_object_get(answer, "removed"), i, r) printf("removed %s\n", json_string_value(r));
    printf("freed %s in %lld blobs\n", cli_size(json_integer_value(json_object_get(answer, "freed_bytes")), size),
           (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
}

static int take_reference(void *arg, int argc UNUSED, char **argv, int at)
{
    if (argv[at][0] == '-')
        return 0;
    json_array_append_new(arg, json_string(argv[at]));
    return 1;
}

int cmd_rm(int argc, char **argv)
{
    struct cli_options o = {0};
    json_t *references = json_array(), *answer = NULL, *body;
    struct err err = {0};
    int rc = cli_parse(&o, USAGE, argc, argv, take_reference, references);
    if (rc < 0 && json_array_size(references) == 0)
        rc = cli_usage(USAGE, "rm: which images?");
    body = json_pack("{s:o}", "references", references);
    if (rc < 0 && !cli_ask(&o, "/v1/rm", body, &answer, &err))
        rc = cli_fail(&err);
    if (rc < 0 && o.json)
        cli_print_json(answer);
    else if (rc < 0)
        print(answer);
    json_decref(answer);
    json_decref(body);
    return rc < 0 ? EXIT_DONE : rc;
}
