/* Whether certificates are valid now, and for how long. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

enum { CERTIFICATE_SOON_DAYS = 7 };

static X509 *certificate_read(const char *file)
{
    BIO *in = BIO_new_file(file, "r");
    X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    return x;
}

void doctor_look_at_certificate(const char *file, enum doctor_topic topic, const char *subject, const char *what,
                                json_t *findings)
{
    time_t now = (time_t)clock_now_s();
    X509 *x = certificate_read(file);
    int days = 0, seconds = 0;
    struct finding f = {topic, DOCTOR_OK, subject, NULL, NULL, NULL};

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
    if (late || early || days < CERTIFICATE_SOON_DAYS) {
        f.level = late || early ? DOCTOR_BROKEN : DOCTOR_WARNING;
        f.advice = early ? "compare the clock of this node" : "replace the file by a new certificate";
    }
    doctor_add(findings, &f);
    X509_free(x);
}
