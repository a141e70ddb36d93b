/* Whether certificates are valid now, and for how long. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "config/config.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

/* Time to replace one; of those that live for less, a part of their life: what renews them itself does so earlier. */
enum { CERTIFICATE_SOON_DAYS = 30, CERTIFICATE_SOON_PART = 4 };

static X509 *certificate_read(const char *file)
{
    BIO *in = BIO_new_file(file, "r");
    X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    return x;
}

static bool certificate_ends_soon(const X509 *x, int days_left)
{
    int days = 0, seconds = 0;

    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(x), X509_get0_notAfter(x));
    return days_left < MIN((int)CERTIFICATE_SOON_DAYS, days / CERTIFICATE_SOON_PART);
}

void doctor_look_at_certificate(const char *file, enum doctor_topic topic, const char *subject, const char *what,
                                json_t *findings)
{
    time_t now = (time_t)clock_now_s();
    X509 *x = certificate_read(file);
    int days = 0, seconds = 0;
    struct doctor_finding f = {topic, DOCTOR_OK, subject, NULL, NULL, NULL};

    if (!x) {
        _cleanup_free_ char *text = xasprintf("%s %s is not a certificate that can be read", what, file);
        f.level = DOCTOR_UNKNOWN;
        f.what = text;
        doctor_add(findings, &f);
        return;
    }
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
    bool early = X509_cmp_time(X509_get0_notBefore(x), &now) > 0, late = X509_cmp_time(X509_get0_notAfter(x), &now) < 0;
    _cleanup_free_ char *text = late    ? xasprintf("%s %s expired %d d ago", what, file, -days)
                                : early ? xasprintf("%s %s is not valid yet", what, file)
                                        : xasprintf("%s %s is valid for %d more days", what, file, days);
    f.what = text;
    if (late || early || certificate_ends_soon(x, days)) {
        f.level = late || early ? DOCTOR_BROKEN : DOCTOR_WARNING;
        f.advice = early ? "compare the clock of this node"
                   : topic == TOPIC_AUTHORITY
                       ? "entrepot ca --rotate makes another one, which engines have to be told of"
                       : "replace the file by a new certificate";
    }
    doctor_add(findings, &f);
    X509_free(x);
}

/* ---- the authority of interception ---- */

/* Whether this system trusts it. */
static bool certificate_is_trusted(X509 *x)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *verify = X509_STORE_CTX_new();

    bool trusted = store && verify && X509_STORE_set_default_paths(store) == 1 &&
                   X509_STORE_CTX_init(verify, store, x, NULL) == 1 && X509_verify_cert(verify) == 1;
    X509_STORE_CTX_free(verify);
    X509_STORE_free(store);
    return trusted;
}

void doctor_look_at_authority(const struct config *c, json_t *findings)
{
    const char *file = c->intercept.cert;
    struct doctor_finding f = {
        TOPIC_AUTHORITY, DOCTOR_OK, NULL, "this system trusts the authority of interception", NULL, NULL};

    if (!config_intercepts(c))
        return;
    X509 *x = certificate_read(file);
    doctor_look_at_certificate(file, TOPIC_AUTHORITY, NULL, "intercept.ca.cert", findings);
    if (!x)
        return;
    if (!certificate_is_trusted(x)) {
        f.level = DOCTOR_WARNING;
        f.what = "this system does not trust the authority of interception";
        f.why = "engines that go through the proxy refuse its certificates, unless they are told of it";
        f.advice = "entrepot ca shows the file: copy it to /usr/local/share/ca-certificates/entrepot.crt and run "
                   "update-ca-certificates";
    }
    doctor_add(findings, &f);
    X509_free(x);
}
