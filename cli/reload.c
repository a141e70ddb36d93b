#include "cli/lib/cli.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot reload [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "The daemon reads its configuration again and applies all of it, or, if anything is wrong, nothing. Prints the "
    "keys\n"
    "that have changed, and those that need a restart. Exit status 1: it was refused; the last one stays in use.\n\n"
    "Example:\n"
    "  entrepot config diff; entrepot reload\n";

static void print_keys(const char *what, const json_t *keys)
{
    json_t *key;
    size_t i;

    json_array_foreach(keys, i, key)
        cli_say(stdout, "%s %s", what, json_string_value(key));
}

int cmd_reload(int argc, char **argv)
{
    struct cli_options o = {0};
    struct err err = {0};
    json_t *answer, *body;

    int rc = cli_parse(&o, &(struct cli_syntax){.usage = USAGE}, argc, argv);
    if (rc >= 0)
        return rc;
    body = json_object();
    bool ok = cli_ask(&o, "/v1/reload", body, &answer, &err);
    json_decref(body);
    if (!ok) {
        err_wrap(&err, "the configuration is not reloaded");
        return cli_fail(&err);
    }
    const json_t *applied = json_object_get(answer, "applied"), *restart = json_object_get(answer, "restart");
    if (o.json)
        cli_print_json(answer);
    else if (json_array_size(applied) + json_array_size(restart) == 0)
        cli_say(stdout, "nothing has changed");
    print_keys("applied", o.json ? NULL : applied);
    print_keys("needs a restart:", o.json ? NULL : restart);
    json_decref(answer);
    return EXIT_DONE;
}
