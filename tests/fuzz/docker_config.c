/* Docker's config.json, and podman's auth.json. */
#include "tests/fuzz/fuzz.h"
#include "upstream/cred/private.h"

#include <jansson.h>
#include <strings.h>

/* Whether a key of `auths` is a host by itself, or begins with it as a path does: by other means than the product. */
static bool is_about(const char *key, const char *host)
{
    const char *name = strstr(key, "://") ? strstr(key, "://") + 3 : key;
    size_t len = strlen(host);

    return strncasecmp(name, host, len) == 0 && (name[len] == '\0' || name[len] == '/');
}

static bool names_host(const char *text, const char *list, const char *host)
{
    json_t *doc = json_loads(text, 0, NULL), *value;
    const char *key;
    bool found = false;

    json_object_foreach(json_object_get(doc, list), key, value)
        found = found || is_about(key, host) ||
                (strcmp(host, "docker.io") == 0 &&
                 (is_about(key, "index.docker.io") || is_about(key, "registry-1.docker.io")));
    json_decref(doc);
    return found;
}

static void find(const char *text, const char *host, const char *repository)
{
    struct cred_identity id = {0};
    char *helper = NULL, *server = NULL;

    if (cred_docker_find(text, host, repository, &id, &helper, &server)) {
        bool login = id.username || id.secret || id.bearer;
        MUST(!login || names_host(text, "auths", host));
        MUST(!login || id.bearer || id.is_identity_token || (id.username && id.secret));
        MUST(!helper == !server && !(login && helper));
        MUST(!helper || strcmp(server, host) == 0 || strcmp(host, "docker.io") == 0 ||
             names_host(text, "credHelpers", host));
    } else {
        MUST(!helper && !server && !id.username && !id.secret);
    }
    free(helper);
    free(server);
    cred_identity_clear(&id);
}

/* A login is for the host that it stands beside, and whole, or there is none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);

    find(text, "docker.io", "library/nginx");
    find(text, "ghcr.io", "team/app");
    find(text, "localhost:5000", "a");
    return 0;
}
