#include "cli/lib/cli.h"

#include "base/buf.h"
#include "base/clock.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot peers [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Shows the nodes that share what they have with this one, a line each, where the list of them is from, and the\n"
    "bucket, if there is one.\n\n"
    "Examples:\n"
    "  entrepot peers\n"
    "  entrepot peers --json | jq -r '.peers[].address'\n";

static int64_t peers_number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static const char *peers_name(const char *from)
{
    return strcmp(from, "dns") == 0 ? "DNS" : from;
}

static void peers_print_source(const json_t *source, const json_t *peers)
{
    bool ok = json_is_true(json_object_get(source, "ok")), known = json_is_string(json_object_get(source, "from"));
    _cleanup_free_ char *before =
        xasprintf("%zu node%s, by %s: ", json_array_size(peers), json_array_size(peers) == 1 ? "" : "s",
                  known ? peers_name(cli_text(source, "from")) : "?");
    _cleanup_buf_ struct buf after = {0};
    char since[CLI_TEXT];

    if (!known) {
        cli_say(stdout, "this node alone: no list of nodes yet");
        return;
    }
    if (json_is_string(json_object_get(source, "why")))
        buf_addf(&after, ": %s", cli_text(source, "why"));
    if (!ok && peers_number(source, "since") > 0)
        buf_addf(&after, ", begun %s; %s", cli_ago(peers_number(source, "since"), since),
                 json_array_size(peers) > 1 ? "the nodes that were known stay"
                                            : "until it answers, this node is alone");
    cli_say_marked(before, ok ? CLI_GREEN : CLI_RED, ok ? "ok" : "FAILS", after.data ? after.data : "");
}

static char *peers_health(const json_t *p)
{
    if (json_is_true(json_object_get(p, "self")))
        return xstrdup("this node");
    if (peers_number(p, "resting_seconds") > 0)
        return xasprintf("resting %lld s: %s", (long long)peers_number(p, "resting_seconds"), cli_text(p, "why"));
    if (json_is_true(json_object_get(p, "failing")))
        return xasprintf("failed %lld s ago: %s", (long long)peers_number(p, "failed_ago_seconds"), cli_text(p, "why"));
    if (peers_number(p, "answered") + peers_number(p, "failed") + peers_number(p, "refused") == 0)
        return xstrdup("not asked yet");
    return xstrdup("ok");
}

static void peers_print_list(const json_t *peers)
{
    static const char *const headings[] = {"ADDRESS", "ZONE",  "VERSION",  "SINCE",
                                           "FROM IT", "TO IT", "REQUESTS", "HEALTH"};
    struct cli_table t = {.columns = ARRAY_LEN(headings), .headings = headings, .right = "efg"};
    char since[CLI_TEXT], received[CLI_TEXT], sent[CLI_TEXT], requests[32];
    const json_t *p;
    size_t i;

    json_array_foreach(peers, i, p) {
        bool self = json_is_true(json_object_get(p, "self"));
        _cleanup_free_ char *health = peers_health(p);
        snprintf(requests, sizeof(requests), "%lld", (long long)peers_number(p, "answered"));
        cli_table_add(&t, (const char *const[]){cli_text(p, "address"), cli_text(p, "zone"), cli_text(p, "version"),
                                                cli_ago(peers_number(p, "since"), since),
                                                self ? "-" : cli_size(peers_number(p, "received"), received),
                                                self ? "-" : cli_size(peers_number(p, "sent"), sent),
                                                self ? "-" : requests, health});
    }
    cli_table_print(&t);
}

static void peers_print_bucket(const json_t *b)
{
    bool up = json_is_true(json_object_get(b, "up"));
    _cleanup_free_ char *before = xasprintf("bucket %s at %s: ", cli_text(b, "name"), cli_text(b, "url"));
    char read[CLI_TEXT], written[CLI_TEXT];
    _cleanup_buf_ struct buf after = {0};

    buf_addf(&after, ", %s read, %s written, %lld uploads waiting", cli_size(peers_number(b, "read"), read),
             cli_size(peers_number(b, "written"), written), (long long)peers_number(b, "queued"));
    if (peers_number(b, "failed") > 0)
        buf_addf(&after, ", %lld failed", (long long)peers_number(b, "failed"));
    if (json_is_string(json_object_get(b, "why")))
        buf_addf(&after, ": %s", cli_text(b, "why"));
    cli_say_marked(before, up ? CLI_GREEN : CLI_RED, up ? "ok" : "FAILS", after.data);
}

static void peers_print(const json_t *answer)
{
    const json_t *peers = json_object_get(answer, "peers"), *bucket = json_object_get(answer, "bucket");

    if (json_is_array(peers)) {
        peers_print_source(json_object_get(answer, "source"), peers);
        peers_print_list(peers);
    } else {
        cli_say(stdout, "this node is alone: to share with others, set cluster.peers and cluster.advertise "
                        "(entrepot.yaml(5)) and restart it");
    }
    if (json_is_object(bucket))
        peers_print_bucket(bucket);
}

int cmd_peers(int argc, char **argv)
{
    return cli_show(USAGE, "/v1/peers", peers_print, argc, argv);
}
