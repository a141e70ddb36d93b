/* A certificate that has expired, or is not valid yet, may be fine and this node's clock wrong: boards without a
 * battery start in 1970. The other side's Date tells which. It is not authenticated, so this request carries no
 * secrets, shares no connection with others, and only the error message depends on its answer. */
#include "upstream/transfer_private.h"

#include "base/clock.h"
#include "base/url.h"

#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CLOCK_SLACK_S = 120, /* a smaller difference is no error of the clock */
};

char *transfer_clock_url(struct transfer *t, CURLcode code)
{
    char *url = NULL;
    long result = 0;

    if (code != CURLE_PEER_FAILED_VERIFICATION || t->clock_probed || t->cancelled)
        return NULL;
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &result);
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    if ((result != X509_V_ERR_CERT_HAS_EXPIRED && result != X509_V_ERR_CERT_NOT_YET_VALID) || !url)
        return NULL;
    t->verify_result = result;
    t->clock_probed = true;
    return xasprintf("%.*s/v2/", (int)url_origin_len(url), url);
}

/* "1 day 2 h", "5 h 30 min", "7 min": rounded, since the two clocks were read a moment apart. */
static void name_span(int64_t s, char *out, size_t cap)
{
    int64_t rounded = s + (s < 86400 - 30 ? 30 : 1800);
    int days = (int)(rounded / 86400), hours = (int)(rounded / 3600 % 24), minutes = (int)(rounded / 60 % 60);

    if (days > 0)
        snprintf(out, cap, "%d day%s %d h", days, days > 1 ? "s" : "", hours);
    else if (hours > 0)
        snprintf(out, cap, "%d h %d min", hours, minutes);
    else
        snprintf(out, cap, "%d min", minutes);
}

static void name_time(int64_t s, char *out, size_t cap)
{
    const time_t when = (time_t)s;
    struct tm tm;

    gmtime_r(&when, &tm);
    strftime(out, cap, "%Y-%m-%d %H:%M UTC", &tm);
}

void transfer_describe_time(const struct transfer *t, char *out, size_t cap)
{
    const char *what = t->verify_result == X509_V_ERR_CERT_HAS_EXPIRED ? "its certificate has expired"
                                                                       : "its certificate is not valid yet";
    int64_t now = clock_now_s(), theirs = t->response.date, off = now - theirs;
    char span[32], here[32], there[32];

    name_span(llabs(off), span, sizeof(span));
    name_time(now, here, sizeof(here));
    name_time(theirs, there, sizeof(there));
    if (theirs <= 0)
        snprintf(out, cap, "%s, if this node's clock is right (%s)", what, here);
    else if (llabs(off) <= CLOCK_SLACK_S)
        snprintf(out, cap, "%s (this node's clock and the registry's agree: %s)", what, here);
    else
        snprintf(
            out, cap,
            "%s by this node's clock, which is %s %s what the registry's Date says (%s here, %s there): set the clock",
            what, span, off > 0 ? "ahead of" : "behind", here, there);
}
