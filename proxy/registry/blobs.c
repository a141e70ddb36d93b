/* /v2/<name>/blobs/<digest>: from the store with sendfile, or behind an ingest while it arrives. */
#include "proxy/registry/access.h"

#include "base/assert.h"
#include "proxy/registry/handlers.h"

#include "base/log.h"
#include "proxy/http/range.h"

#include <string.h>

enum {
    PIECE = 1 << 20,
    PIECE_RELAY = 128 << 10, /* copied; the next one is added when the connection has less than that to send */
};

/* One answer, from the first look to the last byte. Belongs to the serve loop. */
struct serving {
    struct registry *registry;
    struct loop *loop;
    struct http_request *req; /* NULL: the client is gone */
    struct digest digest;
    struct visitor *visitor;   /* NULL: served from the store at once */
    struct fetch_waiter *wait; /* the fetch it waits for; NULL: none */
    int fd;                    /* from the store */
    struct follower *follower; /* or behind an ingest */
    struct follower *before;   /* the one before the relay: pieces of its file may still be in the connection */
    int64_t first, left;       /* left: INT64_MAX of a blob whose size is not known */
    int status;                /* of the answer behind an ingest: 200, 206 or 416 */
    int64_t size;              /* of the blob behind an ingest, by upstream's answer; -1: not known */
    bool begun;                /* its header has been sent: an error can only cut the body short */
    bool relayed;              /* without caching */
    bool asking;               /* for a relay */
    bool retried;              /* a fetch with another client's identity was refused before its first byte */
};

static void serving_free(struct serving *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        cache_release(s->registry->cache, &s->digest);
    }
    if (s->follower)
        follower_leave(s->follower);
    if (s->before)
        follower_leave(s->before);
    if (s->visitor)
        visitor_free(s->visitor);
    free(s);
}

static void blobs_sent(void *arg)
{
    struct serving *s = arg;

    if (s->fd >= 0 && http_read_failed(s->req))
        cache_suspect(s->registry->cache, &s->digest);
    serving_free(s);
}

/* Sets the headers that every answer of a blob has, and the range to send. Returns the status: 200, 206, 304, 416. */
static int blobs_describe(struct http_request *req, const struct digest *d, int64_t size, int64_t *first, int64_t *last)
{
    char text[DIGEST_TEXT_MAX], etag[DIGEST_TEXT_MAX + 2];
    const char *range = http_header(req, "range"), *if_range = http_header(req, "if-range");

    snprintf(etag, sizeof(etag), "\"%s\"", digest_format(d, text));
    http_reply_header(req, "Docker-Content-Digest", "%s", text);
    http_reply_header(req, "ETag", "%s", etag);
    http_reply_header(req, "Accept-Ranges", "bytes");
    /* A blob never changes under its digest. */
    http_reply_header(req, "Cache-Control", "max-age=31536000, immutable");
    if (http_is_known(req, text))
        return 304;
    /* Another validator asks for the whole blob (RFC 9110 §13.1.5). Without a known size there are no ranges. */
    if (http_method(req) != HTTP_METHOD_GET || size < 0 || (if_range && strcmp(if_range, etag) != 0))
        range = NULL;
    switch (range_parse(range, size, first, last)) {
    case RANGE_PART:
        http_reply_header(req, "Content-Range", "bytes %lld-%lld/%lld", (long long)*first, (long long)*last,
                          (long long)size);
        return 206;
    case RANGE_OUTSIDE:
        http_reply_header(req, "Content-Range", "bytes */%lld", (long long)size);
        return 416;
    default:
        return 200;
    }
}

#define BLOB_TYPE "application/octet-stream"

static bool answer_without_body(struct http_request *req, int status, int64_t size)
{
    if (status == 304)
        http_reply_head(req, 304, NULL, -1);
    else if (status == 416)
        http_error(req, 416, "RANGE_INVALID", "the blob has %lld bytes", (long long)size);
    else if (http_method(req) == HTTP_METHOD_HEAD)
        http_reply_head(req, status, BLOB_TYPE, size);
    else
        return false;
    return true;
}

/* From the store. False: the file is missing, or has to be verified first. */
static bool send_stored(struct registry *reg, struct http_request *req, const struct digest *d)
{
    int64_t first, last, size;
    int fd = cache_open_blob(reg->cache, d, &size, NULL);

    if (fd < 0)
        return false;
    int status = blobs_describe(req, d, size, &first, &last);
    if (answer_without_body(req, status, size)) {
        close(fd);
        cache_release(reg->cache, d);
        return true;
    }
    struct serving *s = xcalloc(1, sizeof(*s));
    s->registry = reg;
    s->loop = http_loop(req);
    s->req = req;
    s->fd = fd;
    s->digest = *d;
    http_reply_file(req, status, BLOB_TYPE, fd, first, last - first + 1, blobs_sent, s);
    return true;
}

/* ---- behind an ingest ---- */

static void follower_gone(void *arg)
{
    serving_free(arg);
}

static void blobs_pump(void *arg);
static void blobs_ready(void *arg);

static void blobs_cut_off(struct serving *s, const struct err *err)
{
    struct http_request *req = s->req;

    log_limited_about(LOG_LEVEL_WARN, "cut off", s->visitor->route.site->host, "a blob of %s is cut off: %s",
                      s->visitor->route.name, err->msg);
    /* After a body that ends early, clients request the rest by Range; a reset fails the pull (containerd, oras). Wrong
     * bytes must not be continued. */
    if (err->code != ERR_DIGEST && err->code != ERR_CORRUPT) {
        http_stream_cut(req, blobs_sent, s);
        return;
    }
    http_abort(req); /* may still have pieces of the file to send */
    serving_free(s);
}

/* The disk failed under a blob that was half sent: the rest comes without caching; the client notices only a pause. */
static void blobs_relayed(void *arg, struct fetch_result *res)
{
    struct serving *s = arg;

    ON_LOOP(s->loop);
    s->asking = false;
    s->wait = NULL;
    if (!s->req) {
        serving_free(s);
        return;
    }
    if (res->err.code != ERR_OK || !res->ingest) {
        blobs_cut_off(s, &res->err);
        return;
    }
    int64_t at = follower_position(s->follower);
    s->before = s->follower;
    s->follower = ingest_follow(res->ingest, s->loop, at, at + s->left - 1, blobs_ready, s);
    http_on_gone(s->req, follower_gone, s);
    http_stream_more(s->req);
}

static void blobs_client_gone(void *arg)
{
    struct serving *s = arg;

    ON_LOOP(s->loop);
    s->req = NULL;
    if (s->wait)
        fetch_leave(s->wait);
    s->wait = NULL;
}

static void blobs_ask(struct serving *s, const struct fetch_want *want,
                      void (*done)(void *arg, struct fetch_result *result))
{
    http_on_gone(s->req, blobs_client_gone, s);
    s->wait = fetch_begin(s->registry->fetchers, s->loop, want, done, s);
}

static bool is_disks_fault(const struct err *err)
{
    return err->code == ERR_NO_SPACE || err->code == ERR_IO;
}

static void blobs_relay(struct serving *s, void (*done)(void *arg, struct fetch_result *result))
{
    struct fetch_want want = visitor_want(s->visitor, FETCH_BLOB_RELAY);

    if (s->begun)
        want.sent = (struct sent_before){follower_fd(s->follower), s->first, follower_position(s->follower)};

    log_limited(LOG_LEVEL_WARN, "relay", "the disk is full or failing: blobs are served without caching");
    s->relayed = s->asking = true;
    blobs_ask(s, &want, done);
}

/* For a client that does not read, little of a relay is held in memory. */
static bool blobs_can_send(const struct serving *s)
{
    return http_stream_can_take(s->req) &&
           (!follower_is_of_relay(s->follower) || http_stream_waiting(s->req) < PIECE_RELAY);
}

static void blobs_give(struct serving *s, int64_t n)
{
    bool copied = follower_is_of_relay(s->follower);
    int fd = follower_fd(s->follower);
    int64_t at = follower_position(s->follower);

    n = MIN(n, copied ? (int64_t)PIECE_RELAY : (int64_t)PIECE);
    s->left -= n;
    if (copied)
        http_stream_copy(s->req, fd, at, (size_t)n);
    follower_advance(s->follower, n);
    if (!copied)
        http_stream_file(s->req, fd, at, n);
}

/* Upstream did not send the size, and the whole blob has come by now. */
static bool learn_size(struct serving *s)
{
    if (s->size >= 0)
        return false;
    s->size = follower_size(s->follower);
    if (s->size >= 0)
        s->left = s->size - follower_position(s->follower);
    return s->size >= 0;
}

/* Sends what has arrived, as far as the connection can take it. */
static void blobs_pump(void *arg)
{
    struct serving *s = arg;
    struct err err = {0};

    ON_LOOP(s->loop);
    while (s->left > 0 && !s->asking && blobs_can_send(s)) {
        int64_t n = follower_available(s->follower, &err);
        if (n == 0 && learn_size(s))
            continue;
        if (n == 0)
            return; /* blobs_ready() comes */
        if (n < 0 && is_disks_fault(&err) && !s->relayed) {
            blobs_relay(s, blobs_relayed);
            return;
        }
        if (n < 0) {
            blobs_cut_off(s, &err);
            return;
        }
        blobs_give(s, MIN(n, s->left));
    }
    if (s->left == 0)
        http_stream_end(s->req, blobs_sent, s);
}

static void blobs_fetched(void *arg, struct fetch_result *res);

/* The fetch failed before anything was sent: an error status lets the client ask elsewhere (containerd goes on with its
 * next host after a 502, and fails the pull after an answer that is cut off). */
static void fail_unbegun(struct serving *s, const struct err *err)
{
    const struct fetch_result failed = {.how = HOW_ERROR, .err = *err};

    http_on_gone(s->req, NULL, NULL);
    http_reply_reset(s->req);
    follower_leave(s->follower);
    s->follower = NULL;
    if (is_disks_fault(err) && !s->relayed) {
        blobs_relay(s, blobs_fetched);
        return;
    }
    if (err->code == ERR_DENIED && !s->retried) { /* another client was refused: this one may not be */
        const struct fetch_want own = visitor_want(s->visitor, FETCH_BLOB);
        s->retried = s->asking = true;
        blobs_ask(s, &own, blobs_fetched);
        return;
    }
    reply_failure(s->req, &failed, KIND_BLOB);
    serving_free(s);
}

/* The header waits for the first byte of the body: until then an error can be sent as a status. */
static void begin_body(struct serving *s)
{
    struct err err = {0};
    int may = follower_may_begin(s->follower, &err);

    if (may == 0)
        return; /* blobs_ready() comes */
    if (may < 0) {
        fail_unbegun(s, &err);
        return;
    }
    s->begun = true;
    if (s->status == 416) {
        answer_without_body(s->req, s->status, s->size);
        serving_free(s);
        return;
    }
    learn_size(s);
    http_stream(s->req, s->status, BLOB_TYPE, s->size < 0 ? -1 : s->left, blobs_pump, s);
}

static void blobs_ready(void *arg)
{
    struct serving *s = arg;

    ON_LOOP(s->loop);
    if (!s->req)
        return; /* the client left while a relay was being requested: blobs_relayed() frees this */
    if (s->begun)
        http_stream_more(s->req);
    else
        begin_body(s);
}

static void blobs_follow(struct serving *s, const struct fetch_result *res)
{
    struct http_request *req = s->req;
    int64_t first, last;

    s->status = blobs_describe(req, &s->digest, res->size, &first, &last);
    s->size = res->size;
    if (s->size < 0)
        last = INT64_MAX - 1;
    if (s->status == 416) { /* by upstream's size; if that is wrong, so is the blob */
        first = 0;
        last = -1;
    } else if (answer_without_body(req, s->status, res->size)) {
        serving_free(s);
        return;
    }
    s->first = first;
    s->left = last - first + 1;
    s->follower = ingest_follow(res->ingest, s->loop, first, last, blobs_ready, s);
    http_on_gone(req, follower_gone, s);
    begin_body(s);
}

/* A fetch that finds the blob cached answers all its waiters; whether each of them may read it is checked here. */
static bool may_have(const struct visitor *v)
{
    struct cache *c = v->registry->cache;
    struct cache_hit hit;

    cache_find(c, v->route.name, NULL, &v->route.digest, &hit);
    if (!hit.stored || (hit.repo_private && !v->by_grant))
        return false;
    return hit.linked || !(hit.blob.flags & BLOB_PRIVATE) ||
           cache_was_sent_by(c, v->route.site->host, &v->route.digest);
}

/* The fetch found it cached, but its file is gone by now, or may not be shown to this client. */
static void fail_unusable(struct http_request *req)
{
    struct fetch_result failed = {.how = HOW_ERROR};

    err_set(&failed.err, ERR_BUSY, "the cached blob cannot be used: try again, and it is fetched");
    http_reply_reset(req); /* it was called a hit */
    reply_failure(req, &failed, KIND_BLOB);
}

static void blobs_fetched(void *arg, struct fetch_result *res)
{
    struct serving *s = arg;
    struct http_request *req = s->req;

    ON_LOOP(s->loop);
    s->asking = false;
    s->wait = NULL;
    if (!req) {
        serving_free(s);
        return;
    }
    http_on_gone(req, NULL, NULL);
    if (is_disks_fault(&res->err) && !s->relayed && http_method(req) == HTTP_METHOD_GET) {
        blobs_relay(s, blobs_fetched);
        return;
    }
    if (res->err.code != ERR_OK && access_retry(s->visitor, res)) {
        s->visitor = NULL; /* access_retry() has taken it over */
    } else if (res->err.code != ERR_OK) {
        reply_failure(req, res, KIND_BLOB);
    } else if (res->ingest) {
        reply_status(req, res);
        blobs_follow(s, res);
        return;
    } else if (http_method(req) == HTTP_METHOD_HEAD) {
        int64_t first, last;
        reply_status(req, res);
        answer_without_body(req, blobs_describe(req, &s->digest, res->size, &first, &last), res->size);
    } else {
        reply_status(req, res);
        if (!may_have(s->visitor) || !send_stored(s->registry, req, &s->digest))
            fail_unusable(req);
    }
    serving_free(s);
}

/* Answers from the cache alone, if it can. */
static bool blobs_answer_now(struct registry *reg, struct http_request *req, const struct route *r, bool by_grant)
{
    struct cache_hit hit;

    cache_find(reg->cache, r->name, NULL, &r->digest, &hit);
    if (!hit.stored || !cache_is_blob_of(&hit) || (hit.repo_private && !by_grant))
        return false;
    reply_hit(req);
    if (send_stored(reg, req, &r->digest))
        return true;
    http_reply_reset(req);
    return false;
}

/* By a size that is larger than any: what the request says before the blob's size is known. */
static struct fetch_piece blobs_piece(struct http_request *req)
{
    const int64_t size = INT64_MAX;
    struct fetch_piece p = {0};

    if (range_parse(http_header(req, "range"), size, &p.first, &p.last) != RANGE_PART)
        return p;
    bool suffix = p.first > size / 2;
    p.given = suffix || p.last < size - 1;
    if (suffix) {
        p.last = size - p.first;
        p.first = -1;
    }
    return p;
}

static void blobs_serve(struct visitor *v)
{
    struct registry *reg = v->registry;
    struct http_request *req = v->req;
    bool head = http_method(req) == HTTP_METHOD_HEAD;
    struct fetch_want want = visitor_want(v, head ? FETCH_BLOB_HEAD : FETCH_BLOB);

    want.piece = head ? (struct fetch_piece){0} : blobs_piece(req);

    if (blobs_answer_now(reg, req, &v->route, v->by_grant)) {
        visitor_free(v);
        return;
    }
    struct serving *s = xcalloc(1, sizeof(*s));
    s->registry = reg;
    s->loop = http_loop(req);
    s->req = req;
    s->fd = -1;
    s->digest = v->route.digest;
    s->visitor = v;
    blobs_ask(s, &want, blobs_fetched);
}

void handle_blob(struct registry *reg, struct http_request *req, const struct route *r)
{
    reply_note(req, r, KIND_BLOB);
    /* Public content that is cached needs no check of access. */
    if (r->site->config->client_access || !blobs_answer_now(reg, req, r, false))
        access_enter(reg, req, r, KIND_BLOB, blobs_serve);
}
