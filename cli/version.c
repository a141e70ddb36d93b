#include "cli/cli.h"

#include <curl/curl.h>
#include <cyaml/cyaml.h>
#include <event2/event.h>
#include <llhttp.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <string.h>

int cmd_version(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    char llhttp[32];

    if (argc > 1 && !json) {
        fputs("Usage: entrepot version [--json]\n", strcmp(argv[1], "--help") == 0 ? stdout : stderr);
        return strcmp(argv[1], "--help") == 0 ? EXIT_DONE : EXIT_USAGE;
    }
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
        {"libcyaml", cyaml_version_str},
        {"llhttp", llhttp},
    };
    json_t *j = json_object();
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        json_object_set_new(j, parts[i].name, json_string(parts[i].version));
        if (!json)
            printf("%-9s %s\n", parts[i].name, parts[i].version);
    }
    if (json)
        cli_print_json(j);
    json_decref(j);
    return EXIT_DONE;
}
