#include "cli/setup/probe.h"

#include "cli/setup/place.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

enum { PROBE_SECONDS = 30 };

/* Images that are public, small and have been there for years. */
static const struct {
    const char *registry, *repository, *tag;
} WELL_KNOWN[] = {
    {"docker.io", "library/alpine", "3"},
    {"registry.k8s.io", "pause", "3.9"},
    {"quay.io", "prometheus/busybox", "latest"},
    {"mcr.microsoft.com", "hello-world", "latest"},
};

struct probe_answer {
    char cache_status[128];
};

static size_t probe_take_header(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "cache-status:";
    struct probe_answer *a = arg;
    size_t len = size * count;

    if (len > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
        const char *value = data + sizeof(name) - 1;
        value += strspn(value, " ");
        snprintf(a->cache_status, sizeof(a->cache_status), "%.*s", (int)strcspn(value, "\r\n"), value);
    }
    return len;
}

static char *probe_url(const struct setup_target *t, enum setup_way way, const char *registry, const char *repository,
                       const char *tag)
{
    if (t->proxy)
        return xasprintf("https://%s/v2/%s/manifests/%s", setup_server_of(registry), repository, tag);
    _cleanup_free_ char *url = setup_url_of(t);
    if (way == SETUP_BY_NS)
        return xasprintf("%s/v2/%s/manifests/%s?ns=%s", url, repository, tag, registry);
    if (way == SETUP_BY_PREFIX)
        return xasprintf("%s/v2/%s/%s/manifests/%s", url, registry, repository, tag);
    return xasprintf("%s/v2/%s/manifests/%s", url, repository, tag);
}

static bool probe_said(CURL *c, CURLcode rc, const struct setup_target *t, struct err *err)
{
    long connected = 0;

    if (rc == CURLE_OK)
        return true;
    curl_easy_getinfo(c, CURLINFO_HTTP_CONNECTCODE, &connected);
    if (t->proxy && rc == CURLE_PEER_FAILED_VERIFICATION)
        return err_set(
            err, ERR_UPSTREAM,
            "the certificate is not one of %s: the proxy is not entrepot's, was not reloaded since `entrepot "
            "ca --rotate`, or intercept.hosts does not have this registry",
            t->ca);
    if (connected > 0 && connected != 200)
        return err_set(err, ERR_UPSTREAM, "the proxy answers CONNECT with %ld", connected);
    return err_set(err, ERR_UNREACHABLE, "%s", curl_easy_strerror(rc));
}

static bool probe_head(const struct setup_target *t, const char *root, const char *url, struct probe_answer *a,
                       long *status, struct err *err)
{
    static const char accept[] = "Accept: application/vnd.oci.image.index.v1+json, "
                                 "application/vnd.docker.distribution.manifest.list.v2+json, "
                                 "application/vnd.oci.image.manifest.v1+json, "
                                 "application/vnd.docker.distribution.manifest.v2+json";
    struct curl_slist *headers = curl_slist_append(NULL, accept);
    CURL *c = curl_easy_init();
    CURLcode rc = CURLE_FAILED_INIT;
    struct curl_blob blob = {0};
    _cleanup_free_ char *ca = t->proxy ? place_resolve(root, t->ca, NULL) : NULL;

    if (t->certificate)
        blob = (struct curl_blob){t->certificate->bytes.data, t->certificate->bytes.len, CURL_BLOB_COPY};
    if (c && headers) {
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        curl_easy_setopt(c, CURLOPT_NOPROXY, t->proxy ? "" : "*");
        if (t->proxy)
            curl_easy_setopt(c, CURLOPT_PROXY, t->proxy);
        if (ca)
            curl_easy_setopt(c, CURLOPT_CAINFO, ca);
        if (t->certificate)
            curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)PROBE_SECONDS);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "entrepot-setup/" ENTREPOT_VERSION);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, probe_take_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
        rc = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    }
    bool ok = probe_said(c, rc, t, err);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    return ok;
}

bool setup_probe(const struct setup_target *t, enum setup_way way, const char *root, char *answer, size_t cap,
                 struct err *err)
{
    struct probe_answer a = {0};
    size_t i = 0;
    long status = 0;

    while (i < ARRAY_LEN(WELL_KNOWN) && !setup_target_has(t, WELL_KNOWN[i].registry))
        i++;
    bool known = i < ARRAY_LEN(WELL_KNOWN);
    if (t->count == 0)
        return err_set(err, ERR_INVALID, "intercept.hosts has patterns alone: there is no registry to ask for");
    const char *registry = known ? WELL_KNOWN[i].registry : t->registries[0];
    const char *repository = known ? WELL_KNOWN[i].repository : "entrepot/check",
               *tag = known ? WELL_KNOWN[i].tag : "1";
    _cleanup_free_ char *url = probe_url(t, way, registry, repository, tag);
    if (!probe_head(t, root, url, &a, &status, err))
        return t->proxy && err->code != ERR_UNREACHABLE
                   ? err_wrap(err, "%s through %s", registry, t->address)
                   : err_wrap(err, "entrepot does not answer at %s; is it running? (systemctl status entrepot)",
                              t->address);
    if (strncmp(a.cache_status, "entrepot", strlen("entrepot")) != 0 && status == 200)
        return err_set(err, ERR_UPSTREAM, "%s is not entrepot: it answers without Cache-Status", t->address);
    /* Of a registry of which we know no image, an image that is not there, or not for everybody, is an answer. */
    if (status != 200 && (known || status >= 500 || status == 0))
        return err_set(err, ERR_UPSTREAM, "entrepot answers %ld for %s/%s:%s", status, registry, repository, tag);
    snprintf(answer, cap, "%s/%s:%s: entrepot at %s answers %ld (%s)", registry, repository, tag, t->address, status,
             a.cache_status[0] ? a.cache_status : "without Cache-Status");
    return true;
}
