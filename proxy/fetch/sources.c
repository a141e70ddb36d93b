/* The connections that bring a blob: how many there are, and which range each of them brings.
 *
 * One is enough for most blobs, and for fast registries. While a large one that is wanted as a whole would take
 * longer, another is tried, one at a time, and as many are kept as made the sum of their rates rise by a tenth each; a
 * client that waits elsewhere gets one at once. `parallel` of the upstream is the most. A registry that answers a range
 * with the whole blob, or refuses a second connection, gets one at a time for an hour, and so does a relay, and a blob
 * of unknown size.
 */
#include "proxy/fetch/blob.h"
#include "proxy/fetch/plan.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>

enum {
    TICK_MS = 80,
    JUDGE_MS = 160, /* another connection is judged so long after its first byte */
    GROW_AGAIN_MS = 400,
    STUCK_MS = 3000,  /* one of several that brings nothing for so long is given up */
    SILENT_MS = 1000, /* what is left of the range of the only one that has stopped for so long is requested again */
    HOLD_MS = 500,    /* after one has failed beside others */
    IN_USE_MS = 1000, /* a source goes on for so long after a client has waited for it */
    SEVERAL_BYTES = 1 << 20, /* that one request has ranges for */
    BETTER_PERCENT = 110,
};

static bool source_is_waited_for(const struct blob_source *s, const struct plan_view *v)
{
    for (size_t k = 0; k < v->waiting_count; k++)
        if (s->at <= v->waiting[k].first && v->waiting[k].first < MIN(s->end, s->at + PLAN_NEAR))
            return true;
    return false;
}

static int sources_stuck(const struct blob_fetch *b)
{
    const struct blob_source *s;
    int n = 0;

    TAILQ_FOREACH(s, &b->sources, entry)
        n += s->stuck;
    return n;
}

/* What the planner sees, and whose each range is. A fetch loop has one, of which each decision uses the memory again:
 * there is one for each piece that comes in, and more. */
struct sources_view {
    struct plan_view v;
    struct ingest_span waiting[PLAN_WAITING_MAX];
    struct plan_source *ranges;
    struct blob_source **owners;
    size_t ranges_cap, owners_cap;
};

void fetch_forget_view(struct fetcher *fr)
{
    if (fr->view) {
        free(fr->view->ranges);
        free(fr->view->owners);
    }
    free(fr->view);
    fr->view = NULL;
}

static struct sources_view *sources_view_of(struct fetcher *fr)
{
    ON_LOOP(fr->loop);
    if (!fr->view)
        fr->view = xcalloc(1, sizeof(*fr->view));
    return fr->view;
}

static void view_add(struct sources_view *sv, struct blob_source *s, int64_t at, int64_t end, bool in_use)
{
    size_t n = sv->v.source_count++;

    *ARRAY_NEXT(sv->owners, n, sv->owners_cap) = s;
    *ARRAY_NEXT(sv->ranges, n, sv->ranges_cap) =
        (struct plan_source){at, MIN(end, sv->v.size), s ? s->rate : 0, in_use};
    sv->v.sources = sv->ranges;
}

static void sources_describe(struct blob_fetch *b, struct sources_view *sv)
{
    int64_t now = clock_mono_ms();
    struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry) {
        if (source_is_waited_for(s, &sv->v))
            s->wanted_ms = now;
        bool in_use = s->spans || (s->wanted_ms > 0 && now - s->wanted_ms < IN_USE_MS);
        view_add(sv, s, s->at, s->end, in_use);
        for (size_t k = s->span + 1; k < s->span_count; k++)
            view_add(sv, s, s->spans[k].first, s->spans[k].end, true);
    }
}

/* ---- room ---- */

/* Bytes that it is to bring. */
static int64_t source_left(const struct blob_source *s, int64_t size)
{
    int64_t left = MAX(MIN(s->end, size) - s->at, (int64_t)0);

    for (size_t k = s->span + 1; k < s->span_count; k++)
        left += s->spans[k].end - s->spans[k].first;
    return left;
}

void blob_need_room(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t size = ingest_size(b->ingest), need = ingest_received(b->ingest);
    const struct blob_source *s;

    if (size <= 0 || blob_is_relay(f))
        return;
    TAILQ_FOREACH(s, &b->sources, entry)
        need += source_left(s, size);
    bool all = blob_is_whole(f) && (ingest_is_sized(b->ingest) || !ingest_is_unvouched(b->ingest));
    ingest_need_room(b->ingest, all ? size : need); /* nothing is evicted for a size that only another node says */
    if (ingest_is_ahead(b->ingest))
        blob_sources_pause(b, true);
}

/* ---- what is done by the plan ---- */

static bool sources_gap(void *arg, int64_t from, int64_t *first, int64_t *end)
{
    return ingest_gap(arg, from, first, end);
}

static struct sources_view *sources_look(struct fetch *f)
{
    struct sources_view *sv = sources_view_of(f->fetcher);
    struct blob_fetch *b = blob_of(f);
    int limit = blob_registry_limit(f);

    bool whole = blob_is_whole(f);
    size_t reading = 0;

    if (b->source_count == 0)
        ingest_listen(b->ingest);
    sv->v = (struct plan_view){
        .size = ingest_size(b->ingest),
        .received = ingest_received(b->ingest),
        .whole = whole,
        .most = MIN(b->most + sources_stuck(b), limit),
        .limit = limit,
        .connections = b->source_count,
        .waiting = sv->waiting,
        .waiting_count = ingest_waiting(b->ingest, sv->waiting, PLAN_WAITING_MAX, whole ? NULL : &reading),
        .gap = sources_gap,
        .arg = b->ingest,
    };
    sv->v.reading_count = reading;
    sources_describe(b, sv);
    return sv;
}

/* One connection for the range of the plan; and, while only pieces are wanted, for those behind it that would each be
 * worth one of their own. */
static void sources_begin(struct fetch *f, struct sources_view *sv, struct plan p)
{
    struct plan_view *v = &sv->v;
    struct ingest_span spans[PLAN_RANGES_MAX] = {{p.first, p.end}};
    bool several = !v->whole && !upstream_is_one_range(f->want.site->upstream) && blob_of(f)->fruitless == 0;
    bool further = v->connections > 0;
    int64_t bytes = p.end - p.first;
    size_t n = 1;

    while (several && n < PLAN_RANGES_MAX && bytes < SEVERAL_BYTES && v->source_count < PLAN_RANGES_MAX) {
        view_add(sv, NULL, p.first, p.end, true);
        v->waiting += p.waiting;
        v->waiting_count -= p.waiting;
        p = plan_next(v);
        if (p.what != PLAN_BEGIN || p.first < spans[n - 1].end)
            break;
        if (p.first == spans[n - 1].end)
            spans[n - 1].end = p.end;
        else
            spans[n++] = (struct ingest_span){p.first, p.end};
        bytes += p.end - p.first;
    }
    if (n > 1)
        blob_source_begin_several(f, spans, n, further);
    else
        blob_source_begin(f, spans[0].first, spans[0].end, further);
}

static void sources_shorten(struct blob_source *s, int64_t end)
{
    s->end = end;
    if (s->at < end)
        return;
    blob_source_flush(s);
    blob_source_free(s);
}

static void sources_watch(struct fetch *f);

/* Does one thing. False: there is nothing to do, now. */
static bool sources_step(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct sources_view *sv = sources_look(f);
    struct plan p = plan_next(&sv->v);

    if (p.what == PLAN_NOTHING)
        return false;
    if (b->source_count > 0 && (clock_mono_ms() < b->held_ms || ingest_is_ahead(b->ingest)))
        return false;
    if (p.what == PLAN_SHORTEN)
        sources_shorten(sv->owners[p.source], p.end);
    else
        sources_begin(f, sv, p);
    return true;
}

/* Whether clients wait for more than is here, and nobody may be asked. */
static bool sources_are_cut_off(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);
    struct ingest_span waiting;

    if (!b->unasked || b->source_count > 0 || !fetch_is_offline(f))
        return false;
    ingest_listen(b->ingest);
    return ingest_waiting(b->ingest, &waiting, 1, NULL) > 0;
}

void blob_sources_plan(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    if (f->fetcher->stopping || b->paused || b->resting || ingest_state(b->ingest) != INGEST_RECEIVING ||
        ingest_is_stopping(b->ingest) || ingest_size(b->ingest) < 0)
        return;
    if (sources_are_cut_off(f)) {
        err_set(&f->result.err, ERR_NOT_FOUND, "a blob of %s: a part of it is not in the cache, and %s", f->want.name,
                fetch_why_offline(f));
        fetch_run(f, STEP_FAIL);
        return;
    }
    if (b->unasked && b->source_count == 0 && fetch_is_offline(f))
        return;
    bool (*step)(struct fetch * f) = blob_striped_is_on(f) ? blob_striped_step : sources_step;
    for (int n = 0; n < 2 * PLAN_SOURCES_MAX && step(f); n++)
        ;
    blob_need_room(f);
    sources_watch(f);
}

/* ---- how many ---- */

/* Measures the rates; returns their sum. */
static int64_t sources_measure(struct blob_fetch *b)
{
    int64_t now = clock_mono_ms(), ms = MAX(now - b->measured_ms, (int64_t)1), sum = 0;
    struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry) {
        if (s->heard_ms > 0 && now - s->heard_ms >= TICK_MS)
            s->rate = MAX((s->rate + (s->brought - s->counted) * 1000 / ms) / (s->rate > 0 ? 2 : 1), (int64_t)1);
        s->counted = s->brought;
        sum += s->rate;
    }
    b->measured_ms = now;
    return sum;
}

/* Whether the newest connection has been heard for long enough. */
static bool sources_can_be_judged(const struct blob_fetch *b)
{
    const struct blob_source *s = TAILQ_LAST(&b->sources, blob_sources);

    return s && s->heard_ms > 0 && clock_mono_ms() - MAX(s->heard_ms, b->grown_ms) >= JUDGE_MS;
}

static void sources_grow(struct fetch *f, int64_t rate)
{
    struct blob_fetch *b = blob_of(f);
    int64_t now = clock_mono_ms(), left = ingest_size(b->ingest) - ingest_received(b->ingest);

    if (b->rate_before > 0) {
        if (!sources_can_be_judged(b))
            return;
        bool better = rate * 100 >= b->rate_before * BETTER_PERCENT;
        b->most -= better ? 0 : 1;
        b->rate_before = 0;
        b->grown_ms = better ? 0 : now;
    }
    if (b->source_count >= b->most && b->most < blob_registry_limit(f) && now - b->grown_ms >= GROW_AGAIN_MS &&
        plan_may_grow(rate, b->source_count, left)) {
        b->most++;
        b->rate_before = rate;
        b->grown_ms = now;
    }
}

/* Whether another one has brought something since `s` did. */
static bool others_go_on(const struct blob_source *s)
{
    const struct blob_source *t;

    TAILQ_FOREACH(t, &blob_of(s->fetch)->sources, entry)
        if (t != s && t->brought > 0 && t->active_ms > s->active_ms)
            return true;
    return false;
}

/* One that brings nothing beside others: without it, its bytes would be here by now. If it is the only one, another is
 * begun for what is left of its range, and it is kept until that has brought something: its registry gets its
 * stall_timeout. */
static bool sources_drop_stuck(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t now = clock_mono_ms();
    struct err stuck = {0};
    struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry) {
        if (ingest_is_ahead(b->ingest) || !blob_source_is_registry(s)) /* other nodes: cluster/ask.h */
            s->active_ms = now;
        int64_t silent = now - s->active_ms;
        if ((s->stuck || silent >= STUCK_MS) && (s->further ? silent >= STUCK_MS : others_go_on(s))) {
            err_set(&stuck, ERR_TIMEOUT, "it brings nothing");
            blob_source_flush(s);
            blob_source_lost(s, &stuck);
            return true;
        }
        if (silent >= (s->status > 0 ? SILENT_MS : STUCK_MS) && blob_registry_limit(f) > 1 && !s->stuck &&
            s->at < s->end) {
            blob_source_flush(s);
            s->stuck = true;
            s->end = s->at;
            s->span_count = MIN(s->span_count, s->span + 1);
        }
    }
    return false;
}

/* For as long as the loop did not turn, be it for a slow disk or without a processor, no source is silent: what it has
 * brought meanwhile waits in the kernel. */
static void sources_forgive(struct blob_fetch *b)
{
    int64_t now = clock_mono_ms(), late = now - b->tick_due_ms;
    struct blob_source *s;

    if (late > 0)
        TAILQ_FOREACH(s, &b->sources, entry)
            s->active_ms = MIN(s->active_ms + late, now);
}

static void sources_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct fetch *f = arg;
    struct blob_fetch *b = blob_of(f);

    if (!b->ingest || ingest_state(b->ingest) != INGEST_RECEIVING || ingest_is_stopping(b->ingest))
        return;
    sources_forgive(b);
    if (sources_drop_stuck(f))
        return;
    int64_t rate = sources_measure(b);
    if (blob_is_whole(f) && !blob_striped_is_on(f))
        sources_grow(f, rate);
    blob_sources_plan(f);
}

/* While something arrives that others may bring sooner, or in place of one that is silent, or is brought by several. */
static void sources_watch(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    bool further = false;
    const struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry)
        further = further || s->further;
    if (b->source_count == 0 || (blob_registry_limit(f) <= 1 && !further && !blob_striped_is_on(f)))
        return;
    if (!b->tick) {
        b->tick = event_new(loop_base(f->fetcher->loop), -1, 0, sources_tick, f);
        b->measured_ms = clock_mono_ms();
    }
    if (!event_pending(b->tick, EV_TIMEOUT, NULL)) {
        event_add(b->tick, &(struct timeval){.tv_usec = TICK_MS * 1000});
        b->tick_due_ms = clock_mono_ms() + TICK_MS;
    }
}

void blob_sources_clear(struct blob_fetch *b)
{
    blob_sources_cancel(b);
    if (b->tick)
        event_free(b->tick);
}

/* ---- one that failed ---- */

/* The registry has no answer to several ranges, or a wrong one: they are requested one by one. That an answer breaks
 * off does not say so. */
static bool refuses_several(const struct blob_source *s)
{
    bool is_wrong = s->status == 206 && s->err.code != ERR_OK;

    return s->spans && (s->status == 200 || is_wrong || s->status == 400 || s->status == 416 || s->status == 413 ||
                        s->status == 431);
}

bool blob_source_can_be_lost(const struct blob_source *s)
{
    bool ours = s->err.code == ERR_IO || s->err.code == ERR_NO_SPACE || s->err.code == ERR_CANCELLED;

    return !ours && (blob_of(s->fetch)->source_count > 1 || refuses_several(s));
}

/* The one before it had given up its range, which it still receives: it brings what is missing there after all. */
static void source_give_back(const struct blob_source *s)
{
    struct blob_fetch *b = blob_of(s->fetch);
    int64_t first, end = 0, size = ingest_size(b->ingest);
    struct blob_source *t, *before = NULL;

    if (s->brought > 0 || !ingest_gap(b->ingest, s->first, &first, &end))
        return;
    end = end >= size ? INT64_MAX : end;
    TAILQ_FOREACH(t, &b->sources, entry) {
        if (t != s && t->end == s->first)
            before = t;
        else if (t != s && t->at > s->first)
            end = MIN(end, t->at);
    }
    if (!before)
        return;
    before->end = MAX(before->end, MIN(before->asked_end, end));
    before->stuck = false;
}

void blob_source_lost(struct blob_source *s, const struct err *why)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);

    log_debug("a blob of %s: a connection failed: status %d, %s", f->want.name, s->status, why->msg);
    if (refuses_several(s)) {
        upstream_note_one_range(f->want.site->upstream);
    } else {
        b->lost++;
        b->held_ms = clock_mono_ms() + HOLD_MS;
        b->most = MAX(b->most - 1, 1);
        source_give_back(s);
    }
    b->rate_before = 0;
    blob_source_free(s);
    blob_sources_plan(f);
}
