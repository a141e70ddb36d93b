/* Ways to resume a blob: where upstream broke off, with another client's token, and from a complete part of an earlier
 * run. */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

enum {
    FRUITLESS_MAX = 5,      /* attempts in a row that brought nothing */
    LIMITED_MAX_S = 30,     /* a client waits that long in the middle of a blob for a limit to end */
    OTHER_CLIENT_MS = 3000, /* a client waits that long for one whose token is good */
    OTHER_CLIENT_LOOK_MS = 200,
    PAUSE_MS = 100, /* before the first further attempt; doubles with each fruitless one */
};

static void try_again(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    fetch_run(arg, STEP_ASK);
}

/* Upstream broke off in the middle. Clients notice only a pause. */
void blob_resume_later(struct fetch *f, const struct err *why)
{
    struct blob_fetch *b = blob_of(f);
    int64_t received = ingest_received(b->ingest);

    ON_LOOP(f->fetcher->loop);
    b->fruitless = received > b->attempt_received ? 0 : b->fruitless + 1;
    if (b->fruitless >= FRUITLESS_MAX || b->attempts >= BLOB_ATTEMPTS_MAX || f->fetcher->stopping) {
        f->result.err = *why;
        fetch_run(f, STEP_FAIL);
        return;
    }
    int64_t wait_s = why->code == ERR_RATE_LIMIT ? MIN(why->retry_after, (int)LIMITED_MAX_S) : 0;
    int64_t pause = MAX((int64_t)PAUSE_MS << b->fruitless, wait_s * 1000);
    log_limited_about(LOG_LEVEL_INFO, "broke off", f->want.site->host,
                      "a blob of %s broke off at %lld of %lld bytes (%s); resuming in %lld ms", f->want.name,
                      (long long)received, (long long)ingest_size(b->ingest), why->msg, (long long)pause);
    b->resting = true;
    blob_forget_redirect(b);
    if (!b->retry)
        b->retry = event_new(loop_base(f->fetcher->loop), -1, 0, try_again, f);
    event_add(b->retry, &(struct timeval){.tv_sec = pause / 1000, .tv_usec = pause % 1000 * 1000});
}

static void look_for_client(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);

    if (blob_take_offer(f)) {
        log_info("a blob of %s is resumed with another client's token: the previous one has expired", f->want.name);
        b->denied_ms = 0;
        fetch_run(f, STEP_ASK);
    } else if (f->fetcher->stopping) {
        return; /* blob_finished() goes on */
    } else if (clock_mono_ms() - b->denied_ms >= OTHER_CLIENT_MS) {
        fetch_run(f, STEP_FAIL);
    } else {
        event_add(b->other_client, &(struct timeval){.tv_usec = OTHER_CLIENT_LOOK_MS * 1000});
    }
}

/* The client's token has expired by the time upstream broke off. */
bool blob_resume_as_another(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    if (!b->waiters_follow || !b->offers || f->result.err.code != ERR_DENIED || b->attempts >= BLOB_ATTEMPTS_MAX)
        return false;
    if (!b->other_client)
        b->other_client = event_new(loop_base(f->fetcher->loop), -1, 0, look_for_client, f);
    b->denied_ms = clock_mono_ms();
    b->resting = true;
    event_active(b->other_client, EV_TIMEOUT, 0);
    return true;
}

/* ---- a part that is complete ---- */

static void part_proved(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);

    f->call = NULL;
    if (err || r->status != 200 || fetch_is_page(f, r)) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
        return;
    }
    ingest_also_link(b->ingest, f->want.name, PROOF_HEAD, f->want.is_private);
    b->proved = b->waiters_follow = true;
    f->result.upstream_status = r->status;
    f->result.how = HOW_MISS;
    f->result.size = ingest_size(b->ingest);
    fetch_answer(f, b->ingest); /* blob_finished() goes on, if all of it is here */
    blob_sources_plan(f);
}

enum step blob_prove_part(struct fetch *f)
{
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);

    ON_LOOP(f->fetcher->loop);
    fetch_call(f, "HEAD", path, NULL, NULL, NULL, part_proved);
    return STEP_WAIT;
}
