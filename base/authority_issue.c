/* Certificates: the authority's own, and those that it issues. */
#include "base/authority_private.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

enum { SERIAL_BYTES = 16, COMMON_NAME_MAX = 64 /* RFC 5280, ub-common-name */, YEAR_S = 31557600, HOST_SHOWN = 24 };

/* What OpenSSL refuses here it would refuse without memory only. */
static void issue_must(bool ok)
{
    if (!ok)
        abort();
}

EVP_PKEY *authority_new_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    issue_must(key != NULL);
    return key;
}

/* 128 random bits, positive. */
static void set_serial(X509 *cert, unsigned char raw[SERIAL_BYTES])
{
    issue_must(RAND_bytes(raw, SERIAL_BYTES) == 1);
    BIGNUM *n = BN_bin2bn(raw, SERIAL_BYTES, NULL);
    issue_must(n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)));
    BN_free(n);
}

static void set_times(X509 *cert, int64_t begins_s, int64_t ends_s)
{
    issue_must(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)begins_s) &&
               ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)ends_s));
}

static void add_common_name(X509 *cert, const char *name)
{
    issue_must(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)name,
                                          -1, -1, 0) == 1);
}

/* `value` as in openssl.cnf. False: it cannot be made, which is so of an issuer without a key identifier alone. */
static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* An authority whose key says itself how it signs (Ed25519) takes no digest. False: the key cannot sign. */
static bool sign_cert(X509 *cert, EVP_PKEY *key)
{
    char digest[32] = "";

    bool fixed = EVP_PKEY_get_default_digest_name(key, digest, sizeof(digest)) == 2 && strcmp(digest, "UNDEF") == 0;
    return X509_sign(cert, key, fixed ? NULL : EVP_sha256()) > 0;
}

/* ---- the authority ---- */

static bool is_listed_before(const char *const *hosts, size_t nth, const char *subtree)
{
    for (size_t i = 0; i < nth; i++) {
        const char *other = authority_subtree_of(hosts[i]);
        if (other && strcmp(other, subtree) == 0)
            return true;
    }
    return false;
}

/* No IP address: neither IPv4 nor IPv6. */
static void add_constraints(X509 *cert, const char *const *hosts)
{
    _cleanup_buf_ struct buf text = {0};

    buf_adds(&text, "critical,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0");
    for (size_t i = 0; hosts[i]; i++) {
        const char *subtree = authority_subtree_of(hosts[i]);
        if (subtree && !is_listed_before(hosts, i, subtree))
            buf_addf(&text, ",permitted;DNS:%s", subtree);
    }
    issue_must(add_extension(cert, cert, NID_name_constraints, text.data));
}

/* "entrepot interception CA node1 0123abcd": of this machine, and no two alike. */
static void set_root_name(X509 *cert, const unsigned char serial[SERIAL_BYTES])
{
    char host[HOST_SHOWN + 1] = "", name[COMMON_NAME_MAX + 1];

    if (gethostname(host, sizeof(host) - 1) != 0 && !host[0])
        strcpy(host, "localhost");
    host[strcspn(host, ".")] = '\0';
    snprintf(name, sizeof(name), AUTHORITY_NAME " %s %02x%02x%02x%02x", host, serial[0], serial[1], serial[2],
             serial[3]);
    add_common_name(cert, name);
    issue_must(X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1);
}

X509 *authority_make_root(EVP_PKEY *key, const char *const *hosts)
{
    unsigned char serial[SERIAL_BYTES];
    X509 *cert = X509_new();
    int64_t now = clock_now_s();

    issue_must(cert && X509_set_version(cert, X509_VERSION_3) == 1 && X509_set_pubkey(cert, key) == 1);
    set_serial(cert, serial);
    set_times(cert, now - AUTHORITY_BACKDATE_S, now + (int64_t)AUTHORITY_YEARS * YEAR_S);
    set_root_name(cert, serial);
    issue_must(add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               add_extension(cert, cert, NID_key_usage, "critical,keyCertSign") &&
               add_extension(cert, cert, NID_ext_key_usage, "serverAuth") &&
               add_extension(cert, cert, NID_subject_key_identifier, "hash"));
    add_constraints(cert, hosts);
    issue_must(sign_cert(cert, key));
    return cert;
}

/* ---- what it issues ---- */

static int64_t end_of(const X509 *cert)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

X509 *authority_issue(const struct authority *a, EVP_PKEY *key, const char *host, int64_t *ends_s)
{
    X509 *root = sk_X509_value(a->certs, 0), *cert;
    _cleanup_free_ char *name = xasprintf("DNS:%s", host);
    int64_t now = clock_now_s();
    unsigned char serial[SERIAL_BYTES];

    *ends_s = MIN(now + AUTHORITY_LEAF_S, end_of(root));
    if (*ends_s <= now || !a->key || !authority_is_dns_name(host))
        return NULL;
    cert = X509_new();
    issue_must(cert && X509_set_version(cert, X509_VERSION_3) == 1 && X509_set_pubkey(cert, key) == 1 &&
               X509_set_issuer_name(cert, X509_get_subject_name(root)) == 1);
    set_serial(cert, serial);
    set_times(cert, now - AUTHORITY_BACKDATE_S, *ends_s);
    bool is_named = strlen(host) <= COMMON_NAME_MAX; /* else the alternative name alone, critical (RFC 5280 §4.2.1.6) */
    _cleanup_free_ char *alternative = xasprintf("%s%s", is_named ? "" : "critical,", name);
    if (is_named)
        add_common_name(cert, host);
    issue_must(add_extension(cert, root, NID_basic_constraints, "critical,CA:FALSE") &&
               add_extension(cert, root, NID_key_usage, "critical,digitalSignature") &&
               add_extension(cert, root, NID_ext_key_usage, "serverAuth") &&
               add_extension(cert, root, NID_subject_alt_name, alternative) &&
               add_extension(cert, root, NID_subject_key_identifier, "hash"));
    add_extension(cert, root, NID_authority_key_identifier, "keyid");
    if (sign_cert(cert, a->key))
        return cert;
    ERR_clear_error();
    X509_free(cert);
    return NULL;
}
