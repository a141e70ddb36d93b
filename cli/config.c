#include "proxy/config.h"

#include "cli/cli.h"

#include <string.h>

static const char USAGE[] = "Usage: entrepot config check|show [--config FILE] [--cache DIR] [--json]\n\n"
                            "check: says whether the configuration can be used. show: prints the effective values,\n"
                            "as YAML that can be used again; passwords are never shown.\n";

static void show(const struct config *config, bool json)
{
    _cleanup_buf_ struct buf text = {0};

    if (json) {
        json_t *j = config_json(config);
        cli_print_json(j);
        json_decref(j);
    } else {
        config_print(config, &text);
        cli_say_text(stdout, text.data, text.len);
    }
}

static void add_warning(void *arg, const char *text)
{
    json_array_append_new(arg, cli_json_text(text));
}

static void say_good(const struct config *config, bool json)
{
    json_t *warnings = json_array(), *w;
    struct config_disk disk;
    size_t i;

    if (config_look_at_disk(config->cache_path, &disk))
        config_check_limits(config, &disk, add_warning, warnings);
    json_array_foreach(json ? NULL : warnings, i, w)
        cli_say(stderr, "entrepot: %s", json_string_value(w));
    json_t *j = json_pack("{s:b, s:o, s:o}", "good", 1, "file",
                          config->file ? cli_json_text(config->file) : json_null(), "warnings", warnings);
    if (json)
        cli_print_json(j);
    else
        cli_say(stdout, "%s: good", config->file ? config->file : "the built-in defaults");
    json_decref(j);
}

int cmd_config(int argc, char **argv)
{
    struct config_overrides overrides = {0};
    struct cli_options o = {0};
    const char *what = NULL;
    struct config config;
    struct err err = {0};

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, .word = cli_take_word, .arg = &what}, argc, argv);
    if (rc >= 0)
        return rc;
    if (!what || (strcmp(what, "check") != 0 && strcmp(what, "show") != 0))
        return cli_usage(USAGE, "config: check or show?");
    overrides.file = o.config;
    overrides.cache = o.cache;
    if (!config_load(&config, &overrides, &err))
        return cli_fail(&err);
    if (strcmp(what, "show") == 0)
        show(&config, o.json);
    else
        say_good(&config, o.json);
    config_free(&config);
    return EXIT_DONE;
}
