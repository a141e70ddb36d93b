#include "cli/lib/cli.h"
#include "proxy/server.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot serve [--config FILE] [--cache DIR] [--listen ADDR:PORT]... [--offline]\n\n"
    "Runs the daemon in the foreground until SIGTERM. Without a configuration it serves the well-known registries\n"
    "on 127.0.0.1:5000, with the cache in /var/lib/entrepot (root) or $XDG_CACHE_HOME/entrepot.\n\n"
    "  --config FILE        read FILE in place of " CONFIG_DEFAULT_FILE "\n"
    "  --cache DIR          the cache folder, with blobs and index\n"
    "  --listen ADDR:PORT   listen here in place of the configured addresses; unix:/path for a unix socket; may be\n"
    "                       repeated\n"
    "  --offline            send no requests to registries\n\n"
    "Examples:\n"
    "  entrepot serve\n"
    "  entrepot serve --cache ~/images --listen 127.0.0.1:5000\n";

struct serve_options {
    struct config_overrides o;
    const char *listen[CONFIG_LISTEN_MAX + 1];
    int listens;
};

static bool serve_take_listen(void *arg, const char *value, struct err *err)
{
    struct serve_options *opts = arg;

    if (!config_is_address(value))
        return err_set(err, ERR_INVALID, "\"%s\" is not ADDR:PORT (in numbers) or unix:/path", value);
    if (opts->listens == CONFIG_LISTEN_MAX)
        return err_set(err, ERR_INVALID, "at most %d addresses", (int)CONFIG_LISTEN_MAX);
    opts->listen[opts->listens++] = value;
    return true;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_options opts = {0};
    const struct cli_option options[] = {
        {"config", .value = &opts.o.file},
        {"cache", .value = &opts.o.cache},
        {"listen", .take = serve_take_listen},
        {"offline", .flag = &opts.o.offline},
        {0},
    };
    const struct cli_syntax syntax = {USAGE, options, .arg = &opts};
    struct config config;
    struct err err = {0};

    int rc = cli_parse(NULL, &syntax, argc, argv);
    if (rc >= 0)
        return rc;
    opts.o.listen = opts.listens ? opts.listen : NULL;
    if (!config_load(&config, &opts.o, &err))
        return cli_fail(&err);
    bool ok = server_run(&config, &opts.o, &err);
    config_free(&config);
    return ok ? EXIT_DONE : cli_fail(&err);
}
