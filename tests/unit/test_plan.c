/* Which range of a blob is requested next: tables of single decisions, and whole downloads with random rates and
 * connections that fail. */
#include "tests/unit/unit.h"

#include "proxy/fetch/plan.h"

enum { PLAN_MIB = 1 << 20, CELLS = (256 << 20) / INGEST_SEGMENT /* segments of the largest blob */ };

/* What is here, a segment at a time; of those that arrive, how much. */
struct here {
    int64_t size, end[CELLS];
};

static int64_t cell_end(const struct here *h, int64_t cell)
{
    return MIN((cell + 1) * INGEST_SEGMENT, h->size);
}

static void here_make(struct here *h, int64_t size)
{
    assert_true(size <= (int64_t)CELLS * INGEST_SEGMENT);
    h->size = size;
    for (int64_t k = 0; k < CELLS; k++)
        h->end[k] = k * INGEST_SEGMENT;
}

/* As ingest_gap(). */
static bool here_gap(void *arg, int64_t from, int64_t *first, int64_t *end)
{
    struct here *h = arg;
    int64_t k = from / INGEST_SEGMENT;

    while (k * INGEST_SEGMENT < h->size && h->end[k] == cell_end(h, k))
        k++;
    if (k * INGEST_SEGMENT >= h->size)
        return false;
    *first = h->end[k];
    for (k++; k * INGEST_SEGMENT < h->size && h->end[k] == k * INGEST_SEGMENT;)
        k++;
    *end = MIN(k * INGEST_SEGMENT, h->size);
    return true;
}

static int64_t here_received(const struct here *h)
{
    int64_t n = 0;

    for (int64_t k = 0; k < CELLS; k++)
        n += h->end[k] - k * INGEST_SEGMENT;
    return n;
}

/* [at, to) has come. */
static void here_add(struct here *h, int64_t at, int64_t to)
{
    for (int64_t k; at < to; at = MIN(to, cell_end(h, k))) {
        k = at / INGEST_SEGMENT;
        if (at <= h->end[k])
            h->end[k] = MAX(h->end[k], MIN(to, cell_end(h, k)));
    }
}

/* ---- one decision ---- */

static const struct decision {
    const char *what;
    int64_t size;    /* MiB, as all that follow */
    int64_t here[2]; /* a range that is here */
    bool whole;
    int most, limit;
    struct plan_source sources[3]; /* end 0: no more */
    struct ingest_span waiting[2]; /* end 0: no more */
    enum plan_what expected;
    size_t source;
    int64_t first, end;
} DECISIONS[] = {
    {"one connection takes all", 100, {0, 0}, true, 1, 1, {}, {}, PLAN_BEGIN, 0, 0, 100},
    {"it goes on behind what is here", 100, {0, 10}, true, 1, 1, {}, {}, PLAN_BEGIN, 0, 10, 100},
    {"and up to it", 100, {50, 60}, true, 1, 1, {}, {}, PLAN_BEGIN, 0, 0, 50},
    {"a second one is not begun", 100, {0, 0}, true, 1, 4, {{0, 50, 0, false}}, {}, PLAN_NOTHING, 0, 0, 0},
    {"a client that waits elsewhere gets a fraction, too",
     200,
     {0, 0},
     true,
     1,
     4,
     {{0, 50, 0, true}},
     {{50, 200}},
     PLAN_BEGIN,
     0,
     50,
     75},
    {"which is not a small one", 100, {0, 0}, true, 1, 4, {{0, 50, 0, true}}, {{50, 100}}, PLAN_BEGIN, 0, 50, 66},
    {"several have a fraction each", 100, {0, 0}, true, 2, 4, {{0, 20, 0, false}}, {}, PLAN_BEGIN, 0, 20, 32},
    {"nothing is missing", 10, {0, 10}, true, 4, 4, {}, {}, PLAN_NOTHING, 0, 0, 0},
    {"nobody wants the rest", 100, {0, 0}, false, 4, 4, {}, {}, PLAN_NOTHING, 0, 0, 0},
    {"a client wants a piece of it", 100, {0, 0}, false, 4, 4, {}, {{50, 51}}, PLAN_BEGIN, 0, 50, 51},
    {"a source is near to it", 100, {0, 0}, false, 4, 4, {{49, 60, 0, false}}, {{50, 51}}, PLAN_NOTHING, 0, 0, 0},
    {"a source is far from it", 100, {0, 0}, true, 1, 4, {{0, 100, 0, false}}, {{50, 51}}, PLAN_SHORTEN, 0, 0, 50},
    {"what it wants is here", 100, {40, 60}, false, 4, 4, {}, {{50, 51}}, PLAN_NOTHING, 0, 0, 0},
    {"no place: one that nobody waits for goes",
     100,
     {0, 0},
     true,
     2,
     2,
     {{0, 20, 0, false}, {20, 40, 0, false}},
     {{90, 91}},
     PLAN_SHORTEN,
     1,
     0,
     20},
    {"unless a client has waited for it a moment ago",
     100,
     {0, 0},
     true,
     2,
     2,
     {{0, 20, 0, true}, {20, 40, 0, true}},
     {{90, 91}},
     PLAN_NOTHING,
     0,
     0,
     0},
    {"one connection at a time stays",
     100,
     {0, 0},
     true,
     1,
     1,
     {{0, 100, 0, false}},
     {{90, 91}},
     PLAN_NOTHING,
     0,
     0,
     0},
    {"the slowest gives a part", 40, {0, 0}, true, 2, 2, {{0, 40, PLAN_MIB, false}}, {}, PLAN_SHORTEN, 0, 0, 10},
    {"not what ends soon", 40, {0, 37}, true, 2, 2, {{37, 40, PLAN_MIB, false}}, {}, PLAN_NOTHING, 0, 0, 0},
};

static void decisions(void **state UNUSED)
{
    for (size_t n = 0; n < ARRAY_LEN(DECISIONS); n++) {
        const struct decision *d = &DECISIONS[n];
        struct plan_source sources[3];
        struct ingest_span waiting[2];
        static struct here h;
        struct plan_view v = {.whole = d->whole,
                              .most = d->most,
                              .limit = d->limit,
                              .sources = sources,
                              .waiting = waiting,
                              .gap = here_gap,
                              .arg = &h};

        here_make(&h, v.size = d->size * PLAN_MIB);
        here_add(&h, d->here[0] * PLAN_MIB, d->here[1] * PLAN_MIB);
        v.received = here_received(&h);
        for (; v.source_count < 3 && d->sources[v.source_count].end > 0; v.source_count++) {
            const struct plan_source *s = &d->sources[v.source_count];
            sources[v.source_count] = (struct plan_source){s->at * PLAN_MIB, s->end * PLAN_MIB, s->rate, s->in_use};
        }
        for (; v.waiting_count < 2 && d->waiting[v.waiting_count].end > 0; v.waiting_count++) {
            const struct ingest_span *w = &d->waiting[v.waiting_count];
            waiting[v.waiting_count] = (struct ingest_span){w->first * PLAN_MIB, w->end * PLAN_MIB};
        }
        v.connections = (int)v.source_count;
        struct plan p = plan_next(&v);
        if (p.what != d->expected || p.source != d->source || p.first / PLAN_MIB != d->first ||
            p.end / PLAN_MIB != d->end)
            fail_msg("%s: %d of source %zu, [%.2f, %.2f) MiB", d->what, p.what, p.source,
                     (double)p.first / (double)PLAN_MIB, (double)p.end / (double)PLAN_MIB);
    }
}

/* ---- a download ---- */

struct download {
    uint64_t random;
    struct here here;
    bool whole;
    int most, limit;
    struct plan_source sources[PLAN_SOURCES_MAX];
    int64_t rate[PLAN_SOURCES_MAX]; /* what it really brings a tick */
    size_t source_count;
    struct ingest_span waiting[4];
    size_t waiting_count;
    int64_t requested;
};

static uint64_t chance(struct download *d, uint64_t below)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return (d->random >> 11) % below;
}

/* No byte is on the way twice, nor what is here. */
static void begin_source(struct download *d, const struct plan *p)
{
    assert_true(p->first < p->end && p->first >= 0 && p->end <= d->here.size);
    assert_true(d->source_count < (size_t)d->limit);
    for (size_t k = 0; k < d->source_count; k++)
        assert_true(p->end <= d->sources[k].at || p->first >= d->sources[k].end);
    for (int64_t at = p->first; at < p->end; at = cell_end(&d->here, at / INGEST_SEGMENT))
        assert_true(d->here.end[at / INGEST_SEGMENT] <= at);
    d->sources[d->source_count] = (struct plan_source){p->first, p->end, 0, false};
    d->rate[d->source_count++] = 1 + (int64_t)chance(d, chance(d, 3) ? 4 * PLAN_MIB : PLAN_MIB / 16);
}

static void drop_source(struct download *d, size_t k)
{
    d->sources[k] = d->sources[--d->source_count];
    d->rate[k] = d->rate[d->source_count];
}

static void follow_plan(struct download *d)
{
    for (int n = 0;; n++) {
        struct plan_view v = {.size = d->here.size,
                              .received = here_received(&d->here),
                              .whole = d->whole,
                              .most = d->most,
                              .limit = d->limit,
                              .connections = (int)d->source_count,
                              .sources = d->sources,
                              .source_count = d->source_count,
                              .waiting = d->waiting,
                              .waiting_count = d->waiting_count,
                              .gap = here_gap,
                              .arg = &d->here};
        struct plan p = plan_next(&v);
        if (p.what == PLAN_NOTHING)
            return;
        if (n == 2 * PLAN_SOURCES_MAX)
            fail_msg("the plan does not come to an end");
        if (p.what == PLAN_BEGIN) {
            begin_source(d, &p);
            continue;
        }
        assert_true(p.source < d->source_count && p.end < d->sources[p.source].end);
        d->sources[p.source].end = p.end;
        if (d->sources[p.source].at >= p.end)
            drop_source(d, p.source);
    }
}

/* Each brings some; some fail, or have brought their range. */
static void tick(struct download *d)
{
    for (size_t k = d->source_count; k-- > 0;) {
        struct plan_source *s = &d->sources[k];
        int64_t to = MIN(s->end, s->at + d->rate[k]);
        here_add(&d->here, s->at, to);
        d->requested += to - s->at;
        s->at = to;
        s->rate = chance(d, 4) ? d->rate[k] : s->rate;
        if (s->at >= s->end || chance(d, 50) == 0)
            drop_source(d, k);
    }
    for (size_t k = d->waiting_count; k-- > 0;) {
        struct ingest_span *w = &d->waiting[k];
        int64_t first, end;
        w->first = here_gap(&d->here, w->first, &first, &end) ? MAX(w->first, first) : w->end;
        if (w->first >= w->end)
            *w = d->waiting[--d->waiting_count];
    }
    if (d->waiting_count < ARRAY_LEN(d->waiting) && chance(d, 30) == 0) {
        int64_t first = (int64_t)chance(d, (uint64_t)d->here.size);
        int64_t end = first + 1 + (int64_t)chance(d, PLAN_MIB);
        d->waiting[d->waiting_count++] = (struct ingest_span){first, MIN(end, d->here.size)};
    }
    int most = d->most + (int)chance(d, 3) - 1;
    d->most = MIN(MAX(most, 1), d->limit);
}

/* Whether something is missing that is to be fetched. */
static bool lacks(struct download *d)
{
    int64_t first, end;
    bool any = d->whole && here_gap(&d->here, 0, &first, &end);

    for (size_t k = 0; k < d->waiting_count; k++)
        any = any || (here_gap(&d->here, d->waiting[k].first, &first, &end) && first < d->waiting[k].end);
    return any;
}

/* All of a blob that is wanted as a whole comes, whatever fails; of another what clients wait for. Every byte comes
 * once. */
static void downloads(void **state UNUSED)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct download *d = xcalloc(1, sizeof(*d));
        d->random = seed * 88172645463325252u + 1;
        d->whole = seed % 3 > 0;
        d->limit = 1 + (int)chance(d, 8);
        d->most = 1;
        here_make(&d->here, 1 + (int64_t)chance(d, seed % 2 ? 100 * PLAN_MIB : 8 * PLAN_MIB));
        d->waiting[d->waiting_count++] = (struct ingest_span){d->here.size - 1, d->here.size};
        int64_t ticks = 0, first, end;
        while (d->whole ? here_gap(&d->here, 0, &first, &end) : ticks < 300) {
            follow_plan(d);
            if (d->source_count == 0 && lacks(d))
                fail_msg("seed %llu: nothing is on its way, and something is missing", (unsigned long long)seed);
            tick(d);
            if (++ticks == 1000000)
                fail_msg("seed %llu: it does not end", (unsigned long long)seed);
        }
        assert_int_equal(d->requested, here_received(&d->here));
        free(d);
    }
}

static void growth(void **state UNUSED)
{
    const struct {
        int64_t rate; /* MiB a second */
        int connections;
        int64_t left; /* MiB */
        bool grows;
    } cases[] = {
        {0, 1, 1000, false},                         /* not known yet */
        {20, 1, 1000, true},  {20, 1, 7, false},     /* soon here */
        {399, 1, 1000, true}, {400, 1, 1000, false}, /* fast enough alone */
        {400, 2, 1000, true}, {900, 2, 1000, false}, {150, 4, 61, true},
    };

    for (size_t n = 0; n < ARRAY_LEN(cases); n++)
        assert_int_equal(plan_may_grow(cases[n].rate * PLAN_MIB, cases[n].connections, cases[n].left * PLAN_MIB),
                         cases[n].grows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decisions), cmocka_unit_test(growth),
                                       cmocka_unit_test(downloads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
