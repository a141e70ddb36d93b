#include "cli/cli.h"
#include "proxy/config.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot gc [--dry-run] [--to SIZE] [--json] [--socket PATH] [--cache DIR]\n\n"
    "Collects now: what nothing refers to, then, above the configured limit (or --to), the images\n"
    "that were not used for longest. --dry-run only says what would go.\n";

static void print(const json_t *answer, bool dry)
{
    char size[CLI_TEXT];
    size_t i;
    json_t *r;

    json_array_foreach(json_object_get(answer, "removed_images"), i, r)
        printf("%s %s\n", dry ? "would remove" : "removed", json_string_value(r));
    printf("%s %s in %lld blobs\n", dry ? "would free" : "freed",
           cli_size(json_integer_value(json_object_get(answer, "freed_bytes")), size),
           (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
}

int cmd_gc(int argc, char **argv)
{
    struct cli_options o = {0};
    struct amount to = {.bytes = -1};
    bool dry = false;
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
        if (took > 0)
            continue;
        took = 1;
        if (strcmp(argv[i], "--dry-run") == 0) {
            dry = true;
        } else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc && config_parse_amount(argv[i + 1], &to) &&
                   to.bytes >= 0) {
            took = 2;
        } else {
            return cli_usage(USAGE, "gc: \"%s\": not an option, or not a size such as 20GiB", argv[i]);
        }
    }
    json_t *body = json_pack("{s:b}", "dry_run", dry);
    if (to.bytes >= 0)
        json_object_set_new(body, "to", json_integer(to.bytes));
    bool ok = cli_ask(&o, "/v1/gc", body, &answer, &err);
    json_decref(body);
    if (!ok)
        return cli_fail(&err);
    if (o.json)
        cli_print_json(answer);
    else
        print(answer, dry);
    json_decref(answer);
    return EXIT_DONE;
}
