#include "cli/lib/cli.h"
#include "cli/setup/intercept.h"
#include "cli/setup/journal.h"
#include "cli/setup/setup.h"

#include "base/ref.h"
#include "config/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot setup ENGINE...|all [--registry HOST]... [--dry-run] [--undo] [--check] [--root DIR]\n"
    "                      [--address [https://]HOST:PORT] [--ca FILE] [--intercept] [--restart] [--json]\n"
    "                      [--cache-owner UID[:GID]] [--config FILE]\n\n"
    "Leads engines to entrepot: writes what they need into their own configuration, beside what is there. ENGINE is\n"
    "containerd, docker, podman (buildah and skopeo too), crio, k3s, rke2, buildkit, or all that are found.\n\n"
    "  --registry HOST       this registry only; may be repeated (default: all that entrepot is configured for)\n"
    "  --address HOST:PORT   where engines reach entrepot (default: its first listener, 127.0.0.1:5000); "
    "https://HOST:PORT\n"
    "                        for a listener with TLS\n"
    "  --ca FILE             with https: the authority of its certificate, which is given to the engines\n"
    "  --intercept           as their proxy, in place of a mirror, with a certificate that the system trusts from then "
    "on\n"
    "  --dry-run             only print what would change, as a unified diff\n"
    "  --undo                restore what was there\n"
    "  --check               whether the engine is set up, and entrepot answers as the engine asks\n"
    "  --root DIR            the system below DIR, such as a host's in a container\n"
    "  --cache-owner UID     make the folder of the cache, too, for a daemon of this user: a number\n"
    "  --restart             restart or reload the engine if it has to read its configuration again\n"
    "  --config FILE         read FILE in place of " CONFIG_DEFAULT_FILE "\n"
    "  --json                print JSON\n\n"
    "Examples:\n"
    "  entrepot setup containerd --dry-run\n"
    "  entrepot setup all --restart\n"
    "  entrepot setup docker --undo\n";

struct setup_command {
    struct cli_options options;
    struct setup_target target;
    struct setup_run run;
    bool undo, check, intercept, all;
    const char *root, *address, *ca_file;
    struct setup_owner owner; /* of the cache's folder, if `gives` */
    bool gives;
    struct setup_text certificate;          /* that ca_file has */
    char *own_address, *own_ca, *own_proxy; /* from the configuration */
    const struct setup_engine *engines[16];
    size_t count;
};

/* ---- options ---- */

static bool setup_take_registry(void *arg, const char *value, struct err *err)
{
    struct setup_command *s = arg;
    char host[REF_HOST_MAX + 1];
    size_t len = strlen(value);

    if (len > REF_HOST_MAX || !ref_is_host(value, len) || !ref_host_valid(value, len))
        return err_set(err, ERR_INVALID, "\"%s\" is not a registry's host such as ghcr.io", value);
    memcpy(host, value, len + 1);
    ref_canonical_host(host);
    setup_target_add(&s->target, host);
    return true;
}

static bool setup_take_engine(void *arg, const char *name, struct err *err)
{
    struct setup_command *s = arg;
    const struct setup_engine *e = setup_engine_find(name);

    if (strcmp(name, "all") == 0) {
        s->all = true;
        return true;
    }
    if (!e)
        return err_set(err, ERR_INVALID,
                       "\"%s\" is not an engine: containerd, docker, podman, crio, k3s, rke2, buildkit or all", name);
    for (size_t i = 0; i < s->count; i++)
        if (s->engines[i] == e)
            return true;
    s->engines[s->count++] = e;
    return true;
}

static bool setup_take_address(void *arg, const char *value, struct err *err)
{
    struct setup_command *s = arg;
    s->target.tls = strncmp(value, "https://", 8) == 0;
    value += s->target.tls ? 8 : 0;
    const char *colon = strrchr(value, ':');
    size_t len = strlen(value);

    if (!colon || colon == value || len > REF_HOST_MAX || !ref_host_valid(value, len))
        return err_set(err, ERR_INVALID, "\"%s\" is neither HOST:PORT nor https://HOST:PORT", value);
    s->address = value;
    return true;
}

static bool setup_take_owner(void *arg, const char *value, struct err *err)
{
    struct setup_command *s = arg;

    s->gives = setup_read_owner(value, &s->owner);
    return s->gives || err_set(err, ERR_INVALID, "\"%s\" is neither UID nor UID:GID, in numbers", value);
}

static int setup_check_usage(const struct setup_command *s)
{
    if (s->intercept && s->target.count > 0)
        return cli_usage(USAGE, "setup: --registry does not go with --intercept: intercept.hosts says what is opened");
    if (s->intercept && (s->target.tls || s->ca_file))
        return cli_usage(USAGE,
                         "setup: --intercept goes with neither https:// nor --ca: engines speak HTTP to a proxy");
    if (s->undo + s->check + s->run.dry > 1 && (s->check || !s->undo))
        return cli_usage(USAGE, "setup: --check goes with neither --undo nor --dry-run");
    if (s->count == 0 && !s->all)
        return cli_usage(USAGE, "setup: which engine?");
    if (s->gives && (s->check || s->run.dry))
        return cli_usage(USAGE, "setup: --cache-owner goes with neither --check nor --dry-run");
    if (s->run.restart && (s->root || s->run.dry || s->check))
        return cli_usage(USAGE, "setup: --restart goes with none of --root, --dry-run and --check");
    return -1;
}

/* ---- defaults ---- */

/* One without TLS, if there is one: engines need no certificate for it. */
static void take_address(struct setup_command *s, const struct config *c)
{
    s->address = s->own_address = setup_address(c);
    for (int i = 0; !s->address && c->listen[i]; i++)
        if (!c->listen_upstream[i] && !c->listen_intercept[i] && (s->own_address = setup_address_of(c->listen[i]))) {
            s->address = s->own_address;
            s->target.tls = true;
        }
}

static void take_listener(struct setup_command *s, const struct config *c)
{
    if (!s->address)
        take_address(s, c);
    if (s->target.count == 0)
        setup_target_add_all(&s->target, c);
}

static void take_proxy(struct setup_command *s, const struct config *c)
{
    if (!s->address && c->intercept.address)
        s->address = s->own_address = setup_address_of(c->intercept.address);
    s->target.ca = s->own_ca = xstrdup(c->intercept.cert);
    s->target.proxy = s->own_proxy = xasprintf("http://%s", s->address ? s->address : "");
    setup_target_add_opened(&s->target, c);
}

static bool setup_give_cache(const struct setup_command *s, const struct config *c, struct err *err)
{
    return !s->gives || setup_give_folder(s->run.root, c->cache_path, &s->owner, err);
}

/* What the command line does not say, from entrepot's own configuration. */
static bool setup_take_defaults(struct setup_command *s, struct err *err)
{
    _cleanup_free_ char *file = s->root ? xasprintf("%s%s", s->run.root, CONFIG_DEFAULT_FILE) : NULL;
    const char *given = s->options.config ? s->options.config : file && access(file, F_OK) == 0 ? file : NULL;
    struct config_overrides overrides = {.file = given, .cache = s->options.cache, .no_secrets = true};
    struct config config;

    if (s->undo || (!s->intercept && !s->gives && s->address && s->target.count > 0))
        return true;
    if (!config_load(&config, &overrides, err))
        return s->intercept ? false : err_append(err, "; or give --address and --registry");
    (s->intercept ? take_proxy : take_listener)(s, &config);
    bool given_away = setup_give_cache(s, &config, err);
    config_free(&config);
    if (!given_away)
        return false;
    if (!s->address && s->intercept)
        return err_set(err, ERR_INVALID,
                       "interception is off: add the two lines \"intercept:\" and \"  address: 127.0.0.1:3128\" to %s, "
                       "restart entrepot and run it again",
                       given ? given : CONFIG_DEFAULT_FILE);
    return s->address || err_set(err, ERR_INVALID, "entrepot has no listener that engines can reach: give --address");
}

/* `all`: what is found; to undo, what has been set up. */
static bool setup_find_engines(struct setup_command *s, struct err *err)
{
    for (size_t i = 0; s->all && i < SETUP_ENGINES_COUNT; i++) {
        const struct setup_engine *e = SETUP_ENGINES[i];
        if (s->undo ? journal_exists(s->run.root, e->name) : setup_engine_is_here(e, s->run.root))
            setup_take_engine(s, e->name, NULL);
    }
    return s->count > 0 || s->undo ||
           err_set(err, ERR_NOT_FOUND, "no engine was found%s%s: name one", s->root ? " below " : "",
                   s->root ? s->root : "");
}

/* ---- output ---- */

static void say_each(const char *engine, const char *before, const json_t *list)
{
    const json_t *text;
    size_t i;

    json_array_foreach(list, i, text) {
        cli_say(stdout, "%s: %s%s", engine, before, json_string_value(text));
    }
}

static void setup_say(const struct setup_command *s, const char *engine, const json_t *report)
{
    const char *diff = json_string_value(json_object_get(report, "diff"));
    const char *restart = json_string_value(json_object_get(report, "restart"));
    const json_t *changed = json_object_get(report, "changed");

    say_each(engine, "changed ", changed);
    say_each(engine, "", json_object_get(report, "notes"));
    if (diff)
        cli_say_text(stdout, diff, strlen(diff));
    if (restart && !json_is_true(json_object_get(report, "restarted")))
        cli_say(stdout, "%s: to have it read this: %s", engine, restart);
    else if (restart)
        cli_say(stdout, "%s: %s", engine, restart);
    if (!s->check && !changed && (!diff || !diff[0]) && !json_object_get(report, "error"))
        cli_say(stdout, "%s: nothing to do", engine);
}

/* ---- the command ---- */

static bool setup_one(const struct setup_command *s, const struct setup_engine *e, json_t *report, struct err *err)
{
    if (s->undo)
        return setup_undo(e, &s->run, report, err);
    if (s->check)
        return setup_check(e, &s->target, &s->run, report, err);
    return setup_apply(e, &s->target, &s->run, report, err);
}

/* Prints what was done, and adds it to `all`. */
static int setup_tell(const struct setup_command *s, const char *name, json_t *report, struct err *err, json_t *all)
{
    if (err->code != ERR_OK)
        json_object_set_new(report, "error", json_string(err->msg));
    if (!s->options.json)
        setup_say(s, name, report);
    cli_flush();
    json_array_append_new(all, report);
    if (err->code == ERR_OK)
        return EXIT_DONE;
    err_wrap(err, "%s", name);
    return cli_fail(err);
}

/* Whether one of the engines of the command can be led to the proxy as its files are. */
static bool setup_can_any(const struct setup_command *s)
{
    struct setup_run dry = {.root = s->run.root, .dry = true};
    bool can = false;

    for (size_t i = 0; i < s->count && !can; i++) {
        json_t *report = json_object();
        can = setup_apply(s->engines[i], &s->target, &dry, report, NULL);
        json_decref(report);
    }
    return can;
}

/* The certificate comes before the engines that will need it. */
static int setup_trust(struct setup_command *s, json_t *all)
{
    struct err err = {0};

    if (!s->intercept || s->undo || s->check || !setup_can_any(s))
        return EXIT_DONE;
    json_t *report = json_pack("{s:s}", "engine", SETUP_TRUST.name);
    setup_apply(&SETUP_TRUST, &s->target, &s->run, report, &err);
    s->run.reread = json_object_get(report, "changed") != NULL;
    return setup_tell(s, SETUP_TRUST.name, report, &err, all);
}

/* Whether an engine has the proxy when the command has ended. */
static bool setup_needs_trust(const struct setup_command *s)
{
    for (size_t i = 0; i < SETUP_ENGINES_COUNT; i++) {
        bool leaves = false;
        for (size_t k = 0; s->run.dry && k < s->count; k++)
            leaves = leaves || s->engines[k] == SETUP_ENGINES[i];
        if (!leaves && setup_has_proxy(SETUP_ENGINES[i], s->run.root))
            return true;
    }
    return false;
}

/* It leaves with the last of them. */
static int setup_end_trust(const struct setup_command *s, json_t *all)
{
    struct err err = {0};

    if (s->check || (s->run.dry && s->intercept && !s->undo) || !journal_exists(s->run.root, SETUP_TRUST.name) ||
        setup_needs_trust(s))
        return EXIT_DONE;
    json_t *report = json_pack("{s:s}", "engine", SETUP_TRUST.name);
    setup_undo(&SETUP_TRUST, &s->run, report, &err);
    return setup_tell(s, SETUP_TRUST.name, report, &err, all);
}

static int setup_each(struct setup_command *s)
{
    json_t *all = json_array();
    int rc = setup_trust(s, all);

    for (size_t i = 0; i < s->count && (rc == EXIT_DONE || i > 0); i++) {
        json_t *report = json_pack("{s:s}", "engine", s->engines[i]->name);
        struct err err = {0};
        setup_one(s, s->engines[i], report, &err);
        int one = setup_tell(s, s->engines[i]->name, report, &err, all);
        rc = one == EXIT_DONE ? rc : one;
    }
    int end = setup_end_trust(s, all);
    rc = end == EXIT_DONE ? rc : end;
    if (s->options.json)
        cli_print_json(all);
    json_decref(all);
    return rc;
}

/* --ca: the content goes into files of the engines. */
static bool setup_take_ca(struct setup_command *s, struct err *err)
{
    if (!s->ca_file || s->undo)
        return true;
    if (!s->target.tls)
        return err_set(err, ERR_INVALID, "--ca: there is no TLS at %s: give --address https://HOST:PORT", s->address);
    _cleanup_free_ char *full = realpath(s->ca_file, NULL);
    if (!full)
        return err_errno(err, ERR_NOT_FOUND, "--ca %s", s->ca_file);
    if (!setup_read_certificates("", full, &s->certificate, err))
        return err_wrap(err, "--ca");
    s->target.certificate = &s->certificate;
    return true;
}

static int setup_run_command(struct setup_command *s)
{
    struct err err = {0};

    if (!setup_take_defaults(s, &err) || !setup_take_ca(s, &err) || !setup_find_engines(s, &err))
        return cli_fail(&err);
    s->target.address = s->address;
    return setup_each(s);
}

int cmd_setup(int argc, char **argv)
{
    struct setup_command s = {.run.root = ""};
    _cleanup_free_ char *root = NULL;

    const struct cli_option options[] = {{"registry", .take = setup_take_registry},
                                         {"address", .take = setup_take_address},
                                         {"ca", .value = &s.ca_file},
                                         {"dry-run", .flag = &s.run.dry},
                                         {"undo", .flag = &s.undo},
                                         {"check", .flag = &s.check},
                                         {"root", .value = &s.root},
                                         {"restart", .flag = &s.run.restart},
                                         {"cache-owner", .take = setup_take_owner},
                                         {"intercept", .flag = &s.intercept},
                                         {0}};
    const struct cli_syntax syntax = {USAGE, options, setup_take_engine, &s, true};
    int rc = cli_parse(&s.options, &syntax, argc, argv);
    if (rc < 0)
        rc = setup_check_usage(&s);
    if (rc < 0) {
        if (s.root) { /* without slashes at its end: paths begin with one */
            root = xstrdup(s.root);
            for (size_t len = strlen(root); len > 0 && root[len - 1] == '/'; len--)
                root[len - 1] = '\0';
            s.run.root = root;
        }
        rc = setup_run_command(&s);
    }
    setup_target_clear(&s.target);
    free(s.own_address);
    free(s.own_ca);
    setup_text_free(&s.certificate);
    free(s.own_proxy);
    return rc;
}
