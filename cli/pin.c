/* `pin` and `unpin`. */
#include "cli/lib/cli.h"

static const char USAGE_PIN[] =
    "Usage: entrepot pin REF... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Keeps images whatever happens: no collection removes them, nor what their tags come to point to.\n";

static const char USAGE_UNPIN[] =
    "Usage: entrepot unpin REF... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Releases pinned images: they may be collected like all others.\n";

int cmd_pin(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE_PIN, "/v1/pin", "pinned", NULL, NULL);
}

int cmd_unpin(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE_UNPIN, "/v1/unpin", "unpinned", NULL, NULL);
}
