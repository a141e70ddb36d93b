#include "proxy/fetch/plan.h"

static int64_t round_up(int64_t offset)
{
    return (offset + INGEST_SEGMENT - 1) / INGEST_SEGMENT * INGEST_SEGMENT;
}

/* The source on whose way `at` is; NULL: there is none. */
static const struct plan_source *source_of(const struct plan_view *v, int64_t at)
{
    for (size_t k = 0; k < v->source_count; k++)
        if (v->sources[k].at <= at && at < v->sources[k].end)
            return &v->sources[k];
    return NULL;
}

/* Whether a source comes to `at` soon, or is there. */
static bool is_near(const struct plan_view *v, int64_t at)
{
    const struct plan_source *s = source_of(v, at);

    return s && at - s->at <= PLAN_NEAR;
}

/* The first range at or behind `from` that is missing, and not on the way of a source. */
static bool next_free(const struct plan_view *v, int64_t from, int64_t *first, int64_t *end)
{
    const struct plan_source *s;

    while (v->gap(v->arg, from, first, end)) {
        if ((s = source_of(v, *first))) {
            from = MAX(round_up(s->end), from + INGEST_SEGMENT);
            continue;
        }
        for (size_t k = 0; k < v->source_count; k++)
            if (v->sources[k].at > *first)
                *end = MIN(*end, v->sources[k].at);
        return true;
    }
    return false;
}

/* How much is requested at a time. */
static int64_t range_length(const struct plan_view *v)
{
    int64_t missing = v->size - v->received;

    if (v->most == 1 && v->connections == 0)
        return INT64_MAX / 2;
    return round_up(MIN(MAX(missing / (2 * v->limit), (int64_t)PLAN_RANGE_MIN), (int64_t)PLAN_RANGE_MAX));
}

static struct plan begin_at(int64_t first, int64_t end)
{
    return (struct plan){.what = PLAN_BEGIN, .first = first, .end = end};
}

static struct plan shorten(const struct plan_view *v, const struct plan_source *s, int64_t end)
{
    return (struct plan){.what = PLAN_SHORTEN, .source = (size_t)(s - v->sources), .end = end};
}

/* ---- clients first ---- */

static bool serves_a_client(const struct plan_view *v, const struct plan_source *s)
{
    for (size_t k = 0; k < v->waiting_count; k++)
        if (source_of(v, v->waiting[k].first) == s && is_near(v, v->waiting[k].first))
            return true;
    return false;
}

/* A source that no client waits for, to make place for one that a client does: the one that is farthest behind. */
static const struct plan_source *find_idle(const struct plan_view *v)
{
    const struct plan_source *idle = NULL;

    for (size_t k = 0; k < v->source_count; k++)
        if (!v->sources[k].in_use && !serves_a_client(v, &v->sources[k]) && (!idle || v->sources[k].at > idle->at))
            idle = &v->sources[k];
    return idle;
}

/* For one client. PLAN_NOTHING: it needs none, or there is no place for another connection. */
static struct plan plan_for(const struct plan_view *v, const struct ingest_span *want)
{
    bool reads = want + v->reading_count >= v->waiting + v->waiting_count;
    const struct plan nothing = {.what = PLAN_NOTHING};
    int64_t first, end;

    if (!v->gap(v->arg, want->first, &first, &end) || first >= want->end || is_near(v, first))
        return nothing;
    if (v->connections >= v->limit) {
        const struct plan_source *idle = v->limit > 1 && !reads ? find_idle(v) : NULL;
        return idle ? shorten(v, idle, idle->at) : nothing;
    }
    const struct plan_source *far = source_of(v, first);
    if (far)
        return shorten(v, far, first);
    for (size_t k = 0; k < v->source_count; k++)
        if (v->sources[k].at > first)
            end = MIN(end, v->sources[k].at);
    int64_t length = MAX(range_length(v), (int64_t)PLAN_WAITED_MIN);
    int64_t last =
        v->whole ? (first > INT64_MAX - length ? INT64_MAX : first + length) : MIN(round_up(want->end), v->size);
    return begin_at(first, MIN(end, MAX(last, first + 1)));
}

/* ---- the rest ---- */

static int64_t left_of(const struct plan_view *v, const struct plan_source *s)
{
    return MIN(s->end, v->size) - s->at;
}

/* Milliseconds until it has brought its range. */
static int64_t time_left(const struct plan_view *v, const struct plan_source *s)
{
    return s->rate > 0 ? left_of(v, s) / MAX(s->rate / 1000, (int64_t)1) : INT64_MAX / 2;
}

/* Of the source that takes longest another connection takes over a part: as much as both have brought at the same time,
 * or, of a source with a long way to go, all but its next range. */
static struct plan divide(const struct plan_view *v)
{
    const struct plan_source *s, *slowest = NULL;
    int64_t best = 1, length = range_length(v);

    for (s = v->sources; s < v->sources + v->source_count; s++) {
        best = MAX(best, s->rate);
        if (s->rate > 0 && left_of(v, s) >= 2 * (int64_t)PLAN_SPLIT_MIN && time_left(v, s) >= PLAN_SPLIT_MIN_MS &&
            (!slowest || time_left(v, s) > time_left(v, slowest)))
            slowest = s;
    }
    if (!slowest)
        return (struct plan){.what = PLAN_NOTHING};
    int64_t left = left_of(v, slowest);
    double share = (double)slowest->rate / (double)(slowest->rate + best);
    int64_t keep = left >= 3 * length ? length : (int64_t)((double)left * share);
    int64_t end = round_up(slowest->at + keep);
    return end < slowest->at + left ? shorten(v, slowest, end) : (struct plan){.what = PLAN_NOTHING};
}

struct plan plan_next(const struct plan_view *v)
{
    struct plan p = {.what = PLAN_NOTHING};
    int64_t first, end;

    for (size_t k = 0; k < v->waiting_count; k++)
        if ((p = plan_for(v, &v->waiting[k])).what != PLAN_NOTHING) {
            p.waiting = k;
            return p;
        }
    if (!v->whole || v->connections >= v->most)
        return p;
    if (next_free(v, 0, &first, &end)) {
        int64_t length = range_length(v);
        p = begin_at(first, end - first > length ? first + length : end);
        p.waiting = v->waiting_count;
        return p;
    }
    return v->source_count > 0 ? divide(v) : p;
}

bool plan_may_grow(int64_t rate, int connections, int64_t left)
{
    return rate > 0 && rate / MAX(connections, 1) < PLAN_FAST_RATE &&
           left / MAX(rate / 1000, (int64_t)1) >= PLAN_GROW_MS;
}
