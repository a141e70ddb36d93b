/* Requests to cloud services, on a cred worker: one at a time, synchronous. */
#include "upstream/cred/private.h"

#include "base/assert.h"
#include "base/env_proxy.h"
#include "base/url.h"

#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#define NUMBER_MAX 1e15

struct receiving {
    struct buf *out;
    atomic_bool *stop;
    bool flooded;
};

static size_t cred_http_take(char *data, size_t size UNUSED, size_t len, void *arg)
{
    struct receiving *r = arg;

    r->flooded = r->out->len + len > CRED_ANSWER_MAX;
    if (r->flooded)
        return 0;
    buf_add(r->out, data, len);
    return len;
}

static int cred_http_go_on(void *arg, curl_off_t a UNUSED, curl_off_t b UNUSED, curl_off_t c UNUSED,
                           curl_off_t d UNUSED)
{
    return atomic_load(((struct receiving *)arg)->stop) ? 1 : 0;
}

static void set_signature(CURL *h, const struct cred_http *r)
{
    char how[256];

    if (!r->aws)
        return;
    snprintf(how, sizeof(how), "aws:amz:%s", r->aws);
    curl_easy_setopt(h, CURLOPT_AWS_SIGV4, how);
    curl_easy_setopt(h, CURLOPT_USERNAME, r->access_key);
    curl_easy_setopt(h, CURLOPT_PASSWORD, r->secret_key);
}

static void set_body(CURL *h, const struct cred_http *r)
{
    if (r->body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)strlen(r->body));
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, r->body);
    }
    if (strcmp(r->method, "GET") != 0)
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
}

static bool cred_http_describe(CURLcode code, const struct receiving *r, const char *url, struct err *err)
{
    _cleanup_buf_ struct buf where = {0};

    url_redact(&where, url);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(err, ERR_CANCELLED, "the cache is being stopped");
    if (r->flooded)
        return err_set(err, ERR_UPSTREAM, "%s sent more than %d bytes", where.data, (int)CRED_ANSWER_MAX);
    return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNREACHABLE, "%s: %s", where.data,
                   curl_easy_strerror(code));
}

bool cred_http(const struct cred_http *r, int *status, struct buf *out, struct err *err)
{
    struct receiving in = {out, r->stop, false};
    struct curl_slist *headers = NULL;
    CURL *h = curl_easy_init();
    long code = 0, timeout = r->timeout_ms > 0 ? (long)r->timeout_ms : CRED_TIMEOUT_MS;

    OFF_LOOPS;
    if (!h)
        abort();
    for (const char *const *line = r->headers; line && *line; line++)
        headers = curl_slist_append(headers, *line);
    curl_easy_setopt(h, CURLOPT_URL, r->url);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_USERAGENT, "entrepot/" ENTREPOT_VERSION);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, timeout);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, cred_http_take);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &in);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, cred_http_go_on);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, &in);
    const char *proxy = r->direct ? NULL : proxy_for(r->url, NULL);
    curl_easy_setopt(h, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(h, CURLOPT_NOPROXY, "");
    set_signature(h, r);
    set_body(h, r);
    CURLcode rc = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &code);
    *status = (int)code;
    for (struct curl_slist *s = headers; s; s = s->next)
        explicit_bzero(s->data, strlen(s->data));
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return rc == CURLE_OK || cred_http_describe(rc, &in, r->url, err);
}

json_t *cred_http_json(const struct cred_http *r, const char *what, struct err *err)
{
    _cleanup_secret_buf_ struct buf out = {0};
    int status = 0;

    if (!cred_http(r, &status, &out, err)) {
        err_wrap(err, "%s", what);
        return NULL;
    }
    if (status != 200) {
        bool denied = status == 400 || status == 401 || status == 403;
        err_set(err, denied ? ERR_DENIED : ERR_UPSTREAM, "%s answered %d", what, status);
        return NULL;
    }
    json_t *doc = json_loadb(out.data ? out.data : "", out.len, 0, NULL);
    if (!doc)
        err_set(err, ERR_UPSTREAM, "%s sent something that is not JSON", what);
    return doc;
}

char *cred_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? xstrdup(text) : NULL;
}

/* So that milliseconds, and sums with the time, do not overflow. */
static int64_t bounded(double n)
{
    return n >= NUMBER_MAX ? (int64_t)NUMBER_MAX : n <= -NUMBER_MAX ? -(int64_t)NUMBER_MAX : (int64_t)n;
}

int64_t cred_json_number(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    char *end;

    if (json_is_number(value))
        return bounded(json_number_value(value));
    long long n = text ? strtoll(text, &end, 10) : 0;
    return text && end != text && *end == '\0' ? bounded((double)n) : otherwise;
}
