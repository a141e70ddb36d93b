#include "cli/cli.h"

static const char USAGE[] = "Usage: entrepot rm REF... [--json] [--socket PATH] [--cache DIR]\n\n"
                            "Drops images: the tag, and every blob that no other image needs.\n";

static void print(const json_t *answer)
{
    char size[CLI_TEXT];

    cli_say(stdout, "freed %s in %lld blobs", cli_size(cli_bytes(answer, "freed_bytes"), size),
            (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
}

int cmd_rm(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE, "/v1/rm", "removed", print);
}
