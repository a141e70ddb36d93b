#include "cli/lib/cli.h"
#include "config/config.h"

#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot verify [--repair] [--rate SIZE] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Hashes every blob, recounts every reference, and compares the files with the index. A damaged blob is moved to\n"
    "quarantine at once, what is damaged of a partial blob is dropped; both are fetched again when they are next\n"
    "requested. Exits 1 if anything was wrong.\n\n"
    "  --repair      fetch damaged and missing blobs now, also those of earlier runs, and correct the index\n"
    "  --rate SIZE   read at most SIZE per second (100MiB; 0: no limit)\n\n"
    "Examples:\n"
    "  entrepot verify --rate 100MiB\n"
    "  entrepot verify --repair\n";

struct verify_options {
    bool repair, json, terminal;
    struct amount rate;
};

static bool verify_take_rate(void *arg, const char *value, struct err *err)
{
    struct verify_options *opts = arg;

    return (config_parse_amount(value, &opts->rate) && opts->rate.bytes >= 0) ||
           err_set(err, ERR_INVALID, "\"%s\" is not a size such as 100MiB, or 0", value);
}

/* Clears the progress line. */
#define CLEAR "\r\033[K"

static long long verify_number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static void print_line(void *arg, const json_t *line)
{
    const struct verify_options *opts = arg;
    char done[CLI_TEXT], total[CLI_TEXT];

    if (opts->json) {
        cli_print_event(stdout, line);
        return;
    }
    if (opts->terminal)
        fputs(CLEAR, stdout);
    if (json_object_get(line, "wrong"))
        cli_say(stdout, "%s: %s", cli_text(line, "digest"), cli_text(line, "wrong"));
    else if (opts->terminal) {
        fputs(cli_size(verify_number(line, "bytes"), done), stdout);
        fputs(" of ", stdout);
        fputs(cli_size(verify_number(line, "total_bytes"), total), stdout);
    }
    cli_flush();
}

static void verify_print(const json_t *a, const struct verify_options *opts)
{
    char size[CLI_TEXT];

    if (opts->terminal)
        fputs(CLEAR, stdout);
    cli_say(stdout, "verified %lld blobs, %s: %lld damaged, %lld missing, %lld adopted, %lld rows of the index wrong",
            verify_number(a, "blobs"), cli_size(verify_number(a, "bytes"), size), verify_number(a, "damaged"),
            verify_number(a, "missing"), verify_number(a, "adopted"), verify_number(a, "references"));
    if (verify_number(a, "partial") > 0)
        cli_say(stdout, "verified what is here of %lld partial blobs: %lld damaged and dropped",
                verify_number(a, "partial"), verify_number(a, "partial_damaged"));
    if (opts->repair)
        cli_say(stdout, "repaired: %lld blobs fetched again, %lld could not be fetched; %lld rows corrected",
                verify_number(a, "fetched"), verify_number(a, "lost"), verify_number(a, "repaired"));
}

int cmd_verify(int argc, char **argv)
{
    struct cli_options o = {0};
    struct verify_options opts = {.rate = {.bytes = 100 << 20}, .terminal = isatty(STDOUT_FILENO)};
    const struct cli_option options[] = {{"repair", .flag = &opts.repair}, {"rate", .take = verify_take_rate}, {0}};
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, .arg = &opts}, argc, argv);
    if (rc >= 0)
        return rc;
    opts.json = o.json;
    json_t *body = json_pack("{s:b, s:I}", "repair", opts.repair, "rate", (json_int_t)opts.rate.bytes);
    bool ok = cli_ask_long(&o, "/v1/verify", body, print_line, &opts, &answer, &err);
    json_decref(body);
    if (!ok)
        return cli_fail(&err);
    if (o.json)
        print_line(&opts, answer);
    else
        verify_print(answer, &opts);
    ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
