/* libcurl takes one file of certificates and one folder, each of which replaces the system's, and reads the file again
 * for each connection: it keeps what it has read only where there is no folder (CURLOPT_CA_CACHE_TIMEOUT), and Debian
 * has one. The system's file has some 140 certificates: reading it is most of the work of a connection. So libcurl is
 * given the configured file alone, and the system's file, which is read here once, and again when it has changed, is
 * added to the store of each connection. Where libcurl is not built with OpenSSL, it reads the system's itself, and
 * only the system's folder is used beside a configured file. */
#include "upstream/trust.h"

#include "base/log.h"
#include "base/tls_files.h"
#include "base/url.h"
#include "upstream/reach.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
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

/* ---- the system's certificates ---- */

/* What the file had when it was last read. */
static struct {
    pthread_mutex_t lock; /* for everything */
    char *file;
    X509_STORE *store; /* NULL: it could not be read */
    uint64_t stamp;
} in_memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock. */
static void read_system(const char *file, uint64_t stamp)
{
    X509_STORE *store = X509_STORE_new();

    if (!store)
        abort(); /* as without memory anywhere */
    if (X509_STORE_load_file(store, file) != 1) {
        log_limited(LOG_LEVEL_WARN, "system's certificates", "%s, the system's certificates, cannot be read", file);
        X509_STORE_free(store);
        store = NULL;
    }
    ERR_clear_error();
    X509_STORE_free(in_memory.store);
    free(in_memory.file);
    in_memory.file = xstrdup(file);
    in_memory.store = store;
    in_memory.stamp = stamp;
}

/* Under the lock; NULL: there is none, or it cannot be read. */
static X509_STORE *look_at_system(void)
{
    const char *file = system_file();
    uint64_t stamp = file ? tls_files_stamp(&(struct tls_files){.cert = file}) : 0;

    if (!file)
        return NULL;
    if (!in_memory.file || strcmp(in_memory.file, file) != 0 || in_memory.stamp != stamp)
        read_system(file, stamp);
    return in_memory.store;
}

/* Certificates are shared, not copied. libcurl calls this for a TLS proxy, too. */
static CURLcode add_system(CURL *easy UNUSED, void *ctx, void *arg UNUSED)
{
    X509_STORE *to = SSL_CTX_get_cert_store(ctx);

    pthread_mutex_lock(&in_memory.lock);
    X509_STORE *store = look_at_system();
    STACK_OF(X509_OBJECT) *all = store ? X509_STORE_get0_objects(store) : NULL;
    for (int i = 0; all && i < sk_X509_OBJECT_num(all); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (cert)
            X509_STORE_add_cert(to, cert);
    }
    pthread_mutex_unlock(&in_memory.lock);
    ERR_clear_error();
    return CURLE_OK;
}

static bool has_system(void)
{
    pthread_mutex_lock(&in_memory.lock);
    bool there = look_at_system() != NULL;
    pthread_mutex_unlock(&in_memory.lock);
    return there;
}

/* ---- transfers ---- */

static void apply_ca(CURL *h, const struct trust *t)
{
    curl_easy_setopt(h, CURLOPT_CAINFO, t->ca);
    curl_easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* it may change */
    if (t->ca_only)
        curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    else
        curl_easy_setopt(h, CURLOPT_SSL_CTX_FUNCTION, add_system);
}

/* What cannot be read is left to libcurl, whose error it is. */
static void apply_system(CURL *h)
{
    if (has_system() && curl_easy_setopt(h, CURLOPT_SSL_CTX_FUNCTION, add_system) == CURLE_OK) {
        curl_easy_setopt(h, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* where it has no folder, it would keep what was added */
    } else if (named_system_file())
        curl_easy_setopt(h, CURLOPT_CAINFO, named_system_file());
}

void trust_apply(void *easy, const struct trust *t)
{
    CURL *h = easy;

    if (t && t->ca)
        apply_ca(h, t);
    else
        apply_system(h);
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
