#include "upstream/response.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/link_header.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum { RETRY_AFTER_MAX = 21600 /* seconds; Docker Hub's window */ };

void response_reset(struct transfer_response *r)
{
    memset(r, 0, sizeof(*r));
    r->content_length = r->range_first = r->range_last = r->range_total = -1;
    r->socket = -1;
    r->age = -1;
    r->ratelimit_limit = r->ratelimit_remaining = r->ratelimit_window = -1;
}

void response_clear(struct transfer_response *r)
{
    free(r->next_page);
    response_reset(r);
}

/* A number of bytes: digits only (RFC 9110 §8.6). -1 if it is not one. */
static int64_t number(const char *text, const char **end)
{
    char *e;

    if (!isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    long long n = strtoll(text, &e, 10);
    if (end)
        *end = e;
    else if (*e != '\0' && *e != ';' && *e != ' ')
        return -1;
    return errno == 0 ? n : -1;
}

static void take_length(struct transfer_response *r, const char *v)
{
    int64_t length = number(v, NULL), before = r->content_length;

    if (r->chunked)
        return;
    r->two_lengths = r->two_lengths || (before >= 0 && length != before);
    r->content_length = length;
}

/* What is transferred in chunks has no other length (RFC 9112 §6.3). */
static void take_coding(struct transfer_response *r, const char *v UNUSED)
{
    r->chunked = true;
    r->content_length = -1;
}

/* RFC 9110 §14.4: "bytes" SP first "-" last "/" (total | "*"). A malformed one is ignored. */
static void take_range(struct transfer_response *r, const char *v)
{
    const char *p = v;

    if (strncasecmp(p, "bytes ", 6) != 0)
        return;
    int64_t first = number(p + 6, &p);
    if (first < 0 || *p != '-')
        return;
    int64_t last = number(p + 1, &p);
    if (last < first || *p != '/')
        return;
    int64_t total = p[1] == '*' ? -1 : number(p + 1, NULL);
    if (p[1] != '*' && total <= last) /* not a number, or too small for the range */
        return;
    r->range_first = first;
    r->range_last = last;
    r->range_total = total;
}

static void take_type(struct transfer_response *r, const char *v)
{
    size_t n = 0;

    for (; isgraph((unsigned char)v[n]) && v[n] != ';' && n < sizeof(r->content_type) - 1; n++)
        r->content_type[n] = (char)tolower((unsigned char)v[n]);
    r->content_type[n] = '\0';
}

static void take_etag(struct transfer_response *r, const char *v)
{
    snprintf(r->etag, sizeof(r->etag), "%s", v);
}

static void response_take_digest(struct transfer_response *r, const char *v)
{
    if (!digest_parse(&r->digest, v, strlen(v)))
        memset(&r->digest, 0, sizeof(r->digest));
}

static int64_t date(const char *v)
{
    return MAX((int64_t)curl_getdate(v, NULL), (int64_t)0);
}

/* A date is by the registry's clock, which its Date header tells; headers come in any order. */
static void apply_retry_at(struct transfer_response *r)
{
    int64_t s = r->retry_at - (r->date > 0 ? r->date : clock_now_s());

    if (r->retry_at > 0)
        r->retry_after = (int)MAX(MIN(s, (int64_t)RETRY_AFTER_MAX), (int64_t)0);
}

/* RFC 9110 §10.2.3: seconds, or a date. */
static void take_retry_after(struct transfer_response *r, const char *v)
{
    int64_t s = number(v, NULL);

    r->retry_at = s < 0 ? date(v) : 0;
    r->retry_after = (int)MAX(MIN(s, (int64_t)RETRY_AFTER_MAX), (int64_t)0);
    apply_retry_at(r);
}

static void take_date(struct transfer_response *r, const char *v)
{
    r->date = date(v);
    apply_retry_at(r);
}

static void take_proxy_challenge(struct transfer_response *r, const char *v UNUSED)
{
    r->asks_for_proxy = true;
}

/* "100;w=21600": a hundred in six hours (draft-polli-ratelimit-headers). */
static void take_limit(struct transfer_response *r, const char *v)
{
    const char *window = strstr(v, ";w=");

    r->ratelimit_limit = number(v, NULL);
    if (window)
        r->ratelimit_window = number(window + 3, NULL);
}

static void take_remaining(struct transfer_response *r, const char *v)
{
    const char *window = strstr(v, ";w=");

    r->ratelimit_remaining = number(v, NULL);
    if (window)
        r->ratelimit_window = number(window + 3, NULL);
}

/* It is displayed: no control characters. */
static void take_source(struct transfer_response *r, const char *v)
{
    for (const char *p = v; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return;
    if (strlen(v) < sizeof(r->ratelimit_source))
        snprintf(r->ratelimit_source, sizeof(r->ratelimit_source), "%s", v);
}

static void take_challenge(struct transfer_response *r, const char *v)
{
    size_t used = strlen(r->challenge);

    if (used + strlen(v) + 3 > sizeof(r->challenge))
        r->challenge_too_long = true; /* which one to answer cannot be known */
    if (r->challenge_too_long) {
        r->challenge[0] = '\0';
        return;
    }
    snprintf(r->challenge + used, sizeof(r->challenge) - used, "%s%s", used ? ", " : "", v);
}

/* There may be several Link headers, one of which is the next page. */
static void take_link(struct transfer_response *r, const char *v)
{
    bool named;
    char *target = link_header_next(v, &named);

    if (!target || (r->next_page && (r->next_page_named || !named))) {
        free(target);
        return;
    }
    free(r->next_page);
    r->next_page = target;
    r->next_page_named = named;
}

static void take_age(struct transfer_response *r, const char *v)
{
    r->age = number(v, NULL);
}

static void response_take_peer(struct transfer_response *r, const char *v)
{
    if (strlen(v) < sizeof(r->peer))
        snprintf(r->peer, sizeof(r->peer), "%s", v);
}

static void response_take_proof(struct transfer_response *r, const char *v)
{
    if (strlen(v) < sizeof(r->proof))
        snprintf(r->proof, sizeof(r->proof), "%s", v);
}

static void take_filters(struct transfer_response *r, const char *v)
{
    if (strlen(v) < sizeof(r->oci_filters))
        snprintf(r->oci_filters, sizeof(r->oci_filters), "%s", v);
}

/* The Server header names it; behind a proxy that replaces that, Cache-Status does (RFC 9211). */
static void take_server(struct transfer_response *r, const char *v)
{
    size_t len = strcspn(v, "/;, ");

    r->is_entrepot = r->is_entrepot || (len == 8 && strncasecmp(v, "entrepot", len) == 0);
}

/* An entrepot adds fwd-status if a registry answered: a refusal without it is its own, since it is offline or does not
 * serve that registry. */
static void take_cache_status(struct transfer_response *r, const char *v)
{
    take_server(r, v);
    r->fwd_status = r->fwd_status || strstr(v, "fwd-status=");
}

/* What the operator of a registry, or of the storage behind it, finds a request by. */
static const char *const REQUEST_IDS[] = {"x-request-id",
                                          "x-amz-request-id",
                                          "x-amz-id-2",
                                          "x-amzn-requestid",
                                          "x-amz-cf-id",
                                          "x-ms-request-id",
                                          "x-ms-correlation-request-id",
                                          "x-azure-ref",
                                          "x-guploader-uploadid",
                                          "x-goog-request-id",
                                          "cf-ray",
                                          "x-github-request-id",
                                          "x-gitlab-request-id",
                                          "x-quay-request-id"};

/* They are displayed: printable ASCII alone. */
static void response_take_id(struct transfer_response *r, const char *name, size_t name_len, const char *v)
{
    size_t used = strlen(r->request_ids), len = strlen(v);

    for (const char *p = v; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return;
    if (len == 0 || used + name_len + len + 5 > sizeof(r->request_ids))
        return;
    char *to = r->request_ids + used;
    to += sprintf(to, "%s", used ? ", " : "");
    for (size_t i = 0; i < name_len; i++)
        *to++ = (char)tolower((unsigned char)name[i]);
    sprintf(to, ": %s", v);
}

static void take_encoding(struct transfer_response *r, const char *v)
{
    r->content_encoded = *v && strcasecmp(v, "identity") != 0;
}

static const struct {
    const char *name;
    void (*take)(struct transfer_response *r, const char *v);
} HEADERS[] = {
    {"content-length", take_length},
    {"transfer-encoding", take_coding},
    {"content-range", take_range},
    {"content-type", take_type},
    {"etag", take_etag},
    {"docker-content-digest", response_take_digest},
    {"retry-after", take_retry_after},
    {"date", take_date},
    {"proxy-authenticate", take_proxy_challenge},
    {"ratelimit-limit", take_limit},
    {"ratelimit-remaining", take_remaining},
    {"docker-ratelimit-source", take_source},
    {"www-authenticate", take_challenge},
    {"link", take_link},
    {"oci-filters-applied", take_filters},
    {"content-encoding", take_encoding},
    {"age", take_age},
    {"entrepot-peer", response_take_peer},
    {"entrepot-proof", response_take_proof},
    {"server", take_server},
    {"cache-status", take_cache_status},
};

void response_header(struct transfer_response *r, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    if (!colon)
        return;
    const char *v = colon + 1, *end = line + len;
    while (v < end && isspace((unsigned char)*v))
        v++;
    while (end > v && isspace((unsigned char)end[-1]))
        end--;
    _cleanup_free_ char *value = xstrndup(v, (size_t)(end - v)); /* transfer.c limits the length of them all */
    for (size_t i = 0; i < ARRAY_LEN(HEADERS); i++)
        if (strlen(HEADERS[i].name) == (size_t)(colon - line) &&
            strncasecmp(line, HEADERS[i].name, (size_t)(colon - line)) == 0)
            HEADERS[i].take(r, value);
    for (size_t i = 0; i < ARRAY_LEN(REQUEST_IDS); i++)
        if (strlen(REQUEST_IDS[i]) == (size_t)(colon - line) &&
            strncasecmp(line, REQUEST_IDS[i], (size_t)(colon - line)) == 0)
            response_take_id(r, line, (size_t)(colon - line), value);
}
