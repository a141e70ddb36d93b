#include "cli/lib/cli.h"
#include "config/config.h"

#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot verify [--repair] [--rate SIZE] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Hashes every blob again, at most SIZE a second (100MiB; 0: as fast as it goes), counts every reference anew and\n"
    "compares files and index. What is damaged is put aside at once and fetched again when it is asked for; --repair\n"
    "fetches it now, with what earlier runs have found damaged or missing, and puts the index right. Exit 1 if "
    "anything\n"
    "was wrong.\n";

struct wish {
    bool repair, json, terminal;
    struct amount rate;
};

static bool take_rate(void *arg, const char *value, struct err *err)
{
    struct wish *w = arg;

    return (config_parse_amount(value, &w->rate) && w->rate.bytes >= 0) ||
           err_set(err, ERR_INVALID, "\"%s\" is not a size such as 100MiB, or 0", value);
}

/* The line of how far it is. */
#define CLEAR "\r\033[K"

static long long number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static void print_line(void *arg, const json_t *line)
{
    const struct wish *w = arg;
    char done[CLI_TEXT], total[CLI_TEXT];

    if (w->json) {
        cli_print_event(stdout, line);
        return;
    }
    if (w->terminal)
        fputs(CLEAR, stdout);
    if (json_object_get(line, "wrong"))
        cli_say(stdout, "%s: %s", cli_text(line, "digest"), cli_text(line, "wrong"));
    else if (w->terminal) {
        fputs(cli_size(number(line, "bytes"), done), stdout);
        fputs(" of ", stdout);
        fputs(cli_size(number(line, "total_bytes"), total), stdout);
    }
    cli_flush();
}

static void print(const json_t *a, const struct wish *w)
{
    char size[CLI_TEXT];

    if (w->terminal)
        fputs(CLEAR, stdout);
    cli_say(stdout, "verified %lld blobs, %s: %lld damaged, %lld missing, %lld adopted, %lld rows of the index wrong",
            number(a, "blobs"), cli_size(number(a, "bytes"), size), number(a, "damaged"), number(a, "missing"),
            number(a, "adopted"), number(a, "references"));
    if (w->repair)
        cli_say(stdout, "repaired: %lld blobs fetched again, %lld could not be; %lld rows put right",
                number(a, "fetched"), number(a, "lost"), number(a, "repaired"));
}

int cmd_verify(int argc, char **argv)
{
    struct cli_options o = {0};
    struct wish wish = {.rate = {.bytes = 100 << 20}, .terminal = isatty(STDOUT_FILENO)};
    const struct cli_option options[] = {{"repair", .flag = &wish.repair}, {"rate", .take = take_rate}, {0}};
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, .arg = &wish}, argc, argv);
    if (rc >= 0)
        return rc;
    wish.json = o.json;
    json_t *body = json_pack("{s:b, s:I}", "repair", wish.repair, "rate", (json_int_t)wish.rate.bytes);
    bool ok = cli_ask_long(&o, "/v1/verify", body, print_line, &wish, &answer, &err);
    json_decref(body);
    if (!ok)
        return cli_fail(&err);
    if (o.json)
        print_line(&wish, answer);
    else
        print(answer, &wish);
    ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
