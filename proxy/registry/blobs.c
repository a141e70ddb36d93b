/* /v2/<name>/blobs/<digest>: from the store (blob_stored.c), or behind an ingest while it arrives. */
#include "proxy/registry/access.h"

#include "base/assert.h"
#include "proxy/registry/handlers.h"

#include "base/log.h"
#include "proxy/registry/blob_pieces.h"
#include "proxy/registry/blob_stored.h"
#include "proxy/registry/peer.h"
#include "proxy/registry/readahead.h"

#include <string.h>

enum {
    PIECE = 1 << 20,
    PIECE_RELAY = 128 << 10, /* copied; the next one is added when the connection has less than that to send */
};

/* One answer of a blob that is not in the store, from the first look to the last byte. Belongs to the serve loop. */
struct serving {
    struct registry *registry;
    struct loop *loop;
    struct http_request *req; /* NULL: the client is gone */
    struct digest digest;
    struct visitor *visitor;
    struct fetch_waiter *wait;       /* the fetch it waits for; NULL: none */
    struct follower *follower;       /* behind an ingest */
    struct follower *before;         /* the one before the relay: pieces of its file may still be in the connection */
    struct readahead_request *ahead; /* NULL: nothing is read ahead for it */
    struct blob_pieces pieces;       /* by the size that upstream's answer says */
    bool begun;                      /* its header has been sent: an error can only cut the body short */
    bool relayed;                    /* without caching */
    bool asking;                     /* for a relay */
    bool retried;                    /* a fetch with another client's identity was refused before its first byte */
};

static void serving_free(struct serving *s)
{
    if (s->follower)
        follower_leave(s->follower);
    if (s->before)
        follower_leave(s->before);
    if (s->visitor)
        visitor_free(s->visitor);
    blob_pieces_free(&s->pieces);
    readahead_end(s->ahead);
    free(s);
}

static void blobs_sent(void *arg)
{
    serving_free(arg);
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

    seen_detail_fail(note_of(req)->detail, err);
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
    s->follower = ingest_follow(res->ingest, s->loop, at, at + s->pieces.left - 1, blobs_ready, s);
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
    seen_detail_ask(note_of(s->req)->detail, http_micros(s->req));
    s->wait = fetch_begin(s->registry->fetchers, s->loop, want, done, s);
}

static bool is_disks_fault(const struct serving *s, const struct err *err)
{
    if (s->req && note_of(s->req)->hops > 0) /* another node asks its registry itself */
        return false;
    return err->code == ERR_NO_SPACE || err->code == ERR_IO;
}

/* By a size that is larger than any: what the request says before the blob's size is known. */
static struct fetch_piece blobs_piece(struct http_request *req)
{
    const int64_t size = INT64_MAX;
    _cleanup_ranges_ struct ranges ranges = {0};
    enum range_verdict v = ranges_parse(http_header(req, "range"), size, &ranges);
    struct fetch_piece p = {.first = ranges.one.first, .last = ranges.one.last};

    bool suffix = p.first > size / 2;
    p.given = (v == RANGE_PART || v == RANGE_PARTS) && (p.first > 0 || p.last < size - 1);
    if (suffix) {
        p.last = size - p.first;
        p.first = -1;
    }
    return p;
}

/* What a relay asks the registry for: a closed piece. Several, and the end of a blob from some place on, are cut out of
 * the whole. */
static struct fetch_piece blobs_closed_piece(struct http_request *req)
{
    struct fetch_piece p = blobs_piece(req);

    p.given = p.given && (p.first < 0 || p.last < INT64_MAX - 1) && !strchr(http_header(req, "range"), ',');
    return p;
}

/* Of several pieces, the relay is compared with what was sent of the current one. */
static void blobs_relay(struct serving *s, const struct err *why, void (*done)(void *arg, struct fetch_result *result))
{
    struct fetch_want want = visitor_want(s->visitor, FETCH_BLOB_RELAY);

    if (!s->begun)
        want.piece = blobs_closed_piece(s->req);
    else
        want.sent = (struct sent_before){follower_fd(s->follower), s->pieces.first, follower_position(s->follower)};

    log_limited(LOG_LEVEL_WARN, "relay", "the disk is full or failing: blobs are served without caching");
    ingests_note_unstored(cache_ingests(s->registry->cache), why);
    s->relayed = s->asking = true;
    blobs_ask(s, &want, done);
}

/* For a client that does not read, little of a relay is held in memory, and of small pieces. */
static bool blobs_can_send(const struct serving *s)
{
    size_t waiting = http_stream_waiting(s->req);

    return http_stream_can_take(s->req) && (!follower_is_of_relay(s->follower) || waiting < PIECE_RELAY) &&
           (!s->pieces.all || waiting < BLOB_PIECES_WAITING);
}

static void blobs_give(struct serving *s, int64_t n)
{
    bool copied = follower_is_of_relay(s->follower);
    int fd = follower_fd(s->follower);
    int64_t at = follower_position(s->follower);

    n = MIN(n, copied ? (int64_t)PIECE_RELAY : (int64_t)PIECE);
    if (copied) {
        s->pieces.left -= n;
        http_stream_copy(s->req, fd, at, (size_t)n);
    }
    follower_advance(s->follower, n);
    if (!copied)
        blob_pieces_give(&s->pieces, s->req, fd, at, n);
}

/* Upstream did not send the size, and the whole blob has come by now. */
static bool learn_size(struct serving *s)
{
    struct blob_pieces *p = &s->pieces;

    if (p->size >= 0)
        return false;
    p->size = follower_size(s->follower);
    if (p->size >= 0)
        p->left = p->size - follower_position(s->follower);
    return p->size >= 0;
}

static void blobs_turn(struct serving *s)
{
    struct blob_pieces *p = &s->pieces;

    blob_pieces_turn(p, s->req);
    if (p->left > 0)
        follower_move(s->follower, p->first, p->first + p->left - 1);
}

/* Sends what has arrived, as far as the connection can take it. */
static void blobs_pump(void *arg)
{
    struct serving *s = arg;
    struct blob_pieces *p = &s->pieces;
    struct err err = {0};

    ON_LOOP(s->loop);
    while (!blob_pieces_over(p) && !s->asking && blobs_can_send(s)) {
        if (p->left == 0) {
            blobs_turn(s);
            continue;
        }
        int64_t n = follower_available(s->follower, &err);
        if (n == 0 && learn_size(s))
            continue;
        if (n == 0)
            return; /* blobs_ready() comes */
        if (n < 0 && is_disks_fault(s, &err) && !s->relayed && blob_pieces_ascend(p)) {
            blobs_relay(s, &err, blobs_relayed);
            return;
        }
        if (n < 0) {
            blobs_cut_off(s, &err);
            return;
        }
        blobs_give(s, MIN(n, p->left));
    }
    if (blob_pieces_over(p))
        http_stream_end(s->req, blobs_sent, s);
}

static void blobs_fetched(void *arg, struct fetch_result *res);

/* The fetch failed before anything was sent: an error status lets the client ask elsewhere (containerd goes on with its
 * next host after a 502, and fails the pull after an answer that is cut off). */
static void fail_unbegun(struct serving *s, const struct err *err)
{
    const struct fetch_result failed = {.how = HOW_ERROR, .err = *err};

    bool was_nodes = err->code == ERR_DIGEST && follower_is_unvouched(s->follower);
    http_on_gone(s->req, NULL, NULL);
    http_reply_reset(s->req);
    peer_mark(s->req);
    follower_leave(s->follower);
    s->follower = NULL;
    if (is_disks_fault(s, err) && !s->relayed) {
        blobs_relay(s, err, blobs_fetched);
        return;
    }
    if ((err->code == ERR_DENIED || was_nodes) &&
        !s->retried) { /* another client, or node: not the registry's answer */
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
    learn_size(s);
    http_stream(s->req, s->pieces.status, s->pieces.type, blob_pieces_length(&s->pieces), blobs_pump, s);
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

/* Several pieces: those behind the first one can be fetched while it is being sent. */
static void blobs_expect(struct serving *s)
{
    const struct blob_pieces *p = &s->pieces;

    if (!p->all || follower_is_of_relay(s->follower))
        return;
    _cleanup_free_ struct ingest_span *later = xcalloc((size_t)p->count, sizeof(*later));
    for (int k = 0; k < p->count; k++)
        later[k] = (struct ingest_span){p->all[k].first, p->all[k].last + 1};
    follower_expect(s->follower, later, (size_t)p->count);
}

static void blobs_follow(struct serving *s, const struct fetch_result *res)
{
    struct http_request *req = s->req;
    struct blob_pieces *p = &s->pieces;

    blob_pieces_free(p);
    blob_pieces_choose(p, req, &s->digest, res->size, res->how == HOW_BYPASS);
    struct range begin = blob_pieces_begin(p);
    if (blob_pieces_answer(p, req)) {
        serving_free(s);
        return;
    }
    s->follower = (note_of(req)->hops > 0 ? ingest_follow_for_node : ingest_follow)(res->ingest, s->loop, begin.first,
                                                                                    begin.last, blobs_ready, s);
    blobs_expect(s);
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
    peer_mark(req);
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
    if (is_disks_fault(s, &res->err) && !s->relayed && http_method(req) == HTTP_METHOD_GET) {
        blobs_relay(s, &res->err, blobs_fetched);
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
        reply_status(req, res);
        blob_pieces_choose(&s->pieces, req, &s->digest, res->size, false);
        blob_pieces_answer(&s->pieces, req);
    } else {
        reply_status(req, res);
        if (!may_have(s->visitor) || !blob_send_stored(s->registry, req, &s->digest))
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
    if (blob_send_stored(reg, req, &r->digest)) {
        if (http_method(req) == HTTP_METHOD_GET)
            readahead_note_hit(reg->readahead, r->name, &r->digest);
        return true;
    }
    http_reply_reset(req);
    peer_mark(req);
    return false;
}

static void blobs_serve(struct visitor *v)
{
    struct registry *reg = v->registry;
    struct http_request *req = v->req;
    bool head = http_method(req) == HTTP_METHOD_HEAD;
    struct fetch_want want = visitor_want(v, head ? FETCH_BLOB_HEAD : FETCH_BLOB);

    if (!head)
        want.piece = blobs_piece(req);
    if (blobs_answer_now(reg, req, &v->route, v->by_grant)) {
        visitor_free(v);
        return;
    }
    struct serving *s = xcalloc(1, sizeof(*s));
    s->registry = reg;
    s->loop = http_loop(req);
    s->req = req;
    s->digest = v->route.digest;
    s->visitor = v;
    if (!head && want.hops == 0)
        s->ahead = readahead_begin(reg->readahead, &want);
    blobs_ask(s, &want, blobs_fetched);
}

void handle_blob(struct registry *reg, struct http_request *req, const struct route *r)
{
    reply_note(req, r, KIND_BLOB);
    if (note_of(req)->hops > 0 && peer_name_another(reg, req, &r->digest))
        return;
    /* Public content that is cached needs no check of access. */
    if (r->site->config->client_access || !blobs_answer_now(reg, req, r, false))
        access_enter(reg, req, r, KIND_BLOB, blobs_serve);
}
