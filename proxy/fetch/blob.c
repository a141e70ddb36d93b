/* The life of a blob's fetch:
 *
 *            ┌ here, the repository's ───────────────────────────────────────────────▶ done: served from the store
 *   lookup ──┼ here, not known to be the repository's ─▶ prove ──────────────────────▶ done
 *            ├ a file that has to be verified first ───▶ verify ─▶ lookup
 *            ├ a part that has the piece ──────────────▶ followed at once (partial.c): the registry is not asked
 *            └ absent ─▶ ask ─▶ receive: all waiters follow the ingest ──────────────▶ done, when it is stored
 *                         ▲        │
 *                         └────────┘ the last source broke off: what is missing, after a pause (resume.c)
 *
 *   any ─▶ fail: the ingest is paused (its part stays) or, if its bytes are wrong, dropped ─▶ done.
 *
 * The first request is one exchange: a plain GET; or what an earlier ingest left out; or, of a blob of which only a
 * piece is asked for, that piece rounded to segments. Its answer says the size. From then on the waiters follow the
 * ingest, and the plan (sources.c, plan.h) says which ranges are requested next, over how many connections. If a source
 * fails beside others, they bring its rest; the failure of the last one is the fetch's.
 *
 * When no client waits and all that they asked for is here, a fetch of pieces rests without a source. No waiters and
 * followers for some seconds: a fetch of the whole goes on if at least half is here, else the ingest is paused.
 */
#include "proxy/fetch/blob.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

static bool blob_source_opened(struct blob_source *s, int64_t size, const struct transfer_response *r);
static void blob_source_ended(struct blob_source *s);
static void blob_source_failed(struct blob_source *s, const struct transfer_response *r, const struct err *err);
static struct ingest *blob_begin(struct fetch *f);

static const struct blob_source_events SOURCE_EVENTS = {blob_source_opened, blob_source_ended, blob_source_failed};

static enum step blob_lookup(struct fetch *f)
{
    struct fetch_waiter *w = STAILQ_FIRST(&f->waiters);
    struct blob_fetch *b = blob_of(f);

    if (b->most == 0) { /* the beginning */
        b->source_events = &SOURCE_EVENTS;
        TAILQ_INIT(&b->sources);
        b->most = 1;
        b->ahead = f->want.ahead;
        b->kept = f->want.keep && !b->ahead;
        b->whole = !f->want.piece.given && !b->ahead;
    }
    f->result.how = HOW_HIT;
    f->result.digest = f->digest;
    if (!blob_is_relay(f) && fetch_must_verify(f, &f->digest))
        return STEP_VERIFY;
    fetch_find(f, NULL, &f->digest, &f->hit);
    if (blob_is_relay(f) || (f->hit.stored && cache_look(fetch_cache(f), &f->digest) == FILE_MISSING))
        f->hit.stored = false; /* fetched in any case */
    bool proved = w && w->proved && !fetch_needs_bytes(f, &f->hit);
    if (f->hit.stored && (cache_is_blob_of(&f->hit) || proved)) {
        f->result.size = f->hit.blob.size;
        return STEP_DONE;
    }
    if (!f->hit.stored && blob_may_be_partial(f) && (b->ingest = blob_begin(f)) && blob_begin_partial(f))
        return STEP_WAIT;
    if (fetch_is_offline(f) || f->want.have) {
        err_set(&f->result.err, ERR_NOT_FOUND, "a blob of %s: not in the cache, and %s", f->want.name,
                f->want.have ? "this is all that was asked" : fetch_why_offline(f));
        f->result.how = HOW_ERROR;
        return b->ingest ? STEP_FAIL : STEP_DONE;
    }
    return f->hit.stored && !fetch_needs_bytes(f, &f->hit) ? STEP_PROVE : STEP_ASK;
}

/* ---- ask and receive ---- */

static void answer_followers(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    if (b->waiters_follow || (ingest_size(b->ingest) < 0 && !blob_is_relay(f)))
        return;
    b->waiters_follow = true;
    f->result.how = blob_is_relay(f) ? HOW_BYPASS : blob_how(f);
    f->result.size = ingest_size(b->ingest);
    fetch_answer(f, b->ingest);
}

static bool blob_source_opened(struct blob_source *s, int64_t size, const struct transfer_response *r)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);

    if (s->further && r->status == 200 && blob_source_is_registry(s))
        return err_set(&s->err, ERR_UPSTREAM, "the registry does not serve ranges");
    if (s->ranged && r->status == 200 && (size < 0 || size > s->ranged_to))
        upstream_note_one_stream(f->want.site->upstream, true);
    if (r->status == 206 && blob_needs_beginning(f, size))
        return err_set(&s->err, ERR_CORRUPT, "without caching, the rest of a blob is sent behind its beginning");
    /* Linked first: once its size is known, an empty blob is complete, and on its way into the index. */
    bool vouched = blob_source_is_registry(s);
    blob_source_prove(s);
    b->proved = true;
    if (!vouched || (r->status == 206 && blob_striped_is_on(f) && blob_is_whole(f) && size > s->ranged_to))
        ingest_note_unvouched(b->ingest);
    if (s->peer)
        blob_striped_note_giver(b, s->peer);
    if (vouched)
        ingest_note_sized(b->ingest);
    if (!b->has_opened)
        b->opened = vouched ? STRIPE_REGISTRY : s->choice.from;
    b->has_opened = true;
    const char *etag = !vouched ? NULL : strncmp(r->etag, "W/", 2) == 0 ? "" : r->etag;
    if (!ingest_describe(b->ingest, size, etag, &s->err))
        return false;
    blob_need_room(f);
    if (ingest_is_ahead(b->ingest)) {
        supply_pause(&s->supply, true); /* before the first byte: blob_drained() goes on when there is room */
        return true;
    }
    answer_followers(f);
    if (!s->further)
        blob_sources_plan(f);
    return true;
}

static void blob_drained(void *arg)
{
    struct fetch *f = arg;

    answer_followers(f);
    blob_sources_pause(blob_of(f), false);
    blob_sources_plan(f);
}

static void blob_wanted(void *arg)
{
    struct fetch *f = arg;

    if (blob_of(f)->waiters_follow)
        blob_sources_plan(f);
}

static void blob_source_ended(struct blob_source *s)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    struct err short_of = {0};

    if (ingest_size(b->ingest) < 0)
        ingest_end_of_unknown(b->ingest);
    if (s->spans && s->brought == 0 && !s->stuck) {
        err_set(&s->err, ERR_UPSTREAM, "upstream sent nothing of several ranges");
        short_of = s->err;
        blob_source_lost(s, &short_of);
        return;
    }
    bool is_short = s->at < MIN(s->end, ingest_size(b->ingest));
    if (is_short && !blob_source_is_registry(s)) {
        blob_striped_failed(s, "it ended early");
        return;
    }
    if (is_short)
        err_set(&short_of, ERR_UPSTREAM, "upstream's answer ended early");
    if (is_short && b->source_count > 1) {
        blob_source_lost(s, &short_of);
        return;
    }
    blob_source_free(s);
    if (is_short) {
        blob_resume_later(f, &short_of);
        return;
    }
    blob_sources_plan(f); /* if all is here, blob_finished() goes on */
}

/* The only one, or the last of several. */
static void blob_failed(struct fetch *f, const struct transfer_response *r, bool hinted)
{
    struct blob_fetch *b = blob_of(f);
    bool contradiction = f->result.err.code == ERR_CORRUPT || r->status == 416;

    blob_sources_cancel(b);
    if (contradiction && !b->waiters_follow && blob_may_restart(f, r->status == 416, hinted)) {
        b->to_restart = true;
        ingest_stop(b->ingest, &f->result.err, true);
        return; /* blob_finished() asks again, from nothing */
    }
    if (contradiction && b->waiters_follow) /* a page, another size: of this endpoint, or of this moment */
        f->result.err.code = ERR_UPSTREAM;
    /* Blobs that fill the disk together would all be lost: one is, and the others wait for its space. */
    if (f->result.err.code == ERR_NO_SPACE && b->waiters_follow && ingests_are_freeing(cache_ingests(fetch_cache(f)))) {
        struct err why = f->result.err;
        blob_resume_later(f, &why);
        return;
    }
    if (f->result.err.code == ERR_NO_SPACE && blob_ask_for_room(f))
        return;
    if (blob_resume_as_another(f))
        return;
    /* A signed URL may have ended, or be good for one connection: another is asked for, once. */
    bool denied_once = f->result.err.code == ERR_DENIED && b->fruitless == 0 && ingest_received(b->ingest) > 0;
    if (b->waiters_follow && (err_is_passing(&f->result.err) || denied_once)) {
        struct err why = f->result.err;
        blob_resume_later(f, &why);
        return;
    }
    fetch_run(f, STEP_FAIL);
}

static void blob_source_failed(struct blob_source *s, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    struct err own = s->err;
    bool hinted = f->want.piece.given || blob_striped_is_on(f);

    if (!blob_source_is_registry(s) && own.code != ERR_IO && own.code != ERR_NO_SPACE && own.code != ERR_CANCELLED) {
        blob_striped_failed(s, err ? err->msg : "it does not have it");
        return;
    }
    if ((own.code == ERR_CORRUPT || r->status == 416) && b->waiters_follow && ingest_is_unvouched(b->ingest)) {
        blob_striped_wrong_size(f);
        return;
    }
    if (blob_source_can_be_lost(s)) {
        if (!s->spans && (r->status == 429 || r->status == 503 || (r->status == 200 && s->ranged)))
            upstream_note_one_stream(f->want.site->upstream, r->status == 200);
        blob_source_lost(s, err && err->code != ERR_CANCELLED ? err : &own);
        return;
    }
    blob_source_free(s);
    if (err && err->code == ERR_CANCELLED && own.code == ERR_CANCELLED)
        return; /* the ingest is over already: blob_finished() goes on */
    if (err && err->code == ERR_CANCELLED)
        f->result.err = own; /* its head, or what it brought, was refused */
    else
        fetch_refused(f, r, err);
    blob_failed(f, r, hinted);
}

/* ---- the ingest's callbacks ---- */

static void blob_finished(void *arg, enum ingest_state state, const struct err *err);

static void blob_deserted(void *arg)
{
    fetch_note_desertion(arg);
}

static struct ingest_events blob_events(struct fetch *f)
{
    return (struct ingest_events){blob_finished, blob_deserted, blob_drained, blob_wanted, f};
}

static struct ingest *blob_begin_relay(struct fetch *f)
{
    const struct ingest_events events = blob_events(f);

    return ingest_begin_relay(cache_ingests(fetch_cache(f)), &f->digest, f->fetcher->loop, &events, &f->want.sent,
                              &f->result.err);
}

static struct ingest *blob_begin(struct fetch *f)
{
    const struct ingest_events events = blob_events(f);

    return ingest_begin(cache_ingests(fetch_cache(f)), &f->digest, f->want.site->host, f->fetcher->loop, &events,
                        &f->result.err);
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
    struct blob_source *s = TAILQ_FIRST(&b->sources);
    struct fetch_waiter *one;

    if (no_room->code != ERR_NO_SPACE || b->source_count != 1 || !s->supply.call || f->response.multiplexed ||
        b->waiters_follow || s->status != 200 || s->first > 0 || blob_is_relay(f) || f->fetcher->stopping ||
        !(one = part_with_all_but_one(f, no_room)))
        return false;
    fetch_wait(f, one);
    f->want.kind = FETCH_BLOB_RELAY;
    f->want.sent = one->want.sent;
    free(f->key); /* nobody else finds it from now on */
    f->key = fetch_key(f->fetcher->all, &f->want);
    ingest_unref(b->ingest);
    b->ingest = blob_begin_relay(f);
    if (b->ingest && ingest_describe(b->ingest, f->response.content_length, "", &f->result.err)) {
        ingests_note_unstored(cache_ingests(fetch_cache(f)), no_room);
        blob_drained(f);
    } else {
        blob_sources_cancel(b);
        fetch_run(f, STEP_FAIL);
    }
    return true;
}

static void blob_finished(void *arg, enum ingest_state state, const struct err *err)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);
    bool unproved = (state == INGEST_STORED || state == INGEST_NOT_STORED) && !b->proved && !blob_is_relay(f);
    struct fetch_waiter *w;

    if (err && turn_to_relay(f, err))
        return;
    blob_sources_cancel(b);
    if (f->call)
        upstream_cancel(f->call);
    f->call = NULL;
    if (unproved) { /* the part was whole before upstream answered whether the repository contains it */
        ingest_unref(b->ingest);
        b->ingest = NULL;
        if (f->fetcher->stopping)
            err_set(&f->result.err, ERR_CANCELLED, "the cache is being stopped");
        fetch_run(f, f->fetcher->stopping ? STEP_FAIL : STEP_LOOKUP);
        return;
    }
    if (state == INGEST_NOT_STORED && !b->waiters_follow)
        answer_followers(f); /* the size was not known before */
    if (state == INGEST_STORED || state == INGEST_NOT_STORED) {
        if (state == INGEST_STORED)
            blob_striped_offer(f);
        f->result.err.code = ERR_OK;
        f->result.how = blob_how(f);
        f->result.size = ingest_size(b->ingest);
        fetch_run(f, STEP_DONE);
        return;
    }
    if (err && err->code == ERR_DIGEST && ingest_is_unvouched(b->ingest))
        blob_striped_distrust(f);
    else if (err && err->code == ERR_DIGEST) {
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
    blob_let_others_try(f);
    fetch_run(f, STEP_DONE);
}

/* ---- ask ---- */

static enum step blob_ask_first(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t first, end;

    if (!blob_piece_to_ask(f, &first, &end))
        ingest_gap(b->ingest, 0, &first, &end);
    else if (first == end)
        return STEP_PROVE; /* the piece is here */
    if (first >= 0 && blob_striped_is_on(f)) {
        blob_striped_ask_first(f, first, end);
        return STEP_WAIT;
    }
    if (b->attempts == 0 && ingest_received(b->ingest) > 0)
        log_limited_about(LOG_LEVEL_INFO, "resumed", f->want.site->host,
                          "a blob of %s is resumed at %lld of %lld bytes", f->want.name, (long long)first,
                          (long long)ingest_size(b->ingest));
    blob_source_begin(f, first, end, false);
    return STEP_WAIT;
}

static enum step blob_ask(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t first, end;

    if (!b->ingest)
        b->ingest = blob_is_relay(f) ? blob_begin_relay(f) : blob_begin(f);
    if (!b->ingest)
        return STEP_FAIL;
    if (!ingest_gap(b->ingest, 0, &first, &end))
        return b->waiters_follow ? STEP_WAIT : STEP_PROVE;
    b->resting = false;
    blob_striped_begin(f);
    blob_offers_begin(f);
    b->attempt_received = ingest_received(b->ingest);
    f->result.err.code = ERR_OK;
    enum step next = STEP_WAIT;
    if (!b->waiters_follow || ingest_size(b->ingest) < 0)
        next = blob_ask_first(f);
    else
        blob_sources_plan(f);
    b->attempts++;
    fetch_note_desertion(f); /* all may have left while it was verified, or proved */
    return next;
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
        blob_let_others_try(f);
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
    blob_sources_clear(b);
    blob_forget_redirect(b);
    free_event(b->other_client);
    blob_offers_end(f);
    blob_striped_clear(b);
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
            [STEP_RECEIVE] = NULL, /* callbacks of its exchanges, in source.c */
            [STEP_FAIL] = blob_fail,
        },
    .join = blob_join,
    .is_wanted = blob_is_wanted,
    .abandon = blob_abandon,
    .stop = blob_stop,
    .clear = blob_clear,
};
