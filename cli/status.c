#include "cli/lib/cli.h"

#include "base/buf.h"
#include "base/clock.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot status [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Shows uptime, hit ratio, bytes saved, cache size and limit, problems with since when and why, upstreams, and\n"
    "transfers in progress.\n\n"
    "Examples:\n"
    "  entrepot status\n"
    "  entrepot status --json | jq .cache\n";

static int64_t status_number(const json_t *j, const char *section, const char *key)
{
    return json_integer_value(json_object_get(section ? json_object_get(j, section) : j, key));
}

/* One line for each identity, if there are several, or if another node knows of its limit. */
static void print_limits(const json_t *list)
{
    size_t i;
    json_t *l;

    json_array_foreach(list, i, l) {
        _cleanup_buf_ struct buf line = {0};
        const char *node = cli_text(l, "node");
        if (json_array_size(list) < 2 && !*node)
            return;
        buf_addf(&line, "  limit     %s%s: ", strcmp(cli_text(l, "identity"), "client") == 0 ? "a " : "credentials ",
                 cli_text(l, "identity"));
        if (json_is_integer(json_object_get(l, "remaining")))
            buf_addf(&line, "%lld of %lld left", (long long)status_number(l, NULL, "remaining"),
                     (long long)status_number(l, NULL, "limit"));
        else
            buf_adds(&line, "used up");
        if (status_number(l, NULL, "held_seconds") > 0)
            buf_addf(&line, ", held for %lld s", (long long)status_number(l, NULL, "held_seconds"));
        if (*cli_text(l, "source"))
            buf_addf(&line, " (counted as %s)", cli_text(l, "source"));
        if (*node)
            buf_addf(&line, ", as %s knows", node);
        cli_say(stdout, "%s", line.data);
    }
}

static void status_print_problems(const json_t *list)
{
    char ago[CLI_TEXT];
    size_t i;
    json_t *p;

    json_array_foreach(list, i, p) {
        int64_t since = json_integer_value(json_object_get(p, "since"));
        _cleanup_free_ char *text = xasprintf("     %s%s%s: %s", cli_text(p, "title"), since > 0 ? ", begun " : "",
                                              since > 0 ? cli_ago(since, ago) : "", cli_text(p, "why"));
        cli_say_marked("", CLI_RED, "PROBLEM", text);
    }
}

static void status_print_upstreams(const json_t *list)
{
    size_t i;
    json_t *u;

    json_array_foreach(list, i, u) {
        const json_t *left = json_object_get(u, "ratelimit_remaining");
        _cleanup_buf_ struct buf line = {0};
        if (json_integer_value(json_object_get(u, "requests")) == 0)
            continue;
        bool up = json_is_true(json_object_get(u, "up"));
        _cleanup_free_ char *name = xasprintf("upstream    %s: ", cli_text(u, "name"));
        buf_addf(&line, ", %lld requests", (long long)json_integer_value(json_object_get(u, "requests")));
        if (json_is_integer(left))
            buf_addf(&line, ", %lld pulls left", (long long)json_integer_value(left));
        if (json_is_integer(json_object_get(u, "ratelimit_limit")))
            buf_addf(&line, " of %lld", (long long)status_number(u, NULL, "ratelimit_limit"));
        if (status_number(u, NULL, "held_seconds") > 0)
            buf_addf(&line, ", RATE LIMITED: next request in %lld s",
                     (long long)status_number(u, NULL, "held_seconds"));
        if (json_is_true(json_object_get(u, "credentials_refused")))
            buf_adds(&line, ", REFUSES the configured credentials");
        cli_say_marked(name, up ? CLI_GREEN : CLI_RED, up ? "up" : "DOWN", line.data);
        print_limits(json_object_get(u, "limits"));
    }
}

static void print_transfers(const json_t *list)
{
    char digest[CLI_TEXT], got[CLI_TEXT], size[CLI_TEXT];
    size_t i;
    json_t *t;

    json_array_foreach(list, i, t) {
        _cleanup_buf_ struct buf what = {0};
        if (json_is_string(json_object_get(t, "image")))
            buf_addf(&what, ", %s%s of %s for %s %s", json_is_string(json_object_get(t, "layer")) ? "blob " : "a blob",
                     json_is_string(json_object_get(t, "layer")) ? cli_text(t, "layer") : "", cli_text(t, "image"),
                     cli_text(t, "client"), cli_text(t, "engine"));
        cli_say(stdout, "transfer    %s: %s of %s, %lld waiting%s", cli_short(cli_text(t, "digest"), digest),
                cli_size(status_number(t, NULL, "received"), got), cli_size(cli_bytes(t, "size"), size),
                (long long)status_number(t, NULL, "followers"), what.data ? what.data : "");
    }
}

/* If it was refused, or something waits for a restart. */
static void print_reload(const json_t *reload)
{
    const json_t *keys = json_object_get(reload, "restart");
    _cleanup_buf_ struct buf line = {0};
    char when[CLI_TEXT];
    json_t *key;
    size_t i;

    if (json_is_false(json_object_get(reload, "good")))
        cli_say(stdout, "reload      REFUSED %s: %s", cli_ago(status_number(reload, NULL, "time"), when),
                cli_text(reload, "error"));
    json_array_foreach(keys, i, key)
        buf_addf(&line, "%s%s", i ? ", " : "", json_string_value(key));
    if (line.len > 0)
        cli_say(stdout, "restart     needed for %s", line.data);
}

static void print_certificates(const json_t *list)
{
    size_t i;
    json_t *c;

    json_array_foreach(list, i, c) {
        int64_t left = status_number(c, NULL, "expires") - clock_now_s();
        if (left > 0)
            cli_say(stdout, "certificate %s: valid for %lld d %lld h", cli_text(c, "name"), (long long)(left / 86400),
                    (long long)(left % 86400 / 3600));
        else
            cli_say(stdout, "certificate %s: EXPIRED", cli_text(c, "name"));
    }
}

static void status_print(const json_t *j)
{
    char a[CLI_TEXT], b[CLI_TEXT], c[CLI_TEXT];
    int64_t total = status_number(j, "requests", "total"), hits = status_number(j, "requests", "hits");
    int64_t sent = status_number(j, "bytes", "sent"), fetched = status_number(j, "bytes", "from_upstream"),
            up = status_number(j, NULL, "uptime_seconds");
    int64_t saved = sent > fetched ? sent - fetched : 0;

    cli_say(stdout, "version     %s, up %lld d %lld h %lld min%s", cli_text(j, "version"), (long long)up / 86400,
            (long long)up % 86400 / 3600, (long long)up % 3600 / 60,
            json_is_true(json_object_get(j, "offline")) ? ", offline" : "");
    cli_say(stdout, "requests    %lld, %.1f%% without a fetch", (long long)total,
            total ? 100.0 * (double)hits / (double)total : 0.0);
    cli_say(stdout, "bytes       %s sent, %s fetched, %s saved (%.1f%%)", cli_size(sent, a), cli_size(fetched, b),
            cli_size(saved, c), sent ? 100.0 * (double)saved / (double)sent : 0.0);
    cli_say(stdout, "cache       %s of %s in %lld blobs (%lld manifests), %s",
            cli_size(status_number(j, "cache", "bytes"), a), cli_size(status_number(j, "cache", "limit_bytes"), b),
            (long long)status_number(j, "cache", "blobs"), (long long)status_number(j, "cache", "manifests"),
            cli_text(json_object_get(j, "cache"), "path"));
    cli_say(stdout, "now         %lld connections, %lld downloads", (long long)status_number(j, NULL, "connections"),
            (long long)status_number(j, NULL, "ingests"));
    status_print_problems(json_object_get(j, "problems"));
    print_reload(json_object_get(j, "reload"));
    status_print_upstreams(json_object_get(j, "upstreams"));
    print_transfers(json_object_get(j, "transfers"));
    print_certificates(json_object_get(j, "certificates"));
}

int cmd_status(int argc, char **argv)
{
    return cli_show(USAGE, "/v1/status", status_print, argc, argv);
}
