#include "cli/lib/cli.h"

#include "base/buf.h"
#include "base/clock.h"
#include "config/config.h"

#include <string.h>
#include <time.h>

static const char USAGE[] =
    "Usage: entrepot pulls [--follow] [--since TIME] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Lists the last 1000 pulls: who pulled what, how many bytes came from the cache, from other nodes of the cluster\n"
    "and the bucket (PEERS) and from the registry (UPSTREAM), how long it took, and why it failed. TIME is a moment\n"
    "(2026-01-31T12:00:00Z) or an age (10m, 2h, 1d).\n\n"
    "  -f, --follow       go on with each pull that ends\n"
    "  --since TIME       only pulls that ended since then\n\n"
    "Examples:\n"
    "  entrepot pulls --since 1h\n"
    "  entrepot pulls --follow --json | jq 'select(.result != \"ok\")'\n";

struct pulls_screen {
    bool json, any;
    bool shares;     /* the daemon has other nodes, or a bucket */
    struct buf rest; /* of a line that has not come whole yet */
};

/* The bytes from other nodes and from the bucket; "": there are none, and so is no column. */
static const char *pulls_column(const struct pulls_screen *s, int64_t bytes, char out[CLI_TEXT])
{
    char size[CLI_TEXT];

    snprintf(out, CLI_TEXT, "%10s  ", cli_size(bytes, size));
    return s->shares ? out : "";
}

static void print_pull(const struct pulls_screen *s, const json_t *p)
{
    char cache[CLI_TEXT], peers[CLI_TEXT], upstream[CLI_TEXT], when[32] = "-";
    const json_t *platform = json_object_get(p, "platform");
    _cleanup_free_ char *who = xasprintf("%s %s", cli_text(p, "client"), cli_text(p, "engine"));

    snprintf(when, sizeof(when), "%.19s", cli_text(p, "time"));
    cli_say(stdout, "%s  %-24s  %10s  %s%10s  %7.1f s  %-7s  %s%s%s%s", when, who,
            cli_size(cli_bytes(p, "bytes_from_cache"), cache),
            pulls_column(s, cli_bytes(p, "bytes_from_peers") + cli_bytes(p, "bytes_from_shared"), peers),
            cli_size(cli_bytes(p, "bytes_from_upstream"), upstream), json_real_value(json_object_get(p, "seconds")),
            cli_text(p, "result"), cli_text(p, "image"), json_is_string(platform) ? " (" : "",
            json_is_string(platform) ? json_string_value(platform) : "", json_is_string(platform) ? ")" : "");
    if (json_is_string(json_object_get(p, "cause")))
        cli_say(stdout, "    %s; request %s", cli_text(p, "cause"), cli_text(p, "id"));
}

static void pulls_take_line(struct pulls_screen *s, const char *text, size_t len)
{
    json_t *j = json_loadb(text, len, 0, NULL);

    if (j && s->json)
        cli_print_event(stdout, j);
    if (j && !s->json && !s->any)
        cli_say(stdout, "%-19s  %-24s  %10s  %s%10s  %9s  %-7s  %s", "ENDED (UTC)", "CLIENT", "FROM CACHE",
                s->shares ? "     PEERS  " : "", "UPSTREAM", "SECONDS", "RESULT", "IMAGE");
    if (j && !s->json)
        print_pull(s, j);
    s->any = s->any || j;
    json_decref(j);
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct pulls_screen *s = arg;
    char *end;
    int why;

    buf_add(&s->rest, data, len);
    while ((end = memchr(s->rest.data, '\n', s->rest.len))) {
        size_t n = (size_t)(end - s->rest.data) + 1;
        pulls_take_line(s, s->rest.data, n);
        memmove(s->rest.data, s->rest.data + n, s->rest.len - n);
        s->rest.len -= n;
    }
    return !cli_stdout_failed(&why);
}

/* Whether its pulls may have bytes from other nodes or from a bucket. */
static bool daemon_shares(const struct cli_options *o)
{
    json_t *answer;
    struct err err = {0};

    if (!cli_ask(o, "/v1/peers", NULL, &answer, &err))
        return false; /* the next request fails, too, and tells why */
    bool shares = json_is_array(json_object_get(answer, "peers")) || json_is_object(json_object_get(answer, "bucket"));
    json_decref(answer);
    return shares;
}

/* Seconds since 1970. */
static bool pulls_take_since(void *arg, const char *value, struct err *err)
{
    struct tm tm = {0};
    int64_t *since = arg, age_ms;
    const char *end = strptime(value, "%Y-%m-%dT%H:%M:%S", &tm);

    if (end && (*end == '\0' || strcmp(end, "Z") == 0))
        *since = timegm(&tm);
    else if (config_parse_duration(value, &age_ms))
        *since = clock_now_s() - age_ms / 1000;
    else
        return err_set(err, ERR_INVALID, "\"%s\" is neither a moment (2026-01-31T12:00:00Z) nor an age (10m, 2h)",
                       value);
    return true;
}

int cmd_pulls(int argc, char **argv)
{
    struct cli_options o = {0};
    struct pulls_screen s = {0};
    struct err err = {0};
    bool follow = false;
    int64_t since = 0;
    const struct cli_option options[] = {{"follow", 'f', .flag = &follow}, {"since", .take = pulls_take_since}, {0}};

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, .arg = &since}, argc, argv);
    if (rc >= 0)
        return rc;
    s.json = o.json;
    s.shares = !s.json && daemon_shares(&o);
    _cleanup_free_ char *path = xasprintf("/v1/pulls?since=%lld&follow=%d", (long long)since, follow);
    bool ok = cli_fetch(&o, path, take_data, &s, &err);
    buf_free(&s.rest);
    return ok || err.code == ERR_OK ? EXIT_DONE : cli_fail(&err);
}
