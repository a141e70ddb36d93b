#include "proxy/http/tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/tickets.h"
#include "proxy/http/tls_name.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { EXPIRES_SOON_S = 14 * 86400, DAY_S = 86400 };

/* Every engine has one of them (Go since 1.2, OpenSSL since 1.0.1); TLS 1.3 has no others. In our order, the fastest
 * first; of clients that want ChaCha20 first, as those without AES in hardware do, in theirs. */
static const char CIPHERS[] = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20";
static const char SUITES[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/* None of the finite fields that OpenSSL permits besides: a handshake of ffdhe8192 costs as much as 200 of these.
 * The first is that of OpenSSL 3.5. */
static const char GROUPS_LATEST[] = "X25519MLKEM768:X25519:P-256:P-384:P-521",
                  GROUPS_ANY[] = "X25519:P-256:P-384:P-521";

struct http_tls {
    /* set once */
    char *name, *cert, *key, *client_ca;
    struct tls_files files;
    struct tls_chooser chooser; /* instead of files */
    /* the main thread's */
    uint64_t stamp, seen; /* of what was loaded, or could not be; of the last look */
    int64_t warned_s;     /* when the log last warned of its end */
    int64_t failed_s;     /* since when changed files cannot be used; 0: they can */
    struct err fault;     /* why */
    /* shared, under `lock` */
    pthread_mutex_t lock;
    SSL_CTX *ctx;
    int64_t expires_s;
};

/* Of what the client offers; no common protocol is an error (RFC 7301 §3.2). */
static int choose_protocol(SSL *ssl UNUSED, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg UNUSED)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Whether there is kernel TLS: else OpenSSL would try it in vain with each connection. The attempt loads the module
 * where the process may do that. */
static bool kernel_has_tls(void)
{
    static const char name[] = "tls";
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && (setsockopt(fd, IPPROTO_TCP, TCP_ULP, name, sizeof(name) - 1) == 0 || errno == ENOTCONN);
}

static bool set_groups(SSL_CTX *ctx)
{
    bool ok = SSL_CTX_set1_groups_list(ctx, GROUPS_LATEST) == 1 || SSL_CTX_set1_groups_list(ctx, GROUPS_ANY) == 1;

    ERR_clear_error();
    return ok;
}

SSL_CTX *http_tls_context(void)
{
    static const unsigned char id[] = "entrepot";
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SUITES) != 1 || !set_groups(ctx) ||
        SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) != 1)
        abort(); /* as without memory anywhere */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 (kernel_has_tls() ? SSL_OP_ENABLE_KTLS : 0));
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    http_tickets_add(ctx);
    return ctx;
}

static int64_t expiry_of(const SSL_CTX *ctx)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    struct tm tm = {0};

    return cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void warn_of_end(struct http_tls *t)
{
    int64_t now = clock_now_s(), left = t->expires_s - now;

    if (left > EXPIRES_SOON_S || (t->warned_s > 0 && now - t->warned_s < DAY_S))
        return;
    t->warned_s = now;
    if (left <= 0)
        log_warn("TLS on %s: the certificate %s has expired: clients refuse it", t->name, t->cert);
    else
        log_warn("TLS on %s: the certificate %s expires in %lld h", t->name, t->cert, (long long)(left / 3600));
}

static bool load(struct http_tls *t, struct err *err)
{
    SSL_CTX *ctx = http_tls_context(), *old;
    const char *fault;

    if (!tls_files_load(&t->files, ctx, &fault, err)) {
        SSL_CTX_free(ctx);
        return false;
    }
    if (tls_files_key_is_open(&t->files))
        log_warn("TLS on %s: every user of this machine can read the key %s (chmod o-r)", t->name, t->key);
    pthread_mutex_lock(&t->lock);
    old = t->ctx;
    t->ctx = ctx;
    t->expires_s = expiry_of(ctx);
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* connections under it hold it, too */
    t->warned_s = 0;
    warn_of_end(t);
    return true;
}

struct http_tls *http_tls_new(const char *name, const struct tls_files *files, struct err *err)
{
    struct http_tls *t = xcalloc(1, sizeof(*t));

    t->name = xstrdup(name);
    t->cert = xstrdup(files->cert);
    t->key = xstrdup(files->key);
    t->client_ca = files->client_ca ? xstrdup(files->client_ca) : NULL;
    t->files = (struct tls_files){t->cert, t->key, t->client_ca};
    pthread_mutex_init(&t->lock, NULL);
    t->stamp = t->seen = tls_files_stamp(&t->files);
    if (load(t, err))
        return t;
    err_wrap(err, "TLS on %s", name);
    http_tls_free(t);
    return NULL;
}

struct http_tls *http_tls_new_by_name(const char *name, struct ssl_ctx_st *(*choose)(void *arg, const char *host),
                                      void *arg)
{
    struct http_tls *t = xcalloc(1, sizeof(*t));

    t->name = xstrdup(name);
    t->chooser = (struct tls_chooser){choose, arg};
    pthread_mutex_init(&t->lock, NULL);
    t->ctx = http_tls_context();
    tls_name_decides(t->ctx, &t->chooser);
    return t;
}

/* Certificate and key are two files: between two looks at which nothing changes both have been written. */
void http_tls_look(struct http_tls *t, bool now)
{
    if (t->chooser.choose)
        return;
    uint64_t stamp = tls_files_stamp(&t->files);
    bool settled = stamp == t->seen;
    struct err err = {0};
    t->seen = stamp;
    warn_of_end(t);
    if (stamp == t->stamp || (!settled && !now))
        return;
    t->stamp = stamp;
    if (load(t, &err)) {
        t->failed_s = 0;
        log_info("TLS on %s: certificate and key are loaded again", t->name);
        return;
    }
    t->failed_s = t->failed_s > 0 ? t->failed_s : clock_now_s();
    t->fault = err;
    log_error("TLS on %s: the changed files cannot be used, the last certificate stays in use: %s", t->name, err.msg);
}

int64_t http_tls_failed_s(const struct http_tls *t, const char **why)
{
    *why = t->fault.msg;
    return t->failed_s;
}

int64_t http_tls_expires_s(struct http_tls *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t at = t->expires_s;
    pthread_mutex_unlock(&t->lock);
    return at;
}

const char *http_tls_name(const struct http_tls *t)
{
    return t->name;
}

struct ssl_st *http_tls_open(struct http_tls *t)
{
    pthread_mutex_lock(&t->lock);
    SSL *ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->lock);
    return ssl;
}

void http_tls_free(struct http_tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    free(t->name);
    free(t->cert);
    free(t->key);
    free(t->client_ca);
    free(t);
}
