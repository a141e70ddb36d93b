#include "upstream/transfer_private.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/env_proxy.h"
#include "base/url.h"
#include "base/visible.h"
#include "upstream/connect.h"
#include "upstream/response.h"
#include "upstream/trust.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    RECEIVE_BUFFER = 64 << 10, /* bytes; a paused transfer holds this much, and the same again */
    RECEIVE_BULK = 128 << 10,  /* where each call costs more than the memory */
    CURL_TOO_LARGE = 100,      /* CURLE_TOO_LARGE, since 8.6 */
    REASON_MAX = 600,
    SOURCE_URL_MAX = 160,
    CLOCK_PROBE_MS = 3000,
    ANSWERS_MAX = 32, /* of one request: redirects, interim answers, a proxy's */
};

/* ---- curl brings bytes ---- */

/* libcurl passes on the heads of redirects and interim answers, each beginning with its status line, and trailers after
 * the last one. A server may forge a status line in a trailer: answers are counted, and none begins after the body. */
static bool begins_answer(struct transfer *t, const char *line, size_t len)
{
    if (t->head_passed || len <= 5 || memcmp(line, "HTTP/", 5) != 0)
        return false;
    t->in_trailer = false;
    t->flooded = ++t->answers > ANSWERS_MAX;
    return true;
}

static size_t transfer_take_header(char *line, size_t size UNUSED, size_t len, void *arg)
{
    struct transfer *t = arg;

    transfer_heard(t);
    if (begins_answer(t, line, len)) { /* a new answer: the previous one was a redirect or an interim one */
        response_clear(&t->response);
        if (t->lines)
            transfer_drop_lines(t);
        t->followed = false;
        t->header_bytes = 0;
        t->header_count = 0;
    }
    t->header_bytes += len;
    if (t->flooded || t->header_bytes > TRANSFER_HEADER_BYTES || ++t->header_count > TRANSFER_HEADERS_MAX + 2) {
        t->flooded = true;
        return 0;
    }
    if (!t->in_trailer) { /* trailers must not change what was decided by the head (RFC 9110 §6.5.1) */
        response_header(&t->response, line, len);
        if (t->response.two_lengths)
            return 0;
        if (!t->verbatim)
            transfer_follow(t, line, len);
    }
    transfer_take_line(t, line, len);
    if (!t->in_trailer && (line[0] == '\r' || line[0] == '\n')) {
        t->in_trailer = true;
        transfer_end_head(t);
    }
    return len;
}

/* A 401 of a host that the registry has redirected to must not be answered with a login: a password for the registry
 * would be sent there. It is passed on as 403 (libcurl has not sent that host the login, either). */
static void take_no_challenge(struct transfer_response *r)
{
    r->challenge[0] = '\0';
    r->challenge_too_long = false;
    r->status = 403;
}

static bool transfer_pass_head(struct transfer *t)
{
    if (t->head_passed)
        return !t->refused;
    transfer_note_answer(t);
    t->head_passed = true;
    t->response.lines = (const char *const *)t->lines;
    if (transfer_is_refused_by_proxy(t))
        t->refused = true; /* not an answer of the registry */
    else if (t->response.status == 401 && transfer_is_elsewhere(t))
        take_no_challenge(&t->response);
    else if ((t->response.status == 200 || t->response.status == 206) && transfer_is_elsewhere(t))
        curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &t->response.moved_to);
    if (!t->refused && t->on_head && !t->on_head(t->arg, &t->response))
        t->refused = true;
    t->response.moved_to = NULL;
    return !t->refused && !t->cancelled;
}

static size_t transfer_take_data(char *data, size_t size UNUSED, size_t len, void *arg)
{
    struct transfer *t = arg;

    /* The body of a redirect that is followed does not come here: curl drops it. */
    if (t->cancelled || !transfer_pass_head(t))
        return 0;
    if (t->paused) /* since the head: libcurl passes these bytes again later */
        return CURL_WRITEFUNC_PAUSE;
    t->received += (int64_t)len;
    if (t->on_data && !t->on_data(t->arg, data, len))
        t->refused = true;
    return t->refused || t->cancelled ? 0 : len;
}

/* ---- the end of a transfer ---- */

/* libcurl counts whole seconds. */
static int64_t stall_seconds(int64_t ms)
{
    return MAX((ms + 999) / 1000, (int64_t)1);
}

/* libcurl's message may contain a URL, which may contain secrets. */
static const char *curls_reason(const struct transfer *t, CURLcode code)
{
    return t->detail[0] && !strstr(t->detail, "://") ? t->detail : curl_easy_strerror(code);
}

static void describe_proxy(const struct transfer *t, char *out, size_t cap)
{
    const char *hint = t->by_proxy == 407 || t->by_proxy == 401
                           ? ": it wants a name and a password, which go into the proxy's URL in entrepot's environment"
                           : "";
    char name[PROXY_NAME_MAX] = "on the way";

    if (t->proxy)
        proxy_name(t->proxy, name);
    snprintf(out, cap, "the proxy %s answered %d%s", name, t->by_proxy, hint);
}

static void describe_failure(struct transfer *t, CURLcode code, struct err *err)
{
    _cleanup_buf_ struct buf where = {0};
    char *url = NULL;
    const char *why = curls_reason(t, code);
    char text[REASON_MAX];
    enum err_code kind = ERR_UNREACHABLE;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    url_redact(&where, url ? url : "");
    if (t->flooded) {
        kind = ERR_UPSTREAM;
        why = "its headers exceed our limits";
    } else if (t->response.two_lengths) {
        kind = ERR_UPSTREAM;
        why = "its answer has two lengths";
    } else if (t->forbidden) {
        kind = t->connect_only ? ERR_DENIED : ERR_UPSTREAM;
        why =
            t->connect_only
                ? "it is at an address of this machine or of a private network, for its own clients alone"
                : "it is at an address of this machine or of a private network, which the configuration does not name: "
                  "to allow it, add its host to trusted_hosts of the upstream";
    } else if (t->circular) {
        kind = ERR_UPSTREAM;
        why = "its name leads to this cache itself, which takes its place (intercept): give the cache a DNS of its own";
    } else if (t->unrepeatable) {
        kind = ERR_UPSTREAM;
        why = "it closed the connection before it answered, and may have done what was requested";
    } else if (t->by_proxy || transfer_is_refused_by_proxy(t)) {
        describe_proxy(t, text, sizeof(text));
        why = text;
    } else if (t->refused) {
        kind = ERR_CANCELLED;
        why = "cancelled";
    } else if (!t->head_passed && (code == CURLE_OUT_OF_MEMORY || (int)code == CURL_TOO_LARGE)) {
        kind = ERR_UPSTREAM; /* a header that exceeds libcurl's limit (100 KiB); there is no other shortage */
        why = "its headers exceed our limits";
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        kind = ERR_TIMEOUT;
        if (strncmp(why, "Operation too slow", 18) == 0) {
            snprintf(text, sizeof(text), "it has sent %s for %lld s", t->received > 0 ? "next to nothing" : "nothing",
                     (long long)stall_seconds(t->stall_timeout_ms));
            why = text;
        }
    } else if (t->verify_result) {
        transfer_describe_time(t, text, sizeof(text));
        why = text;
    } else if (code == CURLE_SSL_CONNECT_ERROR && strstr(t->detail, "wrong version number")) {
        why = "it does not speak TLS there: if it is a plain HTTP registry, its endpoint begins with http://";
    } else if (code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_PARTIAL_FILE || code == CURLE_WEIRD_SERVER_REPLY ||
               code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM ||
               code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR) {
        kind = ERR_UPSTREAM;
    }
    err_set(err, kind, "%s: %s", where.data, why);
    err->status = t->head_passed && !t->by_proxy ? t->response.status : 0;
}

void transfer_free(struct transfer *t)
{
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    response_clear(&t->response);
    transfer_clear_verbatim(t);
    free(t->url);
    free(t->body);
    transfer_forget_connections(t);
    free(t);
}

static void transfer_take_time(void *arg, const struct transfer_response *r, const struct err *err UNUSED)
{
    struct transfer *t = arg;

    t->clock_probe = NULL;
    t->response.date = r->date;
    transfer_finish(t, CURLE_PEER_FAILED_VERIFICATION);
}

/* True: the other side's time is requested, and transfer_finish() is called again with it (transfer_clock.c). */
static bool transfer_probe_clock(struct transfer *t, CURLcode code)
{
    _cleanup_free_ char *url = transfer_clock_url(t, code);

    if (!url)
        return false;
    curl_multi_remove_handle(t->engine->multi, t->easy);
    response_reset(&t->response);
    t->clock_probe = transfer_start(t->engine, &(struct transfer_request){.method = "HEAD",
                                                                          .url = url,
                                                                          .range_first = -1,
                                                                          .insecure = true,
                                                                          .isolated = true,
                                                                          .named = t->named,
                                                                          .users = t->users,
                                                                          .connect_timeout_ms = CLOCK_PROBE_MS,
                                                                          .total_timeout_ms = CLOCK_PROBE_MS,
                                                                          .on_done = transfer_take_time,
                                                                          .arg = t});
    return true;
}

/* libcurl closes its own with the handle. */
static void take_socket(struct transfer *t)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
    t->response.socket = fd == CURL_SOCKET_BAD ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    t->refused = t->response.socket < 0;
}

/* For those who run the other side: whom was asked for what, who answered, and what it calls the request. */
static void describe_source(struct transfer *t)
{
    struct transfer_response *r = &t->response;
    _cleanup_buf_ struct buf text = {0};
    char host[256], *url = NULL;

    url_redact(&text, t->url);
    if (text.len > SOURCE_URL_MAX)
        text.len = SOURCE_URL_MAX; /* what it calls the request is worth more */
    if (t->head_passed && r->status > 0)
        buf_addf(&text, " answered %d", r->status);
    else
        buf_adds(&text, " did not answer");
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (url && transfer_is_elsewhere(t) && url_authority(url, host, sizeof(host)))
        buf_addf(&text, " at %s, where it redirects to", host);
    if (r->request_ids[0])
        buf_addf(&text, ", %s", r->request_ids);
    snprintf(r->source, sizeof(r->source), "%s", text.data);
    r->source[text_whole(r->source, strlen(r->source))] = '\0';
}

void transfer_finish(struct transfer *t, CURLcode code)
{
    struct err err = {0};

    ON_LOOP(t->engine->loop);
    if (transfer_is_worth_patience(t, code) || transfer_probe_clock(t, code))
        return;
    if (transfer_is_answered(t, code))
        code = CURLE_OK;
    if (code == CURLE_OK && t->connect_only)
        take_socket(t);
    curl_multi_remove_handle(t->engine->multi, t->easy);
    if (code == CURLE_OK && !t->cancelled && !t->connect_only)
        transfer_pass_head(t);
    transfer_note_trailers(t);
    LIST_REMOVE(t, entry); /* of those under way, or, if on_head has cancelled it, of the buried */
    if (code != CURLE_OK || t->refused)
        describe_failure(t, code, &err);
    t->response.was_connected = t->connected;
    if (t->url && (err.code != ERR_OK || t->response.status >= 400))
        describe_source(t);
    if (!t->cancelled)
        t->on_done(t->arg, &t->response, err.code == ERR_OK ? NULL : &err);
    else if (t->response.socket >= 0)
        close(t->response.socket);
    transfer_free(t);
}

void transfer_pause(struct transfer *t, bool pause)
{
    ON_LOOP(t->engine->loop);
    t->paused = pause;
    transfer_apply_pause(t);
}

int64_t transfer_received(const struct transfer *t)
{
    ON_LOOP(t->engine->loop);
    return t->received;
}

/* ---- the start ---- */

static void set_range(struct transfer *t, const struct transfer_request *req)
{
    char line[300];

    if (req->ranges) {
        _cleanup_free_ char *several = xasprintf("Range: %s", req->ranges);
        t->headers = curl_slist_append(t->headers, several);
        return;
    }
    if (req->range_first < 0 && req->range_suffix <= 0)
        return;
    if (req->range_first < 0)
        snprintf(line, sizeof(line), "Range: bytes=-%lld", (long long)req->range_suffix);
    else if (req->range_last >= 0)
        snprintf(line, sizeof(line), "Range: bytes=%lld-%lld", (long long)req->range_first, (long long)req->range_last);
    else
        snprintf(line, sizeof(line), "Range: bytes=%lld-", (long long)req->range_first);
    t->headers = curl_slist_append(t->headers, line);
    if (req->if_range && *req->if_range) {
        snprintf(line, sizeof(line), "If-Range: %s", req->if_range);
        t->headers = curl_slist_append(t->headers, line);
    }
}

static void set_security(CURL *h, const struct transfer_request *req)
{
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, url_is_https(req->url) ? "https" : "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)TRANSFER_REDIRECTS_MAX);
    trust_apply(h, req->trust);
    if (req->insecure) {
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (req->internal)
        curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    if (req->isolated) {
        curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(h, CURLOPT_FORBID_REUSE, req->connect_only ? 0L : 1L); /* libcurl would close it at once */
        curl_easy_setopt(h, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    }
}

static void set_patience(struct transfer *t, const struct transfer_request *req)
{
    CURL *h = t->easy;

    t->stall_timeout_ms = req->stall_timeout_ms;
    if (req->connect_timeout_ms > 0)
        curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)req->connect_timeout_ms);
    if (req->total_timeout_ms > 0)
        curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)req->total_timeout_ms);
    if (req->stall_timeout_ms > 0) {
        curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, (long)TRANSFER_RATE_MIN);
        curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)stall_seconds(req->stall_timeout_ms));
    }
}

static void set_headers(struct transfer *t, const struct transfer_request *req)
{
    for (const char *const *h = req->headers; h && *h; h++)
        t->headers = curl_slist_append(t->headers, *h);
    if (req->authorization) {
        /* libcurl does not send a header of this name to other hosts, ports and schemes (CVE-2018-1000007,
         * CVE-2022-27776). */
        _cleanup_free_ char *line = xasprintf("Authorization: %s", req->authorization);
        t->headers = curl_slist_append(t->headers, line);
        explicit_bzero(line, strlen(line));
    }
    set_range(t, req);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

struct transfer *transfer_start(struct transfer_engine *e, const struct transfer_request *req)
{
    struct transfer *t = xcalloc(1, sizeof(*t));
    CURL *h = t->easy = curl_easy_init();

    ON_LOOP(e->loop);
    if (!h)
        abort();
    t->engine = e;
    t->on_head = req->on_head;
    t->on_data = req->on_data;
    t->on_done = req->on_done;
    t->arg = req->arg;
    response_reset(&t->response);
    set_headers(t, req);
    transfer_watch_connections(t, req);
    set_security(h, req);
    set_patience(t, req);
    /* Any value makes libcurl decode what arrives encoded although it was not requested. */
    if (req->decode)
        curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "identity");
    curl_easy_setopt(h, CURLOPT_URL, req->url);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "entrepot/" ENTREPOT_VERSION);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)(req->unshared ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)(req->bulk ? RECEIVE_BULK : RECEIVE_BUFFER));
    curl_easy_setopt(h, CURLOPT_PRIVATE, t);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, t->detail);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, transfer_take_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, transfer_take_data);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    if (req->verbatim) {
        transfer_set_verbatim(t, req);
    } else if (req->connect_only) {
        curl_easy_setopt(h, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(h, CURLOPT_HTTPPROXYTUNNEL, 1L);
    } else if (strcmp(req->method, "HEAD") == 0)
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    else if (strcmp(req->method, "POST") == 0) {
        /* Secrets are posted, and on 307 and 308 libcurl would post them to any host. */
        curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
        t->body = xstrndup(req->body, req->body_len);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, t->body);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)req->body_len);
    }
    LIST_INSERT_HEAD(&e->active, t, entry);
    t->unadded = e->depth > 0; /* inside curl it takes no other one */
    if (t->unadded)
        event_active(e->turn, EV_TIMEOUT, 0);
    else
        curl_multi_add_handle(e->multi, h);
    return t;
}
