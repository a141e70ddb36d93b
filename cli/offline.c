#include "cli/lib/cli.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot offline [on|off] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Sets the mode, until the daemon restarts or reloads its configuration; without an argument, prints it.\n\n"
    "on: send no requests to registries, serve from the cache only.\n"
    "off: send requests again.\n\n"
    "Examples:\n"
    "  entrepot offline\n"
    "  entrepot offline on\n";

int cmd_offline(int argc, char **argv)
{
    struct cli_options o = {0};
    const char *argument = NULL;
    struct err err = {0};
    json_t *answer, *body = NULL;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, .argument = cli_take_argument, .arg = &argument}, argc, argv);
    if (rc >= 0)
        return rc;
    bool on = argument && strcmp(argument, "on") == 0;
    if (argument && !on && strcmp(argument, "off") != 0)
        return cli_usage(USAGE, "offline: \"%s\" is neither on nor off", argument);
    if (argument)
        body = json_pack("{s:b}", "offline", on);
    bool ok = cli_ask(&o, argument ? "/v1/offline" : "/v1/status", body, &answer, &err);
    json_decref(body);
    if (!ok)
        return cli_fail(&err);
    bool offline = json_is_true(json_object_get(answer, "offline"));
    json_decref(answer);
    answer = json_pack("{s:b}", "offline", offline);
    if (o.json)
        cli_print_event(stdout, answer);
    else
        cli_say(stdout, "%s", offline ? "on" : "off");
    json_decref(answer);
    return EXIT_DONE;
}
