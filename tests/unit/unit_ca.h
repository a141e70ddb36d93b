/* unit_ca.h - an authority of interception in a folder of the test's own. */
#ifndef ENTREPOT_TESTS_UNIT_CA_H
#define ENTREPOT_TESTS_UNIT_CA_H

#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/intercept/ca.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/stat.h>

UNUSED static const char *const HOSTS[] = {"docker.io", "ghcr.io", "*.pkg.dev", "*.dkr.ecr.*.amazonaws.com", NULL};

enum { DAY_MS = 86400 * 1000 };

struct home {
    char *dir, *cert, *key;
    struct authority_files files;
};

UNUSED static int home_make(void **state)
{
    struct home *h = xcalloc(1, sizeof(*h));

    h->dir = make_folder();
    h->cert = xasprintf("%s/ca.crt", h->dir);
    h->key = xasprintf("%s/ca.key", h->dir);
    h->files = (struct authority_files){h->cert, h->key};
    *state = h;
    return 0;
}

UNUSED static int home_remove(void **state)
{
    struct home *h = *state;

    remove_tree(h->dir);
    free(h->cert);
    free(h->key);
    free(h);
    return 0;
}

UNUSED static struct ca *open_ca(const struct home *h)
{
    struct err err = {0};
    struct ca *ca = ca_open(&h->files, HOSTS, &err);

    if (!ca)
        fail_msg("%s", err.msg);
    return ca;
}

UNUSED static X509 *read_cert(const char *file)
{
    FILE *f = fopen(file, "r");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    assert_non_null(cert);
    fclose(f);
    return cert;
}

UNUSED static EVP_PKEY *read_private(const char *file)
{
    FILE *f = fopen(file, "r");
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

    assert_non_null(key);
    fclose(f);
    return key;
}

UNUSED static void write_text(const char *file, const char *text)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What a client that trusts the authority says to a certificate for this host; 0: it is right. */
UNUSED static int judged_behind(X509 *root, X509 *leaf, STACK_OF(X509) * sent, const char *host)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    X509_STORE_add_cert(store, root);
    X509_STORE_CTX_init(ctx, store, leaf, sent);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    if (host)
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    int why = X509_verify_cert(ctx) == 1 ? 0 : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return why;
}

UNUSED static int judged(X509 *root, X509 *leaf, const char *host)
{
    return judged_behind(root, leaf, NULL, host);
}

UNUSED static mode_t mode_of(const char *file)
{
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    return st.st_mode & 07777;
}

UNUSED static long serial_of(struct ca *ca, const char *host)
{
    SSL_CTX *ctx = ca_context(ca, host);

    assert_non_null(ctx);
    const ASN1_INTEGER *serial = X509_get0_serialNumber(SSL_CTX_get0_certificate(ctx));
    long low = 0;
    for (int i = 0; i < serial->length && i < 7; i++)
        low = low << 8 | serial->data[i];
    SSL_CTX_free(ctx);
    return low;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, home_make, home_remove)

#endif
