/* `pin` and `unpin`. */
#include "cli/lib/cli.h"

static const char USAGE_PIN[] =
    "Usage: entrepot pin REF... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Protects images from garbage collection, also those that their tags point to later.\n\n"
    "Example:\n"
    "  entrepot pin registry.k8s.io/pause:3.9\n";

static const char USAGE_UNPIN[] =
    "Usage: entrepot unpin REF... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Unpins images: garbage collection may remove them again.\n\n"
    "Example:\n"
    "  entrepot unpin registry.k8s.io/pause:3.9\n";

int cmd_pin(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE_PIN, "/v1/pin", "pinned");
}

int cmd_unpin(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE_UNPIN, "/v1/unpin", "unpinned");
}
