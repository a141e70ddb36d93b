#include "config/config.h"

#include "base/visible.h"
#include "cli/lib/cli.h"
#include "cli/config_files.h"
#include "cli/config_user.h"

#include <pwd.h>
#include <string.h>

static const char USAGE[] =
    "Usage: entrepot config check|show|diff [--config FILE] [--cache DIR] [--user NAME] [--json]\n\n"
    "check: checks that the configuration is valid, and usable by the current user; as root, by the service's user.\n"
    "show: prints the effective values as YAML, without passwords, and where each comes from.\n"
    "diff: prints what the file has that the running daemon does not, and whether a reload or a restart would apply\n"
    "it. Exit status 0: nothing, 1: something, 2: it cannot be told.\n\n"
    "  --config FILE   read FILE in place of " CONFIG_DEFAULT_FILE "\n"
    "  --cache DIR     the cache folder, in place of the configured one\n"
    "  --user NAME     check as this user\n"
    "  --json          print JSON\n\n"
    "Examples:\n"
    "  entrepot config check\n"
    "  entrepot config show --json | jq .cache\n"
    "  entrepot config diff && echo \"nothing to reload\"\n";

static void show(const struct config *config, bool json)
{
    _cleanup_buf_ struct buf text = {0};

    if (json) {
        json_t *j = config_json(config);
        json_object_set_new(j, "sources", config_sources_json(config));
        cli_print_json(j);
        json_decref(j);
    } else {
        config_print_sources(config, &text);
        cli_say_text(stdout, text.data, text.len);
    }
}

static void warn_ignored(const struct config *config, json_t *warnings)
{
    _cleanup_free_ char *text =
        config->ignored ? xasprintf("ignored, since no key has such a name: %s", config->ignored) : NULL;

    if (text)
        json_array_append_new(warnings, visible_json(text));
}

static void add_warning(void *arg, const char *text)
{
    json_array_append_new(arg, visible_json(text));
}

static void say_good(const struct config *config, const char *user, bool json, json_t *warnings)
{
    json_t *w;
    struct config_disk disk;
    struct err err = {0};
    size_t i;

    warn_ignored(config, warnings);
    if (!config_verify_cluster_tls(&config->cluster, &err))
        add_warning(warnings, err.msg);
    config_check_cluster(&config->cluster, add_warning, warnings);
    if (config_look_at_disk(config->cache_path, &disk))
        config_check_limits(config, &disk, add_warning, warnings);
    json_array_foreach(json ? NULL : warnings, i, w)
        cli_say(stderr, "entrepot: %s", json_string_value(w));
    json_t *j =
        json_pack("{s:b, s:o, s:s?, s:o}", "good", 1, "file", config->file ? visible_json(config->file) : json_null(),
                  "user", user, "warnings", json_incref(warnings));
    if (json)
        cli_print_json(j);
    else
        cli_say(stdout, "%s: good%s%s", config->file ? config->file : "the built-in defaults",
                user ? " for the user " : "", user ? user : "");
    json_decref(j);
}

/* An ordinary user lacks permissions that the service's user has. */
static void point_to_service(const struct unit_view *unit, struct err *err)
{
    const struct passwd *pw = unit->user ? getpwnam(unit->user) : NULL;

    if (pw && pw->pw_uid != geteuid())
        err_append(err, "; as root, `entrepot config check` checks for the user %s", unit->user);
}

static bool can_be_used(const struct config_overrides *overrides, const struct unit_view *unit, const char *user,
                        bool json, struct err *err)
{
    struct config config;

    if (!config_load(&config, overrides, err))
        return false;
    json_t *warnings = json_array();
    bool ok = config_user_can_write(&config, unit, err) && (!unit || config_user_can_see(&config, unit, err)) &&
              config_files_check(&config, add_warning, warnings, err);
    if (ok)
        say_good(&config, user, json, warnings);
    json_decref(warnings);
    config_free(&config);
    return ok;
}

static int config_run_check(const struct config_overrides *overrides, const char *user, bool json)
{
    struct unit_view unit;
    struct err err = {0};

    unit_view_read(&unit);
    if (!user && geteuid() == 0)
        user = unit.user;
    /* The unit's restrictions apply to the unit's user only. */
    bool is_unit = user && unit.user && strcmp(user, unit.user) == 0;
    bool ok = !user || config_user_become(user, &unit, &err);
    if (ok) {
        ok = can_be_used(overrides, is_unit ? &unit : NULL, user, json, &err);
        if (!ok && user)
            err_wrap(&err, "as the user %s", user);
        else if (!ok)
            point_to_service(&unit, &err);
    }
    unit_view_free(&unit);
    return ok ? EXIT_DONE : cli_fail(&err);
}

static char *value_text(const json_t *value)
{
    const char *s = json_string_value(value);

    return json_is_null(value) ? xstrdup("(none)") : s ? xstrdup(s) : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static int config_run_diff(const struct cli_options *o)
{
    struct err err = {0};
    json_t *answer = NULL, *change;
    size_t i;

    if (!cli_ask(o, "/v1/config", NULL, &answer, &err)) {
        cli_fail(&err);
        return EXIT_USAGE;
    }
    const json_t *changes = json_object_get(answer, "changes");
    const char *why = json_string_value(json_object_get(answer, "error"));
    if (why)
        err_set(&err, ERR_INVALID, "the file cannot be used: %s", why);
    if (o->json && !why)
        cli_print_json(changes);
    json_array_foreach(o->json ? NULL : changes, i, change) {
        _cleanup_free_ char *from = value_text(json_object_get(change, "from"));
        _cleanup_free_ char *to = value_text(json_object_get(change, "to"));
        cli_say(stdout, "%-7s %s: %s -> %s", json_string_value(json_object_get(change, "needs")),
                json_string_value(json_object_get(change, "key")), from, to);
    }
    int rc = json_array_size(changes) > 0 ? EXIT_FAILED : EXIT_DONE;
    json_decref(answer);
    if (why) {
        cli_fail(&err);
        return EXIT_USAGE;
    }
    return rc;
}

int cmd_config(int argc, char **argv)
{
    struct config_overrides overrides = {0};
    const char *what = NULL, *user = NULL;
    struct cli_options o = {0};
    struct config config;
    struct err err = {0};

    const struct cli_option options[] = {{"user", .value = &user}, {0}};
    const struct cli_syntax syntax = {USAGE, options, cli_take_argument, &what, true};

    int rc = cli_parse(&o, &syntax, argc, argv);
    if (rc >= 0)
        return rc;
    if (!what || (strcmp(what, "check") != 0 && strcmp(what, "show") != 0 && strcmp(what, "diff") != 0))
        return cli_usage(USAGE, "config: check, show or diff?");
    overrides.file = o.config;
    overrides.cache = o.cache;
    if (strcmp(what, "check") == 0)
        return config_run_check(&overrides, user, o.json);
    if (user)
        return cli_usage(USAGE, "config: --user is for check");
    if (strcmp(what, "diff") == 0)
        return config_run_diff(&o);
    if (!config_load(&config, &overrides, &err))
        return cli_fail(&err);
    show(&config, o.json);
    config_free(&config);
    return EXIT_DONE;
}
