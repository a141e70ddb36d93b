/* `doctor`: the topics in their order, and the one that needs the rest of the commands: the configuration. */
#include "cli/doctor/doctor.h"

#include "cli/config_files.h"
#include "cli/config_user.h"
#include "cli/lib/cli.h"
#include "config/config.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot doctor [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Finds what stands between this node's engines and a pull through entrepot, one line a finding: what, why, what "
    "to\n"
    "do. Looks at configuration, daemon, listeners, engines, disk, clock, registries and the cluster, and changes\n"
    "nothing. Exits with 1 if something is broken. As root, it sees files and registries as the service's user "
    "does.\n\n"
    "Examples:\n"
    "  sudo entrepot doctor\n"
    "  entrepot doctor --json | jq '.findings[] | select(.level == \"broken\")'\n";

struct doctor_command {
    struct cli_options options;
    struct config_overrides overrides;
    struct unit_view unit;
    char *user;    /* to look as; NULL: ourselves */
    bool offline;  /* the daemon is */
    json_t *peers; /* as the daemon knows them; NULL: it does not run */
};

/* ---- the configuration, as the daemon's user ---- */

static void doctor_add_configuration(json_t *findings, enum doctor_level level, const char *what, const char *why,
                                     const char *advice)
{
    doctor_add(findings, &(struct doctor_finding){TOPIC_CONFIGURATION, level, NULL, what, why, advice});
}

static void doctor_take_warning(void *arg, const char *text)
{
    doctor_add_configuration(arg, DOCTOR_WARNING, text, NULL, NULL);
}

/* An ordinary user has other rights than the service's. */
static bool is_not_service(const struct doctor_command *d)
{
    const struct passwd *pw = d->unit.user ? getpwnam(d->unit.user) : NULL;

    return geteuid() != 0 && pw && pw->pw_uid != geteuid();
}

static void doctor_check_configuration(const struct doctor_command *d, const struct config *c, json_t *findings)
{
    bool is_unit = d->user && d->unit.user && strcmp(d->user, d->unit.user) == 0;
    const struct unit_view *unit = is_unit ? &d->unit : NULL;
    _cleanup_free_ char *what = xasprintf("%s: good%s%s", c->file ? c->file : "the built-in defaults",
                                          d->user ? " for the user " : "", d->user ? d->user : "");
    struct err err = {0};

    if (config_user_can_write(c, unit, &err) && (!unit || config_user_can_see(c, unit, &err)) &&
        config_files_check(c, doctor_take_warning, findings, &err))
        doctor_add_configuration(findings, DOCTOR_OK, what, NULL, NULL);
    else
        doctor_add_configuration(findings, is_not_service(d) ? DOCTOR_UNKNOWN : DOCTOR_BROKEN,
                                 is_not_service(d) ? "it can be checked for the service's user by root alone"
                                                   : "entrepot cannot work with it",
                                 err.msg, NULL);
}

/* In a child. */
static void doctor_look_as_user(void *arg, json_t *findings)
{
    const struct doctor_command *d = arg;
    struct config_overrides overrides = d->overrides;
    struct err err = {0};
    struct config c;

    if (d->user && !config_user_become(d->user, &d->unit, &err)) {
        doctor_add_configuration(findings, DOCTOR_UNKNOWN, "it cannot be checked", err.msg, NULL);
        return;
    }
    if (!config_load(&c, &overrides, &err)) {
        struct err open = {0};
        overrides.no_secrets = true;
        bool secret = is_not_service(d) && config_load(&c, &overrides, &open);
        bool hidden = is_not_service(d) && open.code != ERR_INVALID;
        doctor_add_configuration(findings, secret || hidden ? DOCTOR_UNKNOWN : DOCTOR_BROKEN,
                                 secret || hidden ? "this user cannot read all of it" : "it is not valid", err.msg,
                                 secret || hidden ? NULL : "entrepot config check, once it is changed");
        if (!secret)
            return;
        doctor_look_at_disk(&c, findings);
        return;
    }
    doctor_check_configuration(d, &c, findings);
    doctor_look_at_authority(&c, findings);
    doctor_look_at_disk(&c, findings);
    doctor_look_at_registries(&c, d->offline, findings);
    doctor_look_at_cluster(&c, d->peers, findings);
}

/* ---- the command ---- */

/* As the user that runs the daemon, or would. */
static void doctor_choose_user(struct doctor_command *d, const json_t *status)
{
    unit_view_read(&d->unit);
    if (geteuid() != 0)
        return;
    d->user = status ? doctor_daemon_user() : NULL;
    if (!status && d->unit.user)
        d->user = xstrdup(d->unit.user);
}

static void doctor_look(struct doctor_command *d, json_t *findings)
{
    struct config_overrides overrides = d->overrides;
    struct err err = {0};
    struct config c;
    struct aside aside;

    overrides.no_secrets = true;
    bool known = config_load(&c, &overrides, &err); /* what is wrong with it is told by the child */
    if (known)
        doctor_look_at_listeners(&c, findings);
    json_t *status = doctor_look_at_daemon(&d->options, findings);
    doctor_take_proxies();
    d->offline = json_is_true(json_object_get(status, "offline"));
    d->peers = status ? doctor_ask_peers(&d->options) : NULL;
    doctor_choose_user(d, status);
    bool started = aside_start(&aside, doctor_look_as_user, d, &err);
    if (known)
        doctor_look_at_engines(&c, status, findings);
    if (!started || !aside_take(&aside, findings, &err))
        doctor_add_configuration(findings, DOCTOR_UNKNOWN, "disk and registries could not be looked at", err.msg, NULL);
    if (known)
        config_free(&c);
    json_decref(status);
    json_decref(d->peers);
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor_command d = {0};

    int rc = cli_parse(&d.options, &(struct cli_syntax){.usage = USAGE}, argc, argv);
    if (rc >= 0)
        return rc;
    d.overrides = (struct config_overrides){.file = d.options.config, .cache = d.options.cache};
    json_t *findings = json_array();
    doctor_look(&d, findings);
    bool good = doctor_print(findings, d.options.json);
    json_decref(findings);
    unit_view_free(&d.unit);
    free(d.user);
    return good ? EXIT_DONE : EXIT_FAILED;
}
