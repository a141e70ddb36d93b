/* credentials: {docker_config: FILE}: Docker's config.json (docs.docker.com/reference/cli/docker/#configuration-files)
 * with `auths`, `credHelpers` and `credsStore`; also podman's auth.json, which has the same `auths` with paths in its
 * keys (containers-auth.json(5)). */
#include "upstream/cred/private.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#define HUB_KEY "https://index.docker.io/v1/" /* Docker's name for docker.io */

static bool is_host(const char *name, size_t len, const char *host)
{
    return len == strlen(host) && strncasecmp(name, host, len) == 0;
}

/* Whether a key is for a whole registry: "ghcr.io", "https://ghcr.io/whatever", and "ghcr.io/v2/" as in old files.
 * Without a scheme, any other path is a namespace (podman). */
static bool is_for(const char *key, const char *host)
{
    const char *scheme = strstr(key, "://"), *name = scheme ? scheme + 3 : key;
    size_t len = strcspn(name, "/");
    const char *path = name + len;

    if (!scheme && *path && strcmp(path, "/") != 0 && strcmp(path, "/v1") != 0 && strcmp(path, "/v1/") != 0 &&
        strcmp(path, "/v2") != 0 && strcmp(path, "/v2/") != 0)
        return false;
    return is_host(name, len, host) || (strcmp(host, "docker.io") == 0 && (is_host(name, len, "index.docker.io") ||
                                                                           is_host(name, len, "registry-1.docker.io")));
}

/* Docker's own name for a registry in these files. */
static const char *own_key(const char *host)
{
    return strcmp(host, "docker.io") == 0 ? HUB_KEY : host;
}

/* podman's keys may name a repository or a prefix of one; the longest match wins. Of several keys for the whole
 * registry the one that Docker itself writes wins: others for the same host are not logins
 * ("https://index.docker.io/v1/access-token"). */
static const json_t *find_auth(const json_t *auths, const char *for_host, const char *repository)
{
    _cleanup_free_ char *name = xasprintf("%s/%s", for_host, repository);
    const json_t *best = NULL, *value, *own = json_object_get(auths, own_key(for_host));
    size_t best_len = 0;
    const char *key;

    json_object_foreach((json_t *)auths, key, value) {
        size_t len = strlen(key), host = strlen(for_host);
        bool path = len > host && strncmp(name, key, len) == 0 && (name[len] == '/' || name[len] == '\0');
        if (path && len > best_len) {
            best = value;
            best_len = len;
        } else if (!best && is_for(key, for_host)) {
            best = own ? own : value;
        }
    }
    return best;
}

/* "auth" is base64 of user:password; they may also be separate members. */
static bool docker_take_auth(const json_t *auth, struct cred_identity *id)
{
    size_t len = 0;
    _cleanup_secret_ char *pair = base64_decode(json_string_value(json_object_get(auth, "auth")), &len);
    char *colon = pair ? strchr(pair, ':') : NULL;

    if (colon) {
        id->username = xstrndup(pair, (size_t)(colon - pair));
        id->secret = xstrdup(colon + 1);
    } else {
        id->username = cred_json_text(auth, "username");
        id->secret = cred_json_text(auth, "password");
    }
    char *token = cred_json_text(auth, "identitytoken");
    if (token && token[0]) {
        secret_free(id->secret);
        id->secret = token;
        id->is_identity_token = true;
        return true;
    }
    secret_free(token);
    id->bearer = cred_json_text(auth, "registrytoken");
    return id->bearer || (id->username && id->secret);
}

/* The helper of this registry alone; NULL: none. "": explicitly none, whatever credsStore names. */
static const char *find_own_helper(const json_t *doc, const char *host, const char **server)
{
    const json_t *value;
    const char *key;

    json_object_foreach(json_object_get(doc, "credHelpers"), key, value)
        if (json_is_string(value) && is_for(key, host)) {
            *server = key;
            return json_string_value(value);
        }
    return NULL;
}

static char *docker_copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* As Docker and podman do: the registry's own helper, then the file, then the helper for all. */
bool cred_docker_find(const char *text, const char *host, const char *repository, struct cred_identity *id,
                      char **helper, char **server)
{
    json_t *doc = json_loads(text, 0, NULL); /* its error message would quote the content */
    const char *asked = own_key(host);

    *helper = *server = NULL;
    if (!json_is_object(doc)) {
        json_decref(doc);
        return false;
    }
    const char *name = find_own_helper(doc, host, &asked);
    const json_t *auth = name && *name ? NULL : find_auth(json_object_get(doc, "auths"), host, repository);
    /* Docker leaves an empty object in `auths` for a login that its helper stores. */
    if (json_object_size(auth) == 0 || !docker_take_auth(auth, id)) {
        cred_identity_clear(id); /* half a login is not usable */
        name = name ? name : json_string_value(json_object_get(doc, "credsStore"));
        name = name && *name ? name : NULL;
        *helper = docker_copy(name);
        *server = name ? docker_copy(asked) : NULL;
    }
    json_decref(doc); /* jansson's copy is not wiped: the file still holds it */
    return true;
}

static bool docker_ask(struct cred_task *t, struct err *err)
{
    _cleanup_secret_ char *text = secret_read(t->o->docker_config, err);
    _cleanup_free_ char *helper = NULL, *server = NULL;

    if (!text)
        return false;
    if (!cred_docker_find(text, t->host, t->repository, &t->id, &helper, &server))
        return err_set(err, ERR_INVALID, "%s is not JSON", t->o->docker_config);
    return !helper || cred_ask_helper(t, helper, server, err);
}

const struct cred_backend CRED_DOCKER = {"docker_config", CRED_FOR_IMAGE, 0, docker_ask};
