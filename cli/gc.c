#include "cli/lib/cli.h"
#include "config/config.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot gc [--dry-run] [--to SIZE] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Runs garbage collection now: removes unreferenced blobs and then, while the cache is above its configured\n"
    "limit (or --to), the least valuable images by gc.policy.\n\n"
    "  --dry-run    only print what would be removed, and why the other images would stay\n"
    "  --to SIZE    the target size, in place of the configured limit\n\n"
    "Examples:\n"
    "  entrepot gc --dry-run\n"
    "  entrepot gc --to 20GiB\n";

/* Says so if the target size was not reached. */
static void print_rest(const json_t *answer, bool dry)
{
    const json_t *target = json_object_get(answer, "target_bytes");
    json_int_t held = json_integer_value(json_object_get(answer, "held_bytes"));
    char has[CLI_TEXT], wanted[CLI_TEXT];

    if (!json_is_integer(target) || held <= json_integer_value(target))
        return;
    cli_say(stdout, "the cache %s %s, and its target is %s: the rest is in use, pinned or younger than gc.grace%s",
            dry ? "would still hold" : "still holds", cli_size(held, has), cli_size(json_integer_value(target), wanted),
            dry ? "" : "; see gc --dry-run");
}

static void gc_print(const json_t *answer, bool dry)
{
    char size[CLI_TEXT];
    size_t i;
    json_t *r;

    json_array_foreach(json_object_get(answer, "removed"), i, r)
        cli_say(stdout, "%s %s: %s, frees %s", dry ? "would remove" : "removed", cli_text(r, "reference"),
                cli_text(r, "why"), cli_size(cli_bytes(r, "bytes"), size));
    json_array_foreach(json_object_get(answer, "kept"), i, r)
        cli_say(stdout, "would keep %s: %s, %s of its own", cli_text(r, "reference"), cli_text(r, "why"),
                cli_size(cli_bytes(r, "bytes"), size));
    cli_say(stdout, "%s %s in %lld blobs", dry ? "would free" : "freed",
            cli_size(cli_bytes(answer, "freed_bytes"), size),
            (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
    print_rest(answer, dry);
}

struct gc_request {
    bool dry;
    struct amount to;
};

static bool gc_take_to(void *arg, const char *value, struct err *err)
{
    struct gc_request *request = arg;

    return (config_parse_amount(value, &request->to) && request->to.bytes >= 0) ||
           err_set(err, ERR_INVALID, "\"%s\" is not a size such as 20GiB", value);
}

int cmd_gc(int argc, char **argv)
{
    struct cli_options o = {0};
    struct gc_request request = {.to = {.bytes = -1}};
    const struct cli_option options[] = {{"dry-run", .flag = &request.dry}, {"to", .take = gc_take_to}, {0}};
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, .arg = &request}, argc, argv);
    if (rc >= 0)
        return rc;
    json_t *body = json_pack("{s:b}", "dry_run", request.dry);
    if (request.to.bytes >= 0)
        json_object_set_new(body, "to", json_integer(request.to.bytes));
    bool ok = cli_ask(&o, "/v1/gc", body, &answer, &err);
    json_decref(body);
    if (!ok)
        return cli_fail(&err);
    if (o.json)
        cli_print_json(answer);
    else
        gc_print(answer, request.dry);
    json_decref(answer);
    return EXIT_DONE;
}
