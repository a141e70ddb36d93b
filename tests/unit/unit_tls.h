/* unit_tls.h - certificates for tests, made on the spot. */
#ifndef ENTREPOT_TESTS_UNIT_TLS_H
#define ENTREPOT_TESTS_UNIT_TLS_H

#include "tests/unit/unit.h"

#include "proxy/http/tls.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* A server's context with a certificate that it has signed itself. */
static inline SSL_CTX *tls_unit_context(const char *host)
{
    SSL_CTX *ctx = http_tls_context();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name;

    assert_true(ctx && key && cert);
    name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

#endif
