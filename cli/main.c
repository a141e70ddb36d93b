#include "cli/lib/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} COMMANDS[] = {
    {"serve", cmd_serve, "run the cache"},
    {"status", cmd_status, "how it is doing: hits, bytes saved, upstreams, transfers"},
    {"ls", cmd_ls, "images in the cache"},
    {"inspect", cmd_inspect, "an image's platforms, config and layers"},
    {"pull", cmd_pull, "bring images in"},
    {"export", cmd_export, "write images into a folder or an archive"},
    {"import", cmd_import, "bring them in from there"},
    {"rm", cmd_rm, "drop images"},
    {"pin", cmd_pin, "keep images whatever happens"},
    {"unpin", cmd_unpin, "release them"},
    {"gc", cmd_gc, "collect now"},
    {"verify", cmd_verify, "hash every blob again, count every reference anew"},
    {"offline", cmd_offline, "ask registries, or do not"},
    {"config", cmd_config, "check or show the configuration"},
    {"version", cmd_version, "version, and versions of libraries"},
};

static const char *const LATER[] = {"setup", "doctor", "pulls", "top", "ca", "completion"};

static void help(FILE *out)
{
    fputs("entrepot - a node's cache and pull-through proxy for container images\n\nUsage: entrepot COMMAND "
          "[OPTIONS]\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        cli_say(out, "  %-9s %s", COMMANDS[i].name, COMMANDS[i].does);
    fputs("\nentrepot COMMAND --help says more; so does entrepot(1).\n", out);
}

/* What was printed has to arrive: a full disk or a closed pipe is a failure too. */
static int flushed(int rc)
{
    int why;

    if (!cli_stdout_failed(&why))
        return rc;
    if (why != EPIPE)
        cli_say(stderr, "entrepot: writing the output: %s", strerror(why));
    return rc == EXIT_DONE ? EXIT_FAILED : rc;
}

/* A closed descriptor of the first three would be the next file's or socket's. It is taken the wrong way round, so that
 * reading or writing it fails as on a closed one. */
static void take_closed(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd)
            _exit(EXIT_FAILED);
}

int main(int argc, char **argv)
{
    take_closed();
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return flushed(EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0)
        return flushed(cmd_version(1, (char *[]){"version", NULL}));
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        if (strcmp(argv[1], COMMANDS[i].name) == 0)
            return flushed(COMMANDS[i].run(argc - 1, argv + 1));
    for (size_t i = 0; i < ARRAY_LEN(LATER); i++)
        if (strcmp(argv[1], LATER[i]) == 0) {
            cli_say(stderr, "entrepot: %s is not in version " ENTREPOT_VERSION " yet", argv[1]);
            return EXIT_USAGE;
        }
    cli_say(stderr, "entrepot: there is no command \"%s\"; entrepot --help lists them", argv[1]);
    return EXIT_USAGE;
}
