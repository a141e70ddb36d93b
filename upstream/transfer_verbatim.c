/* A client's request that is passed on as it is (struct transfer_verbatim).
 *
 *     the client's body ─ on_send ─▶ libcurl ─▶ the server       nothing now: libcurl's sending is paused until
 *                                                                transfer_send_more()
 *
 * HTTP/1.1 alone: for a stream of HTTP/2 that is paused, libcurl buffers up to its window. */
#include "upstream/transfer_private.h"

#include "base/assert.h"

#include <string.h>

enum {
    VERBATIM_BUFFER = 16 << 10, /* bytes: a record of TLS, and the least that libcurl takes of a body */
    CHUNK_FRAME = 32,           /* around a chunk */
    ANSWER_BUFFER = 4 << 10,    /* to a request with a body, most often small */
    IDLE_MAX_S = 4,             /* servers that close idle connections wait for 5 s at least */
    STATUS_SWITCHING = 101,
    STATUS_REFUSED = 300, /* libcurl sends no more of the body after such an answer */
};

/* RFC 9110 §9.2.2: a request that may have been acted upon is sent again only if that makes no difference. A body is
 * not kept. */
bool transfer_may_repeat(const struct transfer *t)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};

    for (size_t i = 0; t->verbatim && i < ARRAY_LEN(methods); i++)
        if (strcmp(t->method, methods[i]) == 0)
            return t->given == 0;
    return !t->verbatim;
}

void transfer_apply_pause(struct transfer *t)
{
    if (!t->cancelled)
        curl_easy_pause(t->easy, (t->paused ? CURLPAUSE_RECV : 0) | (t->starved ? CURLPAUSE_SEND : 0));
}

void transfer_send_more(struct transfer *t)
{
    ON_LOOP(t->engine->loop);
    if (!t->starved)
        return;
    t->starved = false;
    transfer_apply_pause(t);
}

static size_t give_body(char *out, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    if (t->cancelled)
        return CURL_READFUNC_ABORT;
    long given = t->calls.on_send(t->arg, out, size * n);
    if (given == TRANSFER_WAIT) {
        t->starved = true;
        return CURL_READFUNC_PAUSE;
    }
    t->given += given;
    return (size_t)given;
}

/* libcurl would send the body from its beginning again, on another connection. */
static int rewind_body(void *arg, curl_off_t offset, int origin)
{
    const struct transfer *t = arg;

    return offset == 0 && origin == SEEK_SET && t->given == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static int give_trailers(struct curl_slist **list, void *arg)
{
    struct transfer *t = arg;
    const char *const *lines = t->cancelled ? NULL : t->calls.on_trailers(t->arg);
    size_t len = 0;

    for (; lines && *lines; lines++) {
        len += strlen(*lines) + 2;
        *list = curl_slist_append(*list, *lines);
    }
    return len <= TRANSFER_TRAILER_BYTES ? CURL_TRAILERFUNC_OK : CURL_TRAILERFUNC_ABORT;
}

/* ---- the answer's head ---- */

void transfer_drop_lines(struct transfer *t)
{
    for (int i = 0; i < t->line_count; i++)
        free(t->lines[i]);
    t->line_count = t->trailers_at = t->answered = 0;
    t->lines[0] = NULL;
}

/* A line of the head, as received. One that begins with a space goes on from the one before it (RFC 9112 §5.2). */
void transfer_take_line(struct transfer *t, const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    if (!t->verbatim || len == 0)
        return;
    if ((line[0] == ' ' || line[0] == '\t') && t->line_count > t->trailers_at) {
        char *first = t->lines[t->line_count - 1];
        t->lines[t->line_count - 1] = xasprintf("%s %.*s", first, (int)len, line);
        free(first);
    } else if (memchr(line, ':', len) && t->line_count <= TRANSFER_HEADERS_MAX) {
        t->lines[t->line_count++] = xstrndup(line, len);
        t->lines[t->line_count] = NULL;
    }
}

/* The server may have answered before the end of the body, and refuse it: libcurl stops sending, but would not end the
 * transfer while sending is paused. */
void transfer_end_head(struct transfer *t)
{
    long status = 0;

    if (!t->verbatim)
        return;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= STATUS_REFUSED)
        transfer_send_more(t);
    else if (status / 100 == 1 && status != STATUS_SWITCHING && t->calls.on_interim && !t->cancelled)
        t->calls.on_interim(t->arg, (int)status, (const char *const *)t->lines);
    if (status / 100 == 1)
        return;
    t->answered = (int)status;
    t->lines[t->line_count] = NULL; /* the head's end; trailers come behind it */
    t->trailers_at = ++t->line_count;
    t->lines[t->line_count] = NULL;
}

void transfer_note_trailers(struct transfer *t)
{
    if (t->trailers_at > 0 && t->line_count > t->trailers_at)
        t->response.trailers = (const char *const *)t->lines + t->trailers_at;
}

/* A server that refuses a body closes the connection after its answer: that the rest could not be sent is no failure.
 * Nor is it one that libcurl could not send the request again. */
bool transfer_is_answered(const struct transfer *t, CURLcode code)
{
    const struct transfer_response *r = &t->response;
    bool stopped = code == CURLE_SEND_ERROR || code == CURLE_SEND_FAIL_REWIND || t->unrepeatable;

    return stopped && t->in_trailer && t->answered &&
           (t->answered == 204 || t->answered == 304 || r->content_length == t->received);
}

/* ---- the start ---- */

static void set_upload(struct transfer *t, const struct transfer_verbatim *v)
{
    CURL *h = t->easy;

    curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)v->size);
    curl_easy_setopt(h, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(h, CURLOPT_READDATA, t);
    curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, rewind_body);
    curl_easy_setopt(h, CURLOPT_SEEKDATA, t);
    curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, (long)MAX(v->buffer, (size_t)VERBATIM_BUFFER) + CHUNK_FRAME);
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)ANSWER_BUFFER);
    if (v->expects) {
        t->headers = curl_slist_append(t->headers, "Expect: 100-continue");
        curl_easy_setopt(h, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)TRANSFER_EXPECT_MS);
    }
    if (v->size < 0 && v->on_trailers) {
        curl_easy_setopt(h, CURLOPT_TRAILERFUNCTION, give_trailers);
        curl_easy_setopt(h, CURLOPT_TRAILERDATA, t);
    }
}

void transfer_set_verbatim(struct transfer *t, const struct transfer_request *req)
{
    static const char *const not_own[] = {"Expect:", "Accept:", "User-Agent:", "Content-Type:"};
    const struct transfer_verbatim *v = req->verbatim;
    CURL *h = t->easy;

    t->verbatim = true;
    t->method = xstrdup(req->method);
    t->calls = *v;
    t->lines = xcalloc(TRANSFER_HEADERS_MAX + 3, sizeof(*t->lines)); /* a NULL behind the head, and one behind all */
    for (size_t i = v->expects; i < ARRAY_LEN(not_own); i++)         /* libcurl adds none of these by itself */
        t->headers = curl_slist_append(t->headers, not_own[i]);
    curl_easy_setopt(h, CURLOPT_USERAGENT, NULL);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (!req->bulk)
        curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)VERBATIM_BUFFER);
    if (strcmp(req->method, "HEAD") == 0)
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    else if (v->has_body)
        set_upload(t, v);
    if (strcmp(req->method, "HEAD") != 0)
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, req->method);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, t->headers);
    if (!transfer_may_repeat(t) || v->has_body)
        curl_easy_setopt(h, CURLOPT_MAXAGE_CONN, (long)IDLE_MAX_S);
}

void transfer_clear_verbatim(struct transfer *t)
{
    if (t->lines)
        transfer_drop_lines(t);
    free(t->lines);
    free(t->method);
}
