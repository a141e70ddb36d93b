/* The authority of interception, by its files: the daemon need not run. */
#include "base/authority.h"
#include "base/visible.h"
#include "cli/lib/cli.h"
#include "config/config.h"

#include <string.h>
#include <time.h>

static const char USAGE[] =
    "Usage: entrepot ca [--show|--rotate] [--config FILE] [--cache DIR] [--json]\n\n"
    "Shows or replaces the authority of interception.\n\n"
    "  --show          print where it is, its name, its fingerprint, how long it is valid, and the hosts that it may\n"
    "                  speak for: the default\n"
    "  --rotate        make another one, for the hosts of the configuration; the present certificate stays behind the\n"
    "                  new one in the file for 30 days. The daemon uses the new one once it is reloaded or restarted:\n"
    "                  give the file to the clients before that\n"
    "  --config FILE   read FILE in place of " CONFIG_DEFAULT_FILE "\n"
    "  --cache DIR     the cache folder, in place of the configured one\n"
    "  --json          print JSON\n\n"
    "Examples:\n"
    "  entrepot ca\n"
    "  entrepot ca --rotate && systemctl reload entrepot\n";

static const char *in_days(const json_t *j, const char *key, char out[CLI_TEXT])
{
    time_t t = (time_t)json_integer_value(json_object_get(j, key));
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, CLI_TEXT, "%Y-%m-%d", &tm) == 0)
        strcpy(out, "-");
    return out;
}

static json_t *text_array(char *const *list)
{
    json_t *j = json_array();

    for (; *list; list++)
        json_array_append_new(j, visible_json(*list));
    return j;
}

/* Those of the file behind the first that are kept for clients that trust them. */
static json_t *replaced_ones(const struct authority *a)
{
    json_t *j = json_array();
    struct authority_about about;

    for (int i = 1; authority_describe(a, i, &about); i++)
        if (about.replaced_s > 0)
            json_array_append_new(j, json_pack("{s:o, s:s, s:I}", "name", visible_json(about.name), "sha256",
                                               about.fingerprint, "kept_until",
                                               (json_int_t)MIN(about.ends_s, about.replaced_s + AUTHORITY_KEEP_S)));
    return j;
}

static json_t *ca_describe(const struct config *c, const struct authority *a)
{
    char **hosts = config_intercept_hosts(c);
    _cleanup_free_ char *missing = authority_unpermitted(a, (const char *const *)hosts);
    struct authority_about about;

    authority_describe(a, 0, &about);
    json_t *j = json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:b, s:o, s:s?, s:o}", "certificate",
                          visible_json(c->intercept.cert), "key", visible_json(c->intercept.key), "name",
                          visible_json(about.name), "sha256", about.fingerprint, "begins", (json_int_t)about.begins_s,
                          "ends", (json_int_t)about.ends_s, "constrained", authority_is_constrained(a), "hosts",
                          text_array(hosts), "not_permitted", missing, "replaced", replaced_ones(a));
    config_free_hosts(hosts);
    return j;
}

static void ca_print(const json_t *j)
{
    char begins[CLI_TEXT], ends[CLI_TEXT];
    _cleanup_buf_ struct buf hosts = {0};
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(j, "hosts"), i, one)
        buf_addf(&hosts, "%s%s", i ? ", " : "", json_string_value(one));
    cli_say(stdout, "certificate  %s", cli_text(j, "certificate"));
    cli_say(stdout, "name         %s", cli_text(j, "name"));
    cli_say(stdout, "SHA-256      %s", cli_text(j, "sha256"));
    cli_say(stdout, "valid        %s to %s", in_days(j, "begins", begins), in_days(j, "ends", ends));
    cli_say(stdout, "hosts        %s", hosts.data ? hosts.data : "-");
    json_array_foreach(json_object_get(j, "replaced"), i, one)
        cli_say(stdout, "replaced     %s, SHA-256 %s, kept until %s", cli_text(one, "name"), cli_text(one, "sha256"),
                in_days(one, "kept_until", ends));
    const char *missing = json_string_value(json_object_get(j, "not_permitted"));
    if (missing)
        cli_say(stderr,
                "entrepot: it was made for other hosts; these are not opened: %s; `entrepot ca --rotate` makes "
                "one for them",
                missing);
}

static bool ca_show(const struct config *c, bool json, struct err *err)
{
    struct authority *a = authority_load_certificates(c->intercept.cert, err);

    if (!a && err->code == ERR_NOT_FOUND)
        return err_append(err, ": there is none yet; the daemon makes one when it starts with interception on, "
                               "`entrepot ca --rotate` now");
    if (!a)
        return false;
    json_t *j = ca_describe(c, a);
    if (json)
        cli_print_json(j);
    else
        ca_print(j);
    json_decref(j);
    authority_unref(a);
    return true;
}

static bool ca_rotate(const struct config *c, bool json, struct err *err)
{
    const struct authority_files files = {c->intercept.cert, c->intercept.key};
    char **hosts = config_intercept_hosts(c);
    bool ok = authority_rotate(&files, (const char *const *)hosts, err);

    config_free_hosts(hosts);
    if (ok)
        cli_say(stderr, "entrepot: made; give %s to the clients, then reload the daemon (systemctl reload entrepot)",
                files.cert);
    return ok && ca_show(c, json, err);
}

int cmd_ca(int argc, char **argv)
{
    struct cli_options o = {0};
    bool is_show = false, is_rotate = false;
    const struct cli_option options[] = {{"show", .flag = &is_show}, {"rotate", .flag = &is_rotate}, {0}};
    struct config config;
    struct err err = {0};

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, .no_daemon = true}, argc, argv);
    if (rc >= 0)
        return rc;
    if (is_show && is_rotate)
        return cli_usage(USAGE, "ca: --show or --rotate?");
    const struct config_overrides overrides = {.file = o.config, .cache = o.cache, .no_secrets = true};
    if (!config_load(&config, &overrides, &err))
        return cli_fail(&err);
    bool ok = is_rotate ? ca_rotate(&config, o.json, &err) : ca_show(&config, o.json, &err);
    config_free(&config);
    return ok ? EXIT_DONE : cli_fail(&err);
}
