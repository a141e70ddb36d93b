#include "cli/cli.h"
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

int cmd_serve(int argc, char **argv)
{
    struct config_overrides o = {0};
    const char *listen[CONFIG_LISTEN_MAX + 1] = {0};
    struct config config;
    struct err err = {0};
    int listens = 0;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(USAGE, stdout);
            return EXIT_DONE;
        }
        if (strcmp(argv[i], "--offline") == 0) {
            o.offline = true;
            continue;
        }
        if (strcmp(argv[i], "--config") == 0)
            o.file = value;
        else if (strcmp(argv[i], "--cache") == 0)
            o.cache = value;
        else if (strcmp(argv[i], "--listen") == 0 && listens == CONFIG_LISTEN_MAX)
            return cli_usage(USAGE, "serve: at most %d addresses", (int)CONFIG_LISTEN_MAX);
        else if (strcmp(argv[i], "--listen") == 0)
            listen[listens++] = value;
        else
            return cli_usage(USAGE, "serve: \"%s\" is not an option", argv[i]);
        if (!value)
            return cli_usage(USAGE, "serve: %s needs a value", argv[i]);
        i++;
    }
    o.listen = listens ? listen : NULL;
    if (!config_load(&config, &o, &err))
        return cli_fail(&err);
    bool ok = server_run(&config, &o, &err);
    config_free(&config);
    return ok ? EXIT_DONE : cli_fail(&err);
}
