#include "proxy/config.h"

#include "cli/cli.h"
#include "cli/config_user.h"

#include <pwd.h>
#include <string.h>

static const char USAGE[] = "Usage: entrepot config check|show [--config FILE] [--cache DIR] [--user NAME] [--json]\n\n"
                            "check: says whether the configuration can be used: by this user, or by the service's\n"
                            "if root asks (--user NAME: by that one). show: prints the effective values, as YAML\n"
                            "that can be used again; passwords are never shown.\n";

struct words {
    const char *what, *user;
};

static int take_word(void *arg, int argc, char **argv, int at)
{
    struct words *w = arg;

    if (strcmp(argv[at], "--user") != 0)
        return cli_take_word(&w->what, argc, argv, at);
    if (at + 1 == argc) {
        fprintf(stderr, "entrepot: --user needs a value\n");
        return -1;
    }
    w->user = argv[at + 1];
    return 2;
}

static void show(const struct config *config, bool json)
{
    _cleanup_buf_ struct buf text = {0};

    if (json) {
        json_t *j = config_json(config);
        cli_print_json(j);
        json_decref(j);
    } else {
        config_print(config, &text);
        fputs(text.data, stdout);
    }
}

static void say_good(const struct config *config, const char *user, bool json)
{
    if (json) {
        json_t *j = json_pack("{s:b, s:s?, s:s?}", "good", 1, "file", config->file, "user", user);
        cli_print_json(j);
        json_decref(j);
    } else {
        printf("%s: good%s%s\n", config->file ? config->file : "the built-in defaults", user ? " for the user " : "",
               user ? user : "");
    }
}

/* A user's own check of the service's configuration fails for reasons that are none of the service's. */
static void point_to_service(const struct unit_view *unit, struct err *err)
{
    const struct passwd *pw = unit->user ? getpwnam(unit->user) : NULL;
    size_t len = strlen(err->msg);

    if (pw && pw->pw_uid != geteuid())
        snprintf(err->msg + len, sizeof(err->msg) - len, "; as root, `entrepot config check` checks for the user %s",
                 unit->user);
}

static bool can_be_used(const struct config_overrides *overrides, const struct unit_view *unit, const char *user,
                        bool json, struct err *err)
{
    struct config config;

    if (!config_load(&config, overrides, err))
        return false;
    bool ok = config_user_can_write(&config, unit, err) && (!unit || config_user_can_see(&config, unit, err));
    if (ok)
        say_good(&config, user, json);
    config_free(&config);
    return ok;
}

static int check(const struct config_overrides *overrides, const char *user, bool json)
{
    struct unit_view unit;
    struct err err = {0};

    unit_view_read(&unit);
    if (!user && geteuid() == 0)
        user = unit.user;
    /* The unit's limits are its user's; whoever checks for another does not mean the unit. */
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

int cmd_config(int argc, char **argv)
{
    struct config_overrides overrides = {0};
    struct words w = {0};
    struct cli_options o = {0};
    struct config config;
    struct err err = {0};

    int rc = cli_parse(&o, USAGE, argc, argv, take_word, &w);
    if (rc >= 0)
        return rc;
    if (!w.what || (strcmp(w.what, "check") != 0 && strcmp(w.what, "show") != 0))
        return cli_usage(USAGE, "config: check or show?");
    overrides.file = o.config;
    overrides.cache = o.cache;
    if (strcmp(w.what, "check") == 0)
        return check(&overrides, w.user, o.json);
    if (w.user)
        return cli_usage(USAGE, "config: --user is for check");
    if (!config_load(&config, &overrides, &err))
        return cli_fail(&err);
    show(&config, o.json);
    config_free(&config);
    return EXIT_DONE;
}
