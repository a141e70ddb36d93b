#include "cli/lib/cli.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <llhttp.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <yaml.h>

static const char USAGE[] = "Usage: entrepot version [--json]\n\n"
                            "Prints the versions of entrepot and of the libraries in use.\n\n"
                            "  --json   print JSON\n\n"
                            "Example:\n"
                            "  entrepot version\n";

int cmd_version(int argc, char **argv)
{
    struct cli_options o = {0};
    char llhttp[32];

    int rc = cli_parse(&o, &(struct cli_syntax){.usage = USAGE, .no_daemon = true}, argc, argv);
    if (rc >= 0)
        return rc;
    snprintf(llhttp, sizeof(llhttp), "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
    const struct {
        const char *name, *version;
    } parts[] = {
        {"entrepot", ENTREPOT_VERSION},
        {"libevent", event_get_version()},
        {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"lmdb", mdb_version(NULL, NULL, NULL)},
        {"jansson", jansson_version_str()},
        {"libyaml", yaml_get_version_string()},
        {"llhttp", llhttp},
    };
    json_t *j = json_object();
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        json_object_set_new(j, parts[i].name, json_string(parts[i].version));
        if (!o.json)
            cli_say(stdout, "%-9s %s", parts[i].name, parts[i].version);
    }
    if (o.json)
        cli_print_json(j);
    json_decref(j);
    return EXIT_DONE;
}
