/* Whether other nodes accept a certificate, found out at the node that has it. */
#include "base/tls_files.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { VERIFY_NAMES_MAX = 200 }; /* characters of a message */

/* Its dates are left to those who look at them. X509_V_OK, or why not. */
static int verify_as(SSL_CTX *ctx, X509_STORE *authorities, int purpose)
{
    X509_STORE_CTX *verify = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_get0_chain_certs(ctx, &chain);
    if (!verify || X509_STORE_CTX_init(verify, authorities, SSL_CTX_get0_certificate(ctx), chain) != 1)
        abort(); /* as without memory anywhere */
    X509_STORE_CTX_set_purpose(verify, purpose);
    X509_STORE_CTX_set_flags(verify, X509_V_FLAG_NO_CHECK_TIME);
    if (purpose == X509_PURPOSE_SSL_SERVER) /* as libcurl does */
        X509_STORE_CTX_set_flags(verify, X509_V_FLAG_PARTIAL_CHAIN);
    int why = X509_verify_cert(verify) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(verify);
    bool own = X509_STORE_CTX_get_error_depth(verify) == 0;
    X509_STORE_CTX_free(verify);
    ERR_clear_error();
    return why == X509_V_ERR_INVALID_PURPOSE && !own ? X509_V_ERR_INVALID_CA : why;
}

static bool verify_use(const struct tls_files *f, SSL_CTX *ctx, X509_STORE *authorities, bool server, struct err *err)
{
    int why = verify_as(ctx, authorities, server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);

    if (why == X509_V_ERR_INVALID_PURPOSE)
        return err_set(
            err, ERR_INVALID,
            "%s is not for %s: make one with extendedKeyUsage=serverAuth,clientAuth, since each node is both", f->cert,
            server ? "servers" : "clients");
    return why == X509_V_OK || err_set(err, ERR_INVALID,
                                       "%s is not of an authority that %s has (%s): other nodes, which have the same, "
                                       "refuse it",
                                       f->cert, f->client_ca, X509_verify_cert_error_string(why));
}

/* Without any name libcurl looks at the CommonName, too. */
static bool verify_address(const struct tls_files *f, X509 *cert, const char *ip, struct err *err)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    BIO *text = BIO_new(BIO_s_mem());
    char cn[256] = "", *data;

    if (!text)
        abort(); /* as without memory anywhere */
    for (int i = 0; i < count; i++) {
        BIO_puts(text, i > 0 ? ", " : "");
        GENERAL_NAME_print(text, sk_GENERAL_NAME_value(names, i));
    }
    if (count == 0)
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
    long len = BIO_get_mem_data(text, &data);
    bool ok = X509_check_ip_asc(cert, ip, 0) == 1 || (count == 0 && strcmp(cn, ip) == 0);
    if (!ok)
        err_set(err, ERR_INVALID, "%s is not for %s (it is for %.*s): make one with subjectAltName=IP:%s", f->cert, ip,
                len > 0 ? (int)MIN(len, (long)VERIFY_NAMES_MAX) : 7, len > 0 ? data : "no name", ip);
    BIO_free(text);
    GENERAL_NAMES_free(names);
    return ok;
}

bool tls_files_verify(const struct tls_files *f, const char *ip, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    const char *fault;

    if (!ctx)
        abort(); /* as without memory anywhere */
    X509_STORE *authorities = SSL_CTX_get_cert_store(ctx);
    bool ok = tls_files_load(f, ctx, &fault, err) && verify_use(f, ctx, authorities, true, err) &&
              verify_use(f, ctx, authorities, false, err) && verify_address(f, SSL_CTX_get0_certificate(ctx), ip, err);
    SSL_CTX_free(ctx);
    return ok;
}
