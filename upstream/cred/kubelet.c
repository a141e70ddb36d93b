/* credentials: {provider: kubelet, command: PATH, args: [...]}: the exec API of kubelet's image credential providers,
 * so that the cloud vendors' own binaries work (k8s.io/kubelet/pkg/apis/credentialprovider/v1; "Kubelet
 * CredentialProvider (v1)" in the Kubernetes reference). */
#include "upstream/cred/private.h"

#include <fnmatch.h>
#include <jansson.h>
#include <string.h>

#define API_VERSION "credentialprovider.kubelet.k8s.io/v1"

enum { LIFE_MS = 60 * 1000, LIFE_MAX_MS = 24 * 3600 * 1000 };

/* Go's time.Duration as text: "6h0m0s", "1.5h", "300ms". -1 if it is not one. */
static int64_t read_duration(const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"us", 0.001}, {"ns", 0.000001}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    double sum = 0;
    const char *p = text;

    if (strcmp(text, "0") == 0)
        return 0;
    do {
        char *end;
        double n = strtod(p, &end);
        size_t i = 0;
        while (i < ARRAY_LEN(units) && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0)
            i++;
        if (end == p || i == ARRAY_LEN(units) || !(n >= 0 && n < 1e9))
            return -1;
        sum += n * units[i].ms;
        p = end + strlen(units[i].unit);
    } while (*p);
    return sum < (double)LIFE_MAX_MS ? (int64_t)sum : LIFE_MAX_MS;
}

/* A pattern's host may have a * for a label or a part of one; its path is a prefix of the image's. Ports must be equal.
 */
static bool kubelet_matches(const char *pattern, const char *image)
{
    const char *p = strstr(pattern, "://") ? strstr(pattern, "://") + 3 : pattern;
    size_t host = strcspn(p, "/"), image_host = strcspn(image, "/");
    _cleanup_free_ char *glob = xstrndup(p, host), *name = xstrndup(image, image_host);
    size_t dots = 0, image_dots = 0;

    for (const char *c = glob; *c; c++)
        dots += *c == '.';
    for (const char *c = name; *c; c++)
        image_dots += *c == '.';
    return dots == image_dots && fnmatch(glob, name, 0) == 0 &&
           strncmp(image + image_host, p + host, strlen(p + host)) == 0;
}

/* Of several matches, the longest pattern wins. */
static void kubelet_take_auth(struct cred_task *t, const json_t *auths, const char *image)
{
    const json_t *value, *best = NULL;
    const char *key;
    size_t len = 0;

    json_object_foreach((json_t *)auths, key, value)
        if (kubelet_matches(key, image) && (!best || strlen(key) > len)) {
            best = value;
            len = strlen(key);
        }
    t->id.username = cred_json_text(best, "username");
    t->id.secret = cred_json_text(best, "password");
}

static bool take_response(struct cred_task *t, const json_t *doc, const char *image, struct err *err)
{
    const char *version = json_string_value(json_object_get(doc, "apiVersion"));
    const char *kind = json_string_value(json_object_get(doc, "kind"));
    const char *cached_for = json_string_value(json_object_get(doc, "cacheKeyType"));
    const char *duration = json_string_value(json_object_get(doc, "cacheDuration"));

    if (!version || !kind || strcmp(version, API_VERSION) != 0 || strcmp(kind, "CredentialProviderResponse") != 0)
        return err_set(err, ERR_UPSTREAM, "%s: its answer is not a CredentialProviderResponse of " API_VERSION,
                       t->o->command);
    if (!cached_for ||
        (strcmp(cached_for, "Image") != 0 && strcmp(cached_for, "Registry") != 0 && strcmp(cached_for, "Global") != 0))
        return err_set(err, ERR_UPSTREAM, "%s: cacheKeyType is not one of Image, Registry, Global", t->o->command);
    t->scope = cached_for[0] == 'I' ? CRED_FOR_IMAGE : cached_for[0] == 'R' ? CRED_FOR_HOST : CRED_FOR_ALL;
    t->life_ms = duration ? read_duration(duration) : LIFE_MS;
    if (t->life_ms < 0)
        return err_set(err, ERR_UPSTREAM, "%s: cacheDuration is not a duration", t->o->command);
    t->life_ms = MAX(t->life_ms, (int64_t)1000); /* 0: not to be cached; the requests that wait now share it */
    kubelet_take_auth(t, json_object_get(doc, "auth"), image);
    return true;
}

static bool kubelet_ask(struct cred_task *t, struct err *err)
{
    _cleanup_free_ char *image = xasprintf("%s/%s", t->host, t->repository);
    json_t *request =
        json_pack("{s:s, s:s, s:s}", "kind", "CredentialProviderRequest", "apiVersion", API_VERSION, "image", image);
    _cleanup_free_ char *input = json_dumps(request, JSON_COMPACT);
    const char *argv[CRED_ARGS_MAX + 2] = {t->o->command};
    _cleanup_secret_buf_ struct buf out = {0};
    int status = 0;

    json_decref(request);
    for (int i = 0; t->o->args[i]; i++)
        argv[i + 1] = t->o->args[i];
    if (!cred_run(argv, input, t->stop, &out, &status, err))
        return false;
    if (status != 0)
        return err_set(err, ERR_UPSTREAM, "%s ended with status %d", t->o->command, status);
    json_t *doc = json_loads(out.data ? out.data : "", 0, NULL);
    bool ok = take_response(t, doc, image, err);
    json_decref(doc);
    return ok;
}

const struct cred_backend CRED_KUBELET = {"kubelet", CRED_FOR_IMAGE, 0, kubelet_ask};
