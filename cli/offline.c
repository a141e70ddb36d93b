#include "cli/lib/cli.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot offline [on|off] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "on: registries are not asked any more, everything is served from what is here; off: they are asked again.\n"
    "Without a word, which of the two it is. It holds until the daemon restarts or reads its configuration anew.\n";

int cmd_offline(int argc, char **argv)
{
    struct cli_options o = {0};
    const char *word = NULL;
    struct err err = {0};
    json_t *answer, *body = NULL;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, .word = cli_take_word, .arg = &word}, argc, argv);
    if (rc >= 0)
        return rc;
    bool on = word && strcmp(word, "on") == 0;
    if (word && !on && strcmp(word, "off") != 0)
        return cli_usage(USAGE, "offline: \"%s\" is neither on nor off", word);
    if (word)
        body = json_pack("{s:b}", "offline", on);
    bool ok = cli_ask(&o, word ? "/v1/offline" : "/v1/status", body, &answer, &err);
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
