/* `help`: what COMMAND --help prints, for those who type it the other way round. */
#include "cli/lib/cli.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot help [COMMAND]\n\n"
    "Prints the help for a command, as its option --help does; without an argument, the list of all commands.\n\n"
    "Examples:\n"
    "  entrepot help\n"
    "  entrepot help pull\n";

void cli_help(FILE *to)
{
    fputs("entrepot - a node-local cache and pull-through proxy for container images\n\nUsage: entrepot COMMAND "
          "[OPTIONS]\n\n",
          to);
    for (const struct cli_command *c = cli_commands; c->name; c++)
        cli_say(to, "  %-10s %s", c->name, c->does);
    fputs("\nSee entrepot COMMAND --help, entrepot(1), and entrepot-COMMAND(1).\n", to);
}

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int cmd_help(int argc, char **argv)
{
    const char *name = NULL;

    int rc = cli_parse(NULL, &(struct cli_syntax){USAGE, .argument = cli_take_argument, .arg = &name}, argc, argv);
    if (rc >= 0)
        return rc;
    if (!name) {
        cli_help(stdout);
        return EXIT_DONE;
    }
    const struct cli_command *command = cli_command_find(name);
    if (!command)
        return cli_usage(USAGE, "help: unknown command \"%s\"", name);
    return command->run(2, (char *[]){(char *)command->name, "--help", NULL});
}
