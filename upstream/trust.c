/* libcurl takes one file of certificates and one folder, each of which replaces the system's. The file that is
 * configured is given to it as that; the system's goes into the same connection's store by hand, which is our own:
 * libcurl does not share stores that are not to be kept (CURLOPT_CA_CACHE_TIMEOUT). Where libcurl is not built with
 * OpenSSL, the system's folder alone is there beside the file. */
#include "upstream/trust.h"

#include "base/log.h"
#include "upstream/reach.h"
#include "upstream/url.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

void trust_copy(struct trust *to, const struct trust *from)
{
    *to = (struct trust){
        .ca = from->ca ? xstrdup(from->ca) : NULL,
        .ca_only = from->ca_only,
        .client_cert = from->client_cert ? xstrdup(from->client_cert) : NULL,
        .client_key = from->client_key ? xstrdup(from->client_key) : NULL,
    };
}

void trust_clear(struct trust *t)
{
    free(t->ca);
    free(t->client_cert);
    free(t->client_key);
    memset(t, 0, sizeof(*t));
}

/* As OpenSSL's own programs and Go's have it: this in place of the system's file. */
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

/* ---- the check ---- */

/* A key that wants a passphrase would have OpenSSL ask at the terminal. */
static int no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *arg UNUSED)
{
    return 0;
}

static bool bad(struct err *err, const char *file)
{
    unsigned long code = ERR_peek_error();
    const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    err_set(err, ERR_IO, "%s: %s", file, why ? why : "is no PEM file");
    ERR_clear_error();
    return false;
}

static bool check_client(SSL_CTX *ctx, const struct trust *t, const char **key, struct err *err)
{
    const char *key_file = t->client_key ? t->client_key : t->client_cert;

    if (!t->client_cert)
        return true;
    *key = "client_cert";
    if (SSL_CTX_use_certificate_chain_file(ctx, t->client_cert) != 1)
        return bad(err, t->client_cert);
    *key = t->client_key ? "client_key" : "client_cert";
    return SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 || bad(err, key_file);
}

bool trust_check(const struct trust *t, const char **key, struct err *err)
{
    if (!t->ca && !t->client_cert)
        return true;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        abort();
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    *key = "ca";
    bool ok = !t->ca || SSL_CTX_load_verify_file(ctx, t->ca) == 1 || bad(err, t->ca);
    ok = ok && check_client(ctx, t, key, err);
    SSL_CTX_free(ctx);
    return ok;
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
    if (t && t->client_cert) /* a session that is resumed shows the certificate that it began with */
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

/* libcurl uses a kept connection again only for a transfer of the same certificate: what one shows is not shown for
 * another. */
void trust_show(void *easy, const struct trust *t, bool show)
{
    CURL *h = easy;

    curl_easy_setopt(h, CURLOPT_SSLCERT, show ? t->client_cert : NULL);
    curl_easy_setopt(h, CURLOPT_SSLKEY, show ? t->client_key ? t->client_key : t->client_cert : NULL);
}
