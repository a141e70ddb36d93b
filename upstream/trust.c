/* libcurl takes one file of certificates and one folder, each of which replaces the system's. It is given the
 * configured file; the system's file is added to the store of each connection, which is not shared: libcurl does not
 * share stores that are not to be cached (CURLOPT_CA_CACHE_TIMEOUT). Where libcurl is not built with OpenSSL, only the
 * system's folder is used beside the configured file. */
#include "upstream/trust.h"

#include "base/log.h"
#include "base/url.h"
#include "upstream/reach.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/* As in OpenSSL's programs and Go: this replaces the system's file. */
static const char *named_system_file(void)
{
    const char *file = getenv("SSL_CERT_FILE");

    return file && *file ? file : NULL;
}

static const char *system_file(void)
{
    const char *named = named_system_file();

    return named ? named : curl_version_info(CURLVERSION_NOW)->cainfo;
}

/* ---- transfers ---- */

static CURLcode add_system(CURL *easy UNUSED, void *ctx, void *arg UNUSED)
{
    const char *file = system_file();

    if (file && X509_STORE_load_file(SSL_CTX_get_cert_store(ctx), file) != 1)
        log_limited(LOG_LEVEL_WARN, "system's certificates", "%s, the system's certificates, cannot be read", file);
    ERR_clear_error();
    return CURLE_OK;
}

static void apply_ca(CURL *h, const struct trust *t)
{
    curl_easy_setopt(h, CURLOPT_CAINFO, t->ca);
    curl_easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* it may change */
    if (t->ca_only)
        curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    else
        curl_easy_setopt(h, CURLOPT_SSL_CTX_FUNCTION, add_system);
}

void trust_apply(void *easy, const struct trust *t)
{
    CURL *h = easy;

    if (t && t->ca)
        apply_ca(h, t);
    else if (named_system_file())
        curl_easy_setopt(h, CURLOPT_CAINFO, named_system_file());
    if (t && t->client_cert) /* a resumed session shows the certificate that it began with */
        curl_easy_setopt(h, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

/* ---- the client's certificate ---- */

bool trust_may_show(const struct trust *t, const char *const *shown_to, const char *url)
{
    char own[256], there[256];

    if (!t || !t->client_cert || !url_is_https(url) || !url_authority(url, there, sizeof(there)))
        return false;
    for (; shown_to && *shown_to; shown_to++) {
        const char *const pattern[] = {*shown_to, NULL};
        if (!strstr(*shown_to, "://") && reach_is_named(url, pattern))
            return true;
        if (url_is_https(*shown_to) && url_authority(*shown_to, own, sizeof(own)) && strcmp(own, there) == 0)
            return true;
    }
    return false;
}

/* libcurl reuses a connection only for a transfer with the same certificate: one that was shown for a transfer does not
 * serve another. */
void trust_show(void *easy, const struct trust *t, bool show)
{
    CURL *h = easy;

    curl_easy_setopt(h, CURLOPT_SSLCERT, show ? t->client_cert : NULL);
    curl_easy_setopt(h, CURLOPT_SSLKEY, show ? t->client_key ? t->client_key : t->client_cert : NULL);
}
