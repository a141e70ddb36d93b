/* The life of a blob's fetch:
 *
 *            ┌ here, the repository's ───────────────────────────────────────────────▶ done: served from the store
 *   lookup ──┼ here, not known to be the repository's ─▶ prove ──────────────────────▶ done
 *            ├ a file that has to be verified first ───▶ verify ─▶ lookup
 *            └ absent ─▶ ask ─▶ receive: everybody who waits follows the ingest ─────▶ done, when it is stored
 *                         ▲        │
 *                         └────────┘ upstream broke off: from the first missing segment, after a pause
 *
 *   any ─▶ fail: the ingest is put off (its part stays) or, when its bytes are wrong, dropped ─▶ done.
 *
 * Nobody waits any more, for some seconds: the fetch goes on if at least half is there, else the ingest is put off.
 */
#include "proxy/fetch/private.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

enum {
    FRUITLESS_MAX = 5,  /* attempts in a row that brought nothing */
    ATTEMPTS_MAX = 100, /* in all */
    GATHER = 512 << 10, /* bytes */
    GATHER_RELAY = 64 << 10,
    LIMITED_MAX_S = 30,     /* a client waits that long in the middle of a blob for a limit to end */
    OTHER_CLIENT_MS = 3000, /* a client waits that long for one whose token is good */
    OTHER_CLIENT_LOOK_MS = 200,
    PAUSE_MS = 100, /* before the first further attempt; doubles with each fruitless one */
};

static bool is_relay(const struct fetch *f)
{
    return f->kind == FETCH_BLOB_RELAY;
}

static enum step lookup(struct fetch *f)
{
    struct waiter *w = STAILQ_FIRST(&f->waiters);

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
        err_set(&f->result.err, ERR_NOT_FOUND, "a blob of %s: not in the cache, and %s", f->name, fetch_why_offline(f));
        f->result.how = HOW_ERROR;
        return STEP_DONE;
    }
    return f->hit.stored && !fetch_needs_bytes(f, &f->hit) ? STEP_PROVE : STEP_ASK;
}

/* ---- ask and receive ---- */

static bool refuse_answer(struct fetch *f, const char *why)
{
    err_set(&f->result.err, ERR_UPSTREAM, "a blob of %s: %s", f->name, why);
    return false;
}

static void answer_followers(struct fetch *f)
{
    if (f->answered || (ingest_size(f->ingest) < 0 && !is_relay(f)))
        return;
    f->answered = true;
    f->result.how = is_relay(f) ? HOW_BYPASS : HOW_MISS;
    f->result.size = ingest_size(f->ingest);
    fetch_answer(f, f->ingest);
}

static bool take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;
    int64_t size;

    f->response = *r;
    f->step = STEP_RECEIVE;
    f->result.upstream_status = r->status;
    if (r->status != 200 && r->status != 206)
        return true; /* take_end() says what it means */
    /* A Content-Encoding is passed over: stores call layers gzip for what they are. The digest tells whether these are
     * the bytes.
     */
    if (r->status == 206) {
        if (r->range_first != f->first)
            return refuse_answer(f, "upstream sent another range than was asked for");
        size = r->range_total;
        f->at = f->first;
        f->skip = 0;
    } else {
        size = r->content_length; /* the whole, whatever was asked for: pass over what is here */
        f->at = 0;
        f->skip = f->first;
    }
    /* Linked first: an empty blob is complete, and on its way into the index, once its size is known. */
    ingest_also_link(f->ingest, f->name, PROOF_BYTES, f->is_private);
    if (!ingest_describe(f->ingest, size, strncmp(r->etag, "W/", 2) == 0 ? "" : r->etag, &f->result.err))
        return false;
    if (ingest_is_ahead(f->ingest))
        upstream_pause(f->call, true); /* before the first byte: drained() goes on when there is room */
    else
        answer_followers(f);
    return true;
}

/* libcurl hands out 16 KiB at a time. They are gathered, as many as one turn of the loop brings, so that writing,
 * hashing and waking followers cost once for all of them. */
static bool flush(struct fetch *f)
{
    size_t len = f->received.len;

    if (len == 0 || f->unwritable)
        return !f->unwritable;
    f->received.len = 0;
    /* After a piece that was not taken, nothing that follows has its place. */
    f->unwritable = !ingest_write(f->ingest, f->at, f->received.data, len, &f->result.err);
    if (f->unwritable)
        return false;
    f->at += (int64_t)len;
    if (f->call && ingest_is_ahead(f->ingest)) {
        upstream_pause(f->call, true);
        buf_free(&f->received); /* its client may not read for long */
    }
    return true;
}

static void drained(void *arg)
{
    struct fetch *f = arg;

    answer_followers(f);
    if (f->call)
        upstream_pause(f->call, false);
}

static void flush_turn(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    flush(arg); /* if it fails, the next piece, or the end, says so */
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;

    if (f->response.status != 200 && f->response.status != 206)
        return true;
    size_t over = (size_t)MIN(f->skip, (int64_t)len);
    f->skip -= (int64_t)over;
    f->at += (int64_t)over;
    if (!f->flush)
        f->flush = event_new(loop_base(f->fetcher->loop), -1, 0, flush_turn, f);
    if (f->received.len == 0)
        event_active(f->flush, EV_TIMEOUT, 0);
    buf_add(&f->received, (const char *)data + over, len - over);
    return !f->unwritable && (f->received.len < (is_relay(f) ? GATHER_RELAY : GATHER) || flush(f));
}

static void try_again(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    fetch_run(arg, STEP_ASK);
}

/* Upstream broke off in the middle. Clients notice only time. */
static void resume_later(struct fetch *f, const struct err *why)
{
    int64_t received = ingest_received(f->ingest);

    f->fruitless = received > f->attempt_received ? 0 : f->fruitless + 1;
    if (f->fruitless >= FRUITLESS_MAX || f->attempts >= ATTEMPTS_MAX || f->fetcher->stopping) {
        f->result.err = *why;
        fetch_run(f, STEP_FAIL);
        return;
    }
    int64_t wait_s = why->code == ERR_RATE_LIMIT ? MIN(why->retry_after, (int)LIMITED_MAX_S) : 0;
    int64_t pause = MAX((int64_t)PAUSE_MS << f->fruitless, wait_s * 1000);
    log_limited_about(LOG_LEVEL_INFO, "broke off", f->site->host,
                      "a blob of %s broke off at %lld of %lld bytes (%s); going on in %lld ms", f->name,
                      (long long)received, (long long)ingest_size(f->ingest), why->msg, (long long)pause);
    if (!f->retry)
        f->retry = event_new(loop_base(f->fetcher->loop), -1, 0, try_again, f);
    event_add(f->retry, &(struct timeval){.tv_sec = pause / 1000, .tv_usec = pause % 1000 * 1000});
}

static void look_for_client(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct fetch *f = arg;

    if (fetch_take_offer(f)) {
        log_info("a blob of %s goes on with another client's token: the one before has ended", f->name);
        f->denied_ms = 0;
        fetch_run(f, STEP_ASK);
    } else if (f->fetcher->stopping) {
        return; /* finished() goes on */
    } else if (clock_mono_ms() - f->denied_ms >= OTHER_CLIENT_MS) {
        fetch_run(f, STEP_FAIL);
    } else {
        event_add(f->other_client, &(struct timeval){.tv_usec = OTHER_CLIENT_LOOK_MS * 1000});
    }
}

/* The client's token has ended while upstream broke off. */
static bool may_go_on_with_another(struct fetch *f)
{
    if (!f->answered || !f->offers || f->result.err.code != ERR_DENIED || f->attempts >= ATTEMPTS_MAX)
        return false;
    if (!f->other_client)
        f->other_client = event_new(loop_base(f->fetcher->loop), -1, 0, look_for_client, f);
    f->denied_ms = clock_mono_ms();
    event_active(f->other_client, EV_TIMEOUT, 0);
    return true;
}

/* The whole body came: is it all there is? */
static void body_complete(struct fetch *f)
{
    struct err short_of = {0};
    int64_t first, last;

    if (ingest_size(f->ingest) < 0)
        ingest_end_of_unknown(f->ingest);
    if (!ingest_gap(f->ingest, &first, &last))
        return; /* finished() goes on */
    err_set(&short_of, ERR_UPSTREAM, "upstream's answer ended early");
    resume_later(f, &short_of);
}

static void take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    bool good = r->status == 200 || r->status == 206;
    struct err unwritable = {.code = ERR_CANCELLED};

    f->call = NULL;
    if (!flush(f))
        err = &unwritable;
    struct err own = f->result.err;
    if (!err && good) {
        body_complete(f);
        return;
    }
    if (err && err->code == ERR_CANCELLED && own.code == ERR_CANCELLED)
        return; /* the ingest is over already: finished() goes on */
    if (err && err->code == ERR_CANCELLED)
        f->result.err = own; /* our own refusal, from take_head() or take_data() */
    else
        fetch_refused(f, r, err);
    bool contradiction = f->result.err.code == ERR_CORRUPT || r->status == 416;
    if (contradiction && !f->begun_anew && !f->answered) {
        f->begun_anew = f->to_begin_anew = true;
        ingest_stop(f->ingest, &f->result.err, true);
        return; /* finished() asks again, from nothing */
    }
    if (contradiction && f->answered) /* a page, another size: of this endpoint, or of this moment */
        f->result.err.code = ERR_UPSTREAM;
    if (f->result.err.code == ERR_NO_SPACE && fetch_ask_for_room(f))
        return;
    if (may_go_on_with_another(f))
        return;
    if (f->answered && err_is_passing(&f->result.err)) {
        struct err why = f->result.err;
        resume_later(f, &why);
        return;
    }
    fetch_run(f, STEP_FAIL);
}

/* ---- the ingest's words ---- */

static bool is_of_another_repository(const struct fetch *f, const struct waiter *w)
{
    return strcmp(w->name, f->name) != 0;
}

/* One repository's refusal is not another's. */
static void let_others_try(struct fetch *f)
{
    if (!f->fetcher->stopping)
        fetch_part_with(f, is_of_another_repository, fetch_begin_again);
}

static void finished(void *arg, enum ingest_state state, const struct err *err);

static void deserted(void *arg)
{
    fetch_note_desertion(arg);
}

/* The first client that wants the bytes alone; the others are told that there is no room, and ask anew. */
static struct waiter *part_with_all_but_one(struct fetch *f, const struct err *no_room)
{
    const struct fetch_result r = {.how = HOW_ERROR, .err = *no_room};
    struct waiter *w, *one = NULL;

    while ((w = fetch_first_waiter(f)))
        if (one || w->keep)
            fetch_answer_one(w, &r, NULL);
        else
            one = w;
    return one;
}

/* There is no room for it, and upstream waits with the first byte: one client gets it past the disk in the same
 * exchange. (Not of one that came over HTTP/2, see `unshared` in transfer.h: its client asks for a relay.) */
static bool turn_to_relay(struct fetch *f, const struct err *no_room)
{
    struct waiter *one;

    if (no_room->code != ERR_NO_SPACE || !f->call || f->response.multiplexed || f->answered ||
        f->response.status != 200 || f->first > 0 || is_relay(f) || f->fetcher->stopping ||
        !(one = part_with_all_but_one(f, no_room)))
        return false;
    fetch_wait(f, one);
    f->kind = FETCH_BLOB_RELAY;
    f->sent = one->sent;
    fetch_name_relay(f);
    ingest_unref(f->ingest);
    f->ingest = ingest_begin_relay(cache_ingests(fetch_cache(f)), &f->digest, f->fetcher->loop, finished, deserted,
                                   drained, f, &f->sent, &f->result.err);
    if (f->ingest && ingest_describe(f->ingest, f->response.content_length, "", &f->result.err)) {
        drained(f);
    } else {
        upstream_cancel(f->call);
        f->call = NULL;
        fetch_run(f, STEP_FAIL);
    }
    return true;
}

static void finished(void *arg, enum ingest_state state, const struct err *err)
{
    struct fetch *f = arg;
    bool unproved = state == INGEST_STORED && f->call && !f->answered;
    struct waiter *w;

    if (err && turn_to_relay(f, err))
        return;
    if (f->call)
        upstream_cancel(f->call);
    f->call = NULL;
    if (unproved) { /* what was here became a blob before upstream said that the repository has it */
        ingest_unref(f->ingest);
        f->ingest = NULL;
        fetch_run(f, STEP_LOOKUP);
        return;
    }
    if (state == INGEST_NOT_STORED && !f->answered)
        answer_followers(f); /* the size was not known before */
    if (state == INGEST_STORED || state == INGEST_NOT_STORED) {
        f->result.err.code = ERR_OK;
        f->result.how = HOW_MISS;
        f->result.size = ingest_size(f->ingest);
        fetch_run(f, STEP_DONE);
        return;
    }
    if (err && err->code == ERR_DIGEST) {
        atomic_fetch_add(&f->fetcher->all->mismatches, 1);
        log_limited_about(LOG_LEVEL_ERROR, "wrong bytes", f->site->host, "a blob of %s from %s: %s", f->name,
                          f->site->host, err->msg);
    }
    if (f->to_begin_anew && state == INGEST_FAILED && !f->fetcher->stopping) {
        f->to_begin_anew = false;
        ingest_unref(f->ingest);
        f->ingest = NULL;
        f->result.err.code = ERR_OK;
        fetch_run(f, STEP_ASK);
        return;
    }
    /* Who came while it was being put off, or dropped, begins anew: the failure was of those before. */
    while ((f->answered || f->given_up) && !f->fetcher->stopping && (w = fetch_first_waiter(f)))
        fetch_again(w);
    if (err && f->result.err.code == ERR_OK)
        f->result.err = *err;
    f->result.how = f->result.how == HOW_DENIED ? HOW_DENIED : HOW_ERROR;
    let_others_try(f);
    fetch_run(f, STEP_DONE);
}

/* ---- ask ---- */

static enum step ask(struct fetch *f)
{
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);
    int64_t last;

    if (!f->ingest && is_relay(f))
        f->ingest = ingest_begin_relay(cache_ingests(fetch_cache(f)), &f->digest, f->fetcher->loop, finished, deserted,
                                       drained, f, &f->sent, &f->result.err);
    else if (!f->ingest)
        f->ingest = ingest_begin(cache_ingests(fetch_cache(f)), &f->digest, f->site->host, f->fetcher->loop, finished,
                                 deserted, drained, f, &f->result.err);
    if (!f->ingest)
        return STEP_FAIL;
    if (!ingest_gap(f->ingest, &f->first, &last))
        return f->answered ? STEP_WAIT : STEP_PROVE;
    bool ranged = f->first > 0 || last >= 0;
    const char *validator = ingest_validator(f->ingest);
    struct upstream_request req = {
        .method = "GET",
        .repository = f->path,
        .path = path,
        .range_first = ranged ? f->first : -1,
        .range_last = last,
        .if_range = validator[0] ? validator : NULL,
        .endpoint_first = f->fruitless,
        .unshared = is_relay(f),
        .lack_ms = f->tags.negative_ttl_ms,
        .on_head = take_head,
        .on_data = take_data,
        .on_done = take_end,
        .arg = f,
    };
    fetch_offers_begin(f);
    fetch_identify(f, &req);
    if (ranged && f->attempts == 0)
        log_limited_about(LOG_LEVEL_INFO, "resumed", f->site->host, "a blob of %s is resumed at %lld of %lld bytes",
                          f->name, (long long)f->first, (long long)ingest_size(f->ingest));
    f->attempts++;
    f->unwritable = false;
    f->received.len = 0;
    f->attempt_received = ingest_received(f->ingest);
    f->result.err.code = ERR_OK;
    f->call = upstream_start(f->site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
    fetch_note_desertion(f); /* they may have left while it was verified, or proved */
    return STEP_WAIT;
}

static enum step fail(struct fetch *f)
{
    f->result.how = f->result.how == HOW_DENIED ? HOW_DENIED : HOW_ERROR;
    if (!f->ingest) {
        let_others_try(f);
        return STEP_DONE;
    }
    bool useless =
        ingest_received(f->ingest) == 0 || f->result.err.code == ERR_IO || f->result.err.code == ERR_NO_SPACE;
    ingest_stop(f->ingest, &f->result.err, useless);
    return STEP_WAIT; /* finished() ends it */
}

const struct fetch_steps BLOB_STEPS = {
    "blob",
    {
        [STEP_LOOKUP] = lookup,
        [STEP_VERIFY] = fetch_verify,
        [STEP_PROVE] = fetch_prove,
        [STEP_ASK] = ask,
        [STEP_RECEIVE] = NULL, /* transfer callbacks: take_head, take_data, take_end */
        [STEP_FAIL] = fail,
    },
    NULL,
};
