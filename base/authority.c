#include "base/authority_private.h"

#include "base/clock.h"
#include "base/secret.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

enum { CERTS_MAX = 16, DNS_NAME_MAX = 253, LABEL_MAX = 63, READS = 4 };

#define DO_ROTATE "`entrepot ca --rotate` makes another one"

bool authority_is_dns_name(const char *host)
{
    size_t len = strnlen(host, DNS_NAME_MAX + 1), label = 0;
    bool is_number = true; /* of the last label: 10.0.0.1 is an address, and so is 10.1 to some */

    if (len == 0 || len > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || host[i] == '.') {
            if (label == 0 || label > LABEL_MAX || host[i - 1] == '-')
                return false;
            is_number = i == len ? is_number : true;
            label = 0;
            continue;
        }
        bool is_letter = host[i] >= 'a' && host[i] <= 'z', is_digit = host[i] >= '0' && host[i] <= '9';
        if (!is_letter && !is_digit && (host[i] != '-' || label == 0))
            return false;
        is_number = is_number && is_digit;
        label++;
    }
    return !is_number;
}

const char *authority_subtree_of(const char *pattern)
{
    const char *star = strrchr(pattern, '*');
    const char *name = !star ? pattern : star[1] == '.' ? star + 2 : "";

    return authority_is_dns_name(name) ? name : NULL;
}

/* ---- reading ---- */

struct authority *authority_ref(struct authority *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void authority_unref(struct authority *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    sk_X509_pop_free(a->certs, X509_free);
    EVP_PKEY_free(a->key);
    free(a);
}

static int authority_no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

/* A folder, a device or a FIFO would block, or end in a puzzle. */
static char *read_pem(const char *file, struct err *err)
{
    struct stat st;

    if (stat(file, &st) != 0) {
        err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO, "%s", file);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(err, ERR_INVALID, "%s: not a file", file);
        return NULL;
    }
    return secret_read(file, err);
}

static bool authority_read_certs(struct authority *a, const char *file, struct err *err)
{
    _cleanup_secret_ char *text = read_pem(file, err);
    BIO *bio = text ? BIO_new_mem_buf(text, -1) : NULL;
    X509 *cert;

    while (bio && sk_X509_num(a->certs) < CERTS_MAX && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        sk_X509_push(a->certs, cert);
    /* The end of the text looks like a fault: there is no further beginning. */
    bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE || sk_X509_num(a->certs) == CERTS_MAX;
    ERR_clear_error();
    BIO_free(bio);
    if (!text)
        return false;
    return (sk_X509_num(a->certs) > 0 && is_end) ||
           err_set(err, ERR_INVALID, "%s: not a certificate (PEM); " DO_ROTATE, file);
}

static bool authority_read_key(struct authority *a, const char *file, struct err *err)
{
    _cleanup_secret_ char *text = read_pem(file, err);
    BIO *bio = text ? BIO_new_mem_buf(text, -1) : NULL;
    bool asked = false;

    if (!bio)
        return false;
    a->key = PEM_read_bio_PrivateKey(bio, NULL, authority_no_passphrase, &asked);
    ERR_clear_error();
    BIO_free(bio);
    if (asked)
        return err_set(err, ERR_INVALID, "%s: has a passphrase: only a key without one can be used", file);
    return a->key || err_set(err, ERR_INVALID, "%s: not a key (PEM); " DO_ROTATE, file);
}

struct authority *authority_load_certificates(const char *cert, struct err *err)
{
    struct authority *a = xcalloc(1, sizeof(*a));

    atomic_init(&a->refs, 1);
    ERR_clear_error();
    a->certs = sk_X509_new_null();
    if (!a->certs)
        abort();
    if (!authority_read_certs(a, cert, err)) {
        authority_unref(a);
        return NULL;
    }
    return a;
}

static bool is_usable(const struct authority *a, const struct authority_files *f, struct err *err)
{
    X509 *cert = sk_X509_value(a->certs, 0);

    if (X509_check_ca(cert) != 1 || !(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN))
        return err_set(err, ERR_INVALID,
                       "%s: its certificate cannot issue others (CA:TRUE, keyCertSign): it is not an authority's",
                       f->cert);
    if (X509_check_private_key(cert, a->key) == 1)
        return true;
    ERR_clear_error();
    return err_set(err, ERR_INVALID, "%s: is not the key of the certificate %s; " DO_ROTATE, f->key, f->cert);
}

struct authority *authority_read(const struct authority_files *f, struct err *err)
{
    struct authority *a = authority_load_certificates(f->cert, err);

    if (a && authority_read_key(a, f->key, err) && is_usable(a, f, err))
        return a;
    authority_unref(a);
    return NULL;
}

/* While both are replaced, and after a crash in the midst of that, the key's certificate has its other name. Several
 * may replace them, one after the other: each time it may be complete, or begun again, by now. */
static struct authority *read_either(const struct authority_files *f, struct err *err)
{
    _cleanup_free_ char *fresh = xasprintf("%s" AUTHORITY_FRESH, f->cert);
    struct authority *a = NULL;

    for (int i = 0; i < READS && !a; i++) {
        a = authority_read(f, i + 1 < READS ? NULL : err);
        if (!a && i + 1 < READS)
            a = authority_read(&(struct authority_files){fresh, f->key}, NULL);
    }
    return a;
}

struct authority *authority_load(const struct authority_files *f, struct err *err)
{
    struct authority *a = read_either(f, err);
    struct authority_about about;

    if (!a)
        return NULL;
    authority_describe(a, 0, &about);
    int64_t now = clock_now_s();
    if (now < about.ends_s && now >= about.begins_s)
        return a;
    if (now < about.begins_s)
        err_set(err, ERR_INVALID, "%s: the certificate is not valid yet: is the clock right?", f->cert);
    else
        err_set(err, ERR_INVALID, "%s: the certificate has expired; " DO_ROTATE ", which clients have to trust",
                f->cert);
    authority_unref(a);
    return NULL;
}

/* ---- what it says ---- */

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* One that was made here: others' are left as they are. */
static bool is_own(const X509 *cert)
{
    char name[AUTHORITY_NAME_MAX] = "";

    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    return strncmp(name, AUTHORITY_NAME " ", strlen(AUTHORITY_NAME) + 1) == 0;
}

bool authority_describe(const struct authority *a, int nth, struct authority_about *out)
{
    X509 *cert = sk_X509_value(a->certs, nth);
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    memset(out, 0, sizeof(*out));
    if (!cert)
        return false;
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out->name, sizeof(out->name)) < 0)
        X509_NAME_oneline(X509_get_subject_name(cert), out->name, sizeof(out->name));
    X509_digest(cert, EVP_sha256(), raw, &len);
    for (unsigned i = 0; i < len; i++)
        snprintf(out->fingerprint + strlen(out->fingerprint), 4, "%s%02X", i ? ":" : "", raw[i]);
    out->begins_s = seconds_of(X509_get0_notBefore(cert));
    out->ends_s = seconds_of(X509_get0_notAfter(cert));
    const X509 *successor = nth > 0 ? sk_X509_value(a->certs, nth - 1) : NULL;
    if (successor && is_own(cert) && is_own(successor))
        out->replaced_s = seconds_of(X509_get0_notBefore(successor)) + AUTHORITY_BACKDATE_S;
    return true;
}

bool authority_is_past(const struct authority *a, int nth)
{
    struct authority_about about;
    int64_t now = clock_now_s();

    return authority_describe(a, nth, &about) && about.replaced_s > 0 &&
           (now >= about.ends_s || now - about.replaced_s >= AUTHORITY_KEEP_S);
}

static bool is_within(const char *host, const char *subtree, size_t len)
{
    size_t host_len = strlen(host);

    if (len == 0)
        return true;
    if (len > host_len || strncasecmp(host + host_len - len, subtree, len) != 0)
        return false;
    return len == host_len || subtree[0] == '.' || host[host_len - len - 1] == '.';
}

/* Whether one of the subtrees has the host; *any: whether there is one of DNS names. */
static bool is_in_one(const STACK_OF(GENERAL_SUBTREE) * trees, const char *host, bool *any)
{
    bool found = false;

    *any = false;
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(trees); i++) {
        const GENERAL_NAME *name = sk_GENERAL_SUBTREE_value(trees, i)->base;
        if (name->type != GEN_DNS)
            continue;
        *any = true;
        found = found || is_within(host, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                   (size_t)ASN1_STRING_length(name->d.dNSName));
    }
    return found;
}

bool authority_permits(const struct authority *a, const char *host)
{
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(sk_X509_value(a->certs, 0), NID_name_constraints, NULL, NULL);
    bool any, ok = true;

    if (nc) {
        ok = is_in_one(nc->permittedSubtrees, host, &any) || !any;
        ok = ok && !is_in_one(nc->excludedSubtrees, host, &any);
    }
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

char *authority_unpermitted(const struct authority *a, const char *const *hosts)
{
    struct buf list = {0};

    for (; *hosts; hosts++) {
        const char *subtree = authority_subtree_of(*hosts);
        if (!subtree || !authority_permits(a, subtree))
            buf_addf(&list, "%s%s", list.len ? ", " : "", *hosts);
    }
    return list.data;
}

bool authority_is_constrained(const struct authority *a)
{
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(sk_X509_value(a->certs, 0), NID_name_constraints, NULL, NULL);
    bool any = false;

    if (nc)
        is_in_one(nc->permittedSubtrees, "", &any);
    NAME_CONSTRAINTS_free(nc);
    return any;
}

X509 *authority_chain(const struct authority *a, int nth)
{
    X509 *first = sk_X509_value(a->certs, 0);

    return X509_check_issued(first, first) == X509_V_OK ? NULL : sk_X509_value(a->certs, nth);
}
