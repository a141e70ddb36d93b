#include "cli/lib/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command COMMANDS[] = {
    {"serve", cmd_serve, "run the daemon"},
    {"status", cmd_status, "show hits, bytes saved, upstreams, transfers"},
    {"peers", cmd_peers, "show the nodes of the cluster, and how they do"},
    {"pulls", cmd_pulls, "show who pulled what"},
    {"top", cmd_top, "show pulls and downloads in flight, live"},
    {"ls", cmd_ls, "list the images in the cache"},
    {"du", cmd_du, "show what the removal of images would free"},
    {"inspect", cmd_inspect, "show an image's platforms, config and layers"},
    {"pull", cmd_pull, "pull images into the cache"},
    {"export", cmd_export, "write images to a folder or an archive"},
    {"import", cmd_import, "read images from a folder or an archive"},
    {"rm", cmd_rm, "remove images"},
    {"pin", cmd_pin, "protect images from garbage collection"},
    {"unpin", cmd_unpin, "allow garbage collection to remove images again"},
    {"gc", cmd_gc, "run garbage collection now"},
    {"verify", cmd_verify, "check every blob and the index"},
    {"offline", cmd_offline, "switch offline mode on or off"},
    {"ca", cmd_ca, "show or replace the authority of interception"},
    {"setup", cmd_setup, "lead the engines of this node to entrepot, or back"},
    {"doctor", cmd_doctor, "find what keeps engines from pulling through entrepot"},
    {"debug", cmd_debug, "collect what a report of a bug needs"},
    {"config", cmd_config, "check or show the configuration, or what of it is not in use"},
    {"reload", cmd_reload, "apply the configuration to the running daemon"},
    {"version", cmd_version, "print the versions of entrepot and its libraries"},
    {"completion", cmd_completion, "print the completion for a shell"},
    {"help", cmd_help, "print the help for a command"},
    {0},
};

/* A failed write to stdout (a full disk, a closed pipe) makes the command fail. */
static int flushed(int rc)
{
    int why;

    if (!cli_stdout_failed(&why))
        return rc;
    if (why != EPIPE)
        cli_say(stderr, "entrepot: writing the output: %s", strerror(why));
    return rc == EXIT_DONE ? EXIT_FAILED : rc;
}

/* If one of the first three descriptors is closed, the next file or socket would get its number. /dev/null takes its
 * place, opened in the wrong direction, so that reading or writing it still fails. */
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
    cli_commands = COMMANDS;
    if (argc < 2) {
        cli_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return flushed(cmd_help(1, (char *[]){"help", NULL}));
    if (strcmp(argv[1], "--version") == 0)
        return flushed(cmd_version(1, (char *[]){"version", NULL}));
    const struct cli_command *command = cli_command_find(argv[1]);
    if (command)
        return flushed(command->run(argc - 1, argv + 1));
    cli_say(stderr, "entrepot: unknown command \"%s\"; see entrepot --help", argv[1]);
    return EXIT_USAGE;
}
