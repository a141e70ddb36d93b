/* The life of a blob's fetch:
 *
 *            ┌ here, the repository's ───────────────────────────────────────────────▶ done: served from the store
 *   lookup ──┼ here, not known to be the repository's ─▶ prove ──────────────────────▶ done
 *            ├ a file that has to be verified first ───▶ verify ─▶ lookup
 *            └ absent ─▶ ask ─▶ receive: all waiters follow the ingest    ─────▶ done, when it is stored
 *                         ▲        │
 *                         └────────┘ upstream broke off: from the first missing segment, after a pause
 *
 *   any ─▶ fail: the ingest is paused (its part stays) or, if its bytes are wrong, dropped ─▶ done.
 *
 * No waiters and followers for some seconds: the fetch goes on if at least half is here, else the ingest is paused.
 */
#include "proxy/fetch/blob.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

enum {
    GATHER = 512 << 10, /* bytes */
    GATHER_RELAY = 64 << 10,
};

static bool is_relay(const struct fetch *f)
{
    return f->want.kind == FETCH_BLOB_RELAY;
}

static enum step blob_lookup(struct fetch *f)
{
    struct fetch_waiter *w = STAILQ_FIRST(&f->waiters);

    f->result.how = HOW_HIT;
    f->result.digest = f->digest;
    if (!is_relay(f) && fetch_must_verify(f, &f->digest))
        return STEP_VERIFY;
    fetch_find(f, NULL, &f->digest, &f->hit);
    if (is_relay(f) || (f->hit.stored && cache_look(fetch_cache(f), &f->digest) == FILE_MISSING))
        f->hit.stored = false; /* fetched in any case */
    bool proved = w && w->proved && !fetch_needs_bytes(f, &f->hit);
    if (f->hit.stored && (cache_is_blob_of(&f->hit) || proved)) {
        f->result.size = f->hit.blob.size;
        return STEP_DONE;
    }
    if (fetch_is_offline(f)) {
        err_set(&f->result.err, ERR_NOT_FOUND, "a blob of %s: not in the cache, and %s", f->want.name,
                fetch_why_offline(f));
        f->result.how = HOW_ERROR;
        return STEP_DONE;
    }
    return f->hit.stored && !fetch_needs_bytes(f, &f->hit) ? STEP_PROVE : STEP_ASK;
}

/* ---- ask and receive ---- */

static bool refuse_answer(struct fetch *f, const char *why)
{
    err_set(&f->result.err, ERR_UPSTREAM, "a blob of %s: %s", f->want.name, why);
    return false;
}

static void answer_followers(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    if (b->waiters_follow || (ingest_size(b->ingest) < 0 && !is_relay(f)))
        return;
    b->waiters_follow = true;
    f->result.how = is_relay(f) ? HOW_BYPASS : HOW_MISS;
    f->result.size = ingest_size(b->ingest);
    fetch_answer(f, b->ingest);
}

static bool blob_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);
    int64_t size;

    f->response = *r;
    f->step = STEP_RECEIVE;
    f->result.upstream_status = r->status;
    if (r->status != 200 && r->status != 206)
        return true; /* blob_take_end() handles it */
    /* A Content-Encoding is ignored: some object stores label layers with gzip because that is their format. The digest
     * shows whether these are the right bytes. */
    if (r->status == 206) {
        if (r->range_first != b->first)
            return refuse_answer(f, "upstream sent another range than was asked for");
        size = r->range_total;
        b->at = b->first;
        b->skip = 0;
    } else {
        size = r->content_length; /* the whole blob, although a range was requested: skip the bytes that are here */
        b->at = 0;
        b->skip = b->first;
    }
    /* Linked first: once its size is known, an empty blob is complete, and on its way into the index. */
    ingest_also_link(b->ingest, f->want.name, PROOF_BYTES, f->want.is_private);
    if (!ingest_describe(b->ingest, size, strncmp(r->etag, "W/", 2) == 0 ? "" : r->etag, &f->result.err))
        return false;
    if (ingest_is_ahead(b->ingest))
        upstream_pause(f->call, true); /* before the first byte: blob_drained() goes on when there is room */
    else
        answer_followers(f);
    return true;
}

/* libcurl passes 16 KiB at a time. All that one turn of the loop brings are gathered, and written, hashed and announced
 * to followers once. */
static bool blob_flush(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    size_t len = f->received.len;

    if (len == 0 || b->unwritable)
        return !b->unwritable;
    f->received.len = 0;
    /* After a piece that was not written, none of the following can be. */
    b->unwritable = !ingest_write(b->ingest, b->at, f->received.data, len, &f->result.err);
    if (b->unwritable)
        return false;
    b->at += (int64_t)len;
    if (f->call && ingest_is_ahead(b->ingest)) {
        upstream_pause(f->call, true);
        buf_free(&f->received); /* its client may not read for long */
    }
    return true;
}

static void blob_drained(void *arg)
{
    struct fetch *f = arg;

    answer_followers(f);
    if (f->call)
        upstream_pause(f->call, false);
}

static void blob_flush_turn(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    blob_flush(arg); /* if it fails, the next piece or the end notices */
}

static bool blob_take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);

    if (f->response.status != 200 && f->response.status != 206)
        return true;
    size_t over = (size_t)MIN(b->skip, (int64_t)len);
    b->skip -= (int64_t)over;
    b->at += (int64_t)over;
    if (!b->flush)
        b->flush = event_new(loop_base(f->fetcher->loop), -1, 0, blob_flush_turn, f);
    if (f->received.len == 0)
        event_active(b->flush, EV_TIMEOUT, 0);
    buf_add(&f->received, (const char *)data + over, len - over);
    return !b->unwritable && (f->received.len < (is_relay(f) ? GATHER_RELAY : GATHER) || blob_flush(f));
}

/* The body of an answer is complete; the blob may not be. */
static void body_complete(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct err short_of = {0};
    int64_t first, last;

    if (ingest_size(b->ingest) < 0)
        ingest_end_of_unknown(b->ingest);
    if (!ingest_gap(b->ingest, &first, &last))
        return; /* blob_finished() goes on */
    err_set(&short_of, ERR_UPSTREAM, "upstream's answer ended early");
    blob_resume_later(f, &short_of);
}

static void blob_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);
    bool good = r->status == 200 || r->status == 206;
    struct err unwritable = {.code = ERR_CANCELLED};

    f->call = NULL;
    if (!blob_flush(f))
        err = &unwritable;
    struct err own = f->result.err;
    if (!err && good) {
        body_complete(f);
        return;
    }
    if (err && err->code == ERR_CANCELLED && own.code == ERR_CANCELLED)
        return; /* the ingest is over already: blob_finished() goes on */
    if (err && err->code == ERR_CANCELLED)
        f->result.err = own; /* blob_take_head() or blob_take_data() has cancelled it */
    else
        fetch_refused(f, r, err);
    bool contradiction = f->result.err.code == ERR_CORRUPT || r->status == 416;
    if (contradiction && !b->restarted && !b->waiters_follow) {
        b->restarted = b->to_restart = true;
        ingest_stop(b->ingest, &f->result.err, true);
        return; /* blob_finished() asks again, from nothing */
    }
    if (contradiction && b->waiters_follow) /* a page, another size: of this endpoint, or of this moment */
        f->result.err.code = ERR_UPSTREAM;
    if (f->result.err.code == ERR_NO_SPACE && blob_ask_for_room(f))
        return;
    if (blob_resume_as_another(f))
        return;
    if (b->waiters_follow && err_is_passing(&f->result.err)) {
        struct err why = f->result.err;
        blob_resume_later(f, &why);
        return;
    }
    fetch_run(f, STEP_FAIL);
}

/* ---- the ingest's callbacks ---- */

static bool is_of_another_repository(const struct fetch *f, const struct fetch_waiter *w)
{
    return strcmp(w->want.name, f->want.name) != 0;
}

/* That one repository is refused says nothing about another. */
static void let_others_try(struct fetch *f)
{
    if (!f->fetcher->stopping)
        fetch_part_with(f, is_of_another_repository, fetch_begin_again);
}

static void blob_finished(void *arg, enum ingest_state state, const struct err *err);

static void blob_deserted(void *arg)
{
    fetch_note_desertion(arg);
}

/* The first client that only wants the bytes. The others get the error, and request a relay of their own. */
static struct fetch_waiter *part_with_all_but_one(struct fetch *f, const struct err *no_room)
{
    const struct fetch_result r = {.how = HOW_ERROR, .err = *no_room};
    struct fetch_waiter *w, *one = NULL;

    while ((w = fetch_first_waiter(f)))
        if (one || w->want.keep)
            fetch_answer_one(w, &r, NULL);
        else
            one = w;
    return one;
}

/* There is no room for the blob, and upstream has paused before its first byte: one client gets it without caching, in
 * the same exchange. (Not over HTTP/2, see `unshared` in transfer.h: then the client requests a relay.) */
static bool turn_to_relay(struct fetch *f, const struct err *no_room)
{
    struct blob_fetch *b = blob_of(f);
    struct fetch_waiter *one;

    if (no_room->code != ERR_NO_SPACE || !f->call || f->response.multiplexed || b->waiters_follow ||
        f->response.status != 200 || b->first > 0 || is_relay(f) || f->fetcher->stopping ||
        !(one = part_with_all_but_one(f, no_room)))
        return false;
    fetch_wait(f, one);
    f->want.kind = FETCH_BLOB_RELAY;
    f->want.sent = one->want.sent;
    free(f->key); /* nobody else finds it from now on */
    f->key = fetch_key(f->fetcher->all, &f->want);
    ingest_unref(b->ingest);
    b->ingest = ingest_begin_relay(cache_ingests(fetch_cache(f)), &f->digest, f->fetcher->loop, blob_finished,
                                   blob_deserted, blob_drained, f, &f->want.sent, &f->result.err);
    if (b->ingest && ingest_describe(b->ingest, f->response.content_length, "", &f->result.err)) {
        blob_drained(f);
    } else {
        upstream_cancel(f->call);
        f->call = NULL;
        fetch_run(f, STEP_FAIL);
    }
    return true;
}

static void blob_finished(void *arg, enum ingest_state state, const struct err *err)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);
    bool unproved = state == INGEST_STORED && f->call && !b->waiters_follow;
    struct fetch_waiter *w;

    if (err && turn_to_relay(f, err))
        return;
    if (f->call)
        upstream_cancel(f->call);
    f->call = NULL;
    if (unproved) { /* the part was stored before upstream answered whether the repository contains it */
        ingest_unref(b->ingest);
        b->ingest = NULL;
        fetch_run(f, STEP_LOOKUP);
        return;
    }
    if (state == INGEST_NOT_STORED && !b->waiters_follow)
        answer_followers(f); /* the size was not known before */
    if (state == INGEST_STORED || state == INGEST_NOT_STORED) {
        f->result.err.code = ERR_OK;
        f->result.how = HOW_MISS;
        f->result.size = ingest_size(b->ingest);
        fetch_run(f, STEP_DONE);
        return;
    }
    if (err && err->code == ERR_DIGEST) {
        atomic_fetch_add(&f->fetcher->all->mismatches, 1);
        log_limited_about(LOG_LEVEL_ERROR, "wrong bytes", f->want.site->host, "a blob of %s from %s: %s", f->want.name,
                          f->want.site->host, err->msg);
    }
    if (b->to_restart && state == INGEST_FAILED && !f->fetcher->stopping) {
        b->to_restart = false;
        ingest_unref(b->ingest);
        b->ingest = NULL;
        f->result.err.code = ERR_OK;
        fetch_run(f, STEP_ASK);
        return;
    }
    /* Requests that came while it was being paused, or dropped, start again: the failure was not theirs. */
    while ((b->waiters_follow || b->paused) && !f->fetcher->stopping && (w = fetch_first_waiter(f)))
        fetch_again(w);
    if (err && f->result.err.code == ERR_OK)
        f->result.err = *err;
    f->result.how = f->result.how == HOW_DENIED ? HOW_DENIED : HOW_ERROR;
    let_others_try(f);
    fetch_run(f, STEP_DONE);
}

/* ---- ask ---- */

static enum step blob_ask(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);
    int64_t last;

    if (!b->ingest && is_relay(f))
        b->ingest = ingest_begin_relay(cache_ingests(fetch_cache(f)), &f->digest, f->fetcher->loop, blob_finished,
                                       blob_deserted, blob_drained, f, &f->want.sent, &f->result.err);
    else if (!b->ingest)
        b->ingest = ingest_begin(cache_ingests(fetch_cache(f)), &f->digest, f->want.site->host, f->fetcher->loop,
                                 blob_finished, blob_deserted, blob_drained, f, &f->result.err);
    if (!b->ingest)
        return STEP_FAIL;
    if (!ingest_gap(b->ingest, &b->first, &last))
        return b->waiters_follow ? STEP_WAIT : STEP_PROVE;
    bool ranged = b->first > 0 || last >= 0;
    const char *validator = ingest_validator(b->ingest);
    struct upstream_request req = {
        .method = "GET",
        .repository = f->want.path,
        .path = path,
        .range_first = ranged ? b->first : -1,
        .range_last = last,
        .if_range = validator[0] ? validator : NULL,
        .endpoint_first = b->fruitless,
        .unshared = is_relay(f),
        .lack_ms = f->tags.negative_ttl_ms,
        .on_head = blob_take_head,
        .on_data = blob_take_data,
        .on_done = blob_take_end,
        .arg = f,
    };
    blob_offers_begin(f);
    fetch_identify(f, &req);
    if (ranged && b->attempts == 0)
        log_limited_about(LOG_LEVEL_INFO, "resumed", f->want.site->host,
                          "a blob of %s is resumed at %lld of %lld bytes", f->want.name, (long long)b->first,
                          (long long)ingest_size(b->ingest));
    b->attempts++;
    b->unwritable = false;
    f->received.len = 0;
    b->attempt_received = ingest_received(b->ingest);
    f->result.err.code = ERR_OK;
    f->call = upstream_start(f->want.site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
    fetch_note_desertion(f); /* all may have left while it was verified, or proved */
    return STEP_WAIT;
}

static enum step blob_prove(struct fetch *f)
{
    return blob_of(f)->ingest ? blob_prove_part(f) : fetch_prove(f);
}

static enum step blob_fail(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    f->result.how = f->result.how == HOW_DENIED ? HOW_DENIED : HOW_ERROR;
    if (!b->ingest) {
        let_others_try(f);
        return STEP_DONE;
    }
    bool useless =
        ingest_received(b->ingest) == 0 || f->result.err.code == ERR_IO || f->result.err.code == ERR_NO_SPACE;
    ingest_stop(b->ingest, &f->result.err, useless);
    return STEP_WAIT; /* blob_finished() ends it */
}

/* The cache is being stopped. */
static bool blob_stop(struct fetch *f, const struct err *why)
{
    struct blob_fetch *b = blob_of(f);

    if (!b->ingest)
        return false;
    ingest_stop(b->ingest, why, false); /* its `finished` ends the fetch, after the checkpoint */
    return true;
}

static void free_event(struct event *e)
{
    if (e)
        event_free(e);
}

static void blob_clear(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    blob_forget_room(b);
    free_event(b->retry);
    free_event(b->flush);
    free_event(b->other_client);
    blob_offers_end(f);
    if (b->ingest)
        ingest_unref(b->ingest);
}

const struct fetch_type BLOB_FETCH = {
    .name = "blob",
    .size = sizeof(struct blob_fetch),
    .run =
        {
            [STEP_LOOKUP] = blob_lookup,
            [STEP_VERIFY] = fetch_verify,
            [STEP_PROVE] = blob_prove,
            [STEP_ASK] = blob_ask,
            [STEP_RECEIVE] = NULL, /* transfer callbacks: blob_take_head, _take_data, _take_end */
            [STEP_FAIL] = blob_fail,
        },
    .join = blob_join,
    .is_wanted = blob_is_wanted,
    .abandon = blob_abandon,
    .stop = blob_stop,
    .clear = blob_clear,
};
