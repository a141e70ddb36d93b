#include "cli/lib/cli.h"
#include "proxy/server.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot serve [--config FILE] [--cache DIR] [--listen ADDR:PORT]... [--offline]\n\n"
    "Runs the cache until SIGTERM. Without a configuration it serves the well-known registries on\n"
    "127.0.0.1:5000, with the cache in /var/lib/entrepot (root) or $XDG_CACHE_HOME/entrepot.\n\n"
    "  --config FILE        instead of " CONFIG_DEFAULT_FILE "\n"
    "  --cache DIR          where blobs and index are kept\n"
    "  --listen ADDR:PORT   where engines connect; unix:/path for a unix socket; may be repeated\n"
    "  --offline            never ask an upstream\n";

struct wish {
    struct config_overrides o;
    const char *listen[CONFIG_LISTEN_MAX + 1];
    int listens;
};

static bool take_listen(void *arg, const char *value, struct err *err)
{
    struct wish *w = arg;

    if (!config_is_address(value))
        return err_set(err, ERR_INVALID, "\"%s\" is not ADDR:PORT (in numbers) or unix:/path", value);
    if (w->listens == CONFIG_LISTEN_MAX)
        return err_set(err, ERR_INVALID, "at most %d addresses", (int)CONFIG_LISTEN_MAX);
    w->listen[w->listens++] = value;
    return true;
}

int cmd_serve(int argc, char **argv)
{
    struct wish w = {0};
    const struct cli_option options[] = {
        {"config", .value = &w.o.file},
        {"cache", .value = &w.o.cache},
        {"listen", .take = take_listen},
        {"offline", .flag = &w.o.offline},
        {0},
    };
    const struct cli_syntax syntax = {USAGE, options, .arg = &w};
    struct config config;
    struct err err = {0};

    int rc = cli_parse(NULL, &syntax, argc, argv);
    if (rc >= 0)
        return rc;
    w.o.listen = w.listens ? w.listen : NULL;
    if (!config_load(&config, &w.o, &err))
        return cli_fail(&err);
    bool ok = server_run(&config, &w.o, &err);
    config_free(&config);
    return ok ? EXIT_DONE : cli_fail(&err);
}
