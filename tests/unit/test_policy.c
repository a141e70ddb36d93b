/* Which image goes first: what the policies rank, and what gdsf learns from requests by its shadow caches. */
#include "tests/unit/unit_gc.h"

#include "gc/policy.h"
#include "gc/shadow.h"

#include <math.h>
#include <time.h>

static const int64_t MB = 1000000;

static struct policy_item item(uint64_t id, int64_t bytes, uint32_t uses)
{
    return (struct policy_item){
        .id = id * 0x9e3779b97f4a7c15u, .used = 1, .uses = uses, .bytes = bytes, .cost_ms = 50 + (double)bytes / 20000};
}

/* ---- ranks ---- */

static void what_is_worth_more_goes_later(void **state UNUSED)
{
    struct {
        const char *what;
        struct policy_item less, more;
    } rows[] = {
        {"used more often", item(1, MB, 1), item(2, MB, 2)},
        {"small", item(1, 20 * MB, 1), item(2, MB / 10, 1)},
        {"used later", item(1, MB, 1), item(2, MB, 1)},
        {"dear to fetch", item(1, MB, 1), item(2, MB, 1)},
    };
    void *g = POLICY_GDSF.open(NULL, 0);

    rows[2].more.clock = 1;
    rows[3].more.cost_ms += 30000;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!(POLICY_GDSF.rank(g, &rows[i].less) < POLICY_GDSF.rank(g, &rows[i].more)))
            fail_msg("%s", rows[i].what);
    for (int64_t bytes = 1; bytes < 1000000 * MB; bytes *= 10) {
        struct policy_item i = item(3, bytes, UINT32_MAX);
        i.clock = 12.5;
        double rank = POLICY_GDSF.rank(g, &i);
        assert_true(isfinite(rank) && rank >= i.clock);
    }
    assert_true(POLICY_GDSF.advance(3, 2) == 3 && POLICY_GDSF.advance(3, 4) == 4);
    POLICY_GDSF.close(g);
}

/* ---- learning ---- */

static const int64_t CAPACITY = 100000000;

/* Many small ones that come again, among large ones that never do: small ones are worth keeping. */
static void ask_for_small(void *g, uint64_t *n, int requests)
{
    for (int i = 0; i < requests; i++, (*n)++) {
        struct policy_item small = item(*n * *n % 701, MB / 4, 1), large = item(1000000 + *n, 30 * MB, 1);
        POLICY_GDSF.observe(g, &small, 1, CAPACITY);
        if (*n % 5 == 0)
            POLICY_GDSF.observe(g, &large, 1, CAPACITY);
    }
}

/* Some large ones that come again and again, among small ones that come twice: large ones are worth keeping. */
static void ask_for_large(void *g, uint64_t *n, int requests)
{
    for (int i = 0; i < requests; i++, (*n)++) {
        struct policy_item large = item(2000000 + *n % 6, 15 * MB, 1), small = item(3000000 + *n / 2, MB / 4, 1);
        POLICY_GDSF.observe(g, &large, 1, CAPACITY);
        POLICY_GDSF.observe(g, &small, 1, CAPACITY);
    }
}

/* How much more one small object is worth than one large one. */
static double preference(void *g)
{
    struct policy_item small = item(90001, MB / 4, 1), large = item(90002, 30 * MB, 1);

    return POLICY_GDSF.rank(g, &small) / POLICY_GDSF.rank(g, &large);
}

static void it_learns_what_to_keep(void **state UNUSED)
{
    void *g = POLICY_GDSF.open(NULL, 0), *twin = POLICY_GDSF.open(NULL, 0);
    uint64_t n = 0, m = 0;
    double first = preference(g);

    ask_for_small(g, &n, 8000);
    double small = preference(g);
    assert_true(POLICY_GDSF.version(g) > 0);
    assert_true(small > 2 * first);
    ask_for_large(g, &n, 40000); /* the traffic changes, and so does what is kept */
    assert_true(preference(g) < small / 2);
    ask_for_small(twin, &m, 8000);
    ask_for_large(twin, &m, 40000);
    assert_true(preference(g) == preference(twin)); /* by the requests alone */
    POLICY_GDSF.close(g);
    POLICY_GDSF.close(twin);
}

/* A few requests are no evidence. */
static void chance_changes_little(void **state UNUSED)
{
    void *g = POLICY_GDSF.open(NULL, 0);
    uint32_t changes;

    srand48(1);
    for (int i = 0; i < 30000; i++) { /* of one size, at random: all settings are as good */
        struct policy_item any = item((uint64_t)(drand48() * 500), MB, 1);
        POLICY_GDSF.observe(g, &any, 1, CAPACITY);
    }
    changes = POLICY_GDSF.version(g);
    if (changes > 5)
        fail_msg("%u changes", changes);
    POLICY_GDSF.close(g);
}

static void what_was_evicted_is_remembered(void **state UNUSED)
{
    void *g = POLICY_GDSF.open(NULL, 0);
    struct policy_item often = item(1, MB, 1), once = item(2, MB, 1);

    for (int i = 0; i < 5; i++)
        POLICY_GDSF.observe(g, &often, 2, CAPACITY);
    POLICY_GDSF.observe(g, &once, 1, CAPACITY);
    for (uint64_t i = 100; i < 400; i++) {
        struct policy_item other = item(i, MB, 1);
        POLICY_GDSF.observe(g, &other, 1, CAPACITY);
    }
    assert_true(POLICY_GDSF.rank(g, &often) > POLICY_GDSF.rank(g, &once)); /* both come in again */
    POLICY_GDSF.close(g);
}

static void a_restart_keeps_what_was_learned(void **state UNUSED)
{
    void *g = POLICY_GDSF.open(NULL, 0), *again, *fresh;
    uint8_t saved[POLICY_SAVED_MAX];
    uint64_t n = 0;

    double unlearned = preference(g);
    ask_for_small(g, &n, 8000);
    size_t len = POLICY_GDSF.save(g, saved);
    assert_in_range(len, 1, POLICY_SAVED_MAX);
    again = POLICY_GDSF.open(saved, len);
    assert_true(preference(again) == preference(g));
    POLICY_GDSF.close(again);
    for (size_t i = 0; i < len; i++) { /* damaged, or of another version: it works, and ranks are numbers */
        saved[i] ^= 0xff;
        fresh = POLICY_GDSF.open(saved, len);
        assert_true(isfinite(preference(fresh)));
        POLICY_GDSF.close(fresh);
        saved[i] ^= 0xff;
        fresh = POLICY_GDSF.open(saved, i);
        assert_true(preference(fresh) == unlearned);
        POLICY_GDSF.close(fresh);
    }
    POLICY_GDSF.close(g);
}

/* ---- shadows ---- */

/* The reference is least recently used, as a list says it; 1000 requests of objects of different sizes. */
static void the_reference_is_lru(void **state UNUSED)
{
    enum { OBJECTS = 60, REQUESTS = 1000 };
    const int64_t capacity = 500;
    const double values[SHADOWS] = {0};
    int64_t size[OBJECTS], used = 0;
    int last[OBJECTS] = {0}, hits = 0;
    struct shadows *s = shadows_new();

    srand48(7);
    for (int i = 0; i < OBJECTS; i++)
        size[i] = 1 + (int64_t)(drand48() * 60);
    for (int r = 1; r <= REQUESTS; r++) {
        int o = (int)(drand48() * drand48() * (double)OBJECTS);
        hits += last[o] > 0;
        used += last[o] > 0 ? 0 : size[o];
        last[o] = r;
        while (used > capacity) {
            int oldest = o;
            for (int i = 0; i < OBJECTS; i++)
                oldest = last[i] > 0 && last[i] < last[oldest] ? i : oldest;
            last[oldest] = 0;
            used -= size[oldest];
        }
        assert_true(shadows_request(s, (uint64_t)o + 1, size[o], 1, values, capacity));
    }
    /* what is recent counts more, by a half-life of many requests */
    double sum = shadows_sums(s, 0).hits, most = hits,
           least = hits * pow(0.5, (double)REQUESTS / (double)SHADOW_HALF_LIFE);
    assert_true(sum <= most && sum >= least);
    shadows_free(s);
}

/* However many are requested: memory is bounded, what is sampled is a share of all, and time is short. */
static void many_objects(void **state UNUSED)
{
    enum { MANY = 100000 };
    void *g = POLICY_GDSF.open(NULL, 0);
    struct shadows *s = shadows_new();
    const double values[SHADOWS] = {0};
    clock_t begun = clock();
    double ranks = 0;
    int sampled = 0;

    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            struct policy_item any = item(i, MB, 1);
            POLICY_GDSF.observe(g, &any, 1, 2 * MANY * MB);
            sampled += shadows_request(s, any.id, any.bytes, 1, values, 2 * MANY * MB) && round == 1;
        }
    }
    for (uint64_t i = 0; i < MANY; i++) {
        struct policy_item any = item(i, MB, 1);
        ranks += POLICY_GDSF.rank(g, &any);
    }
    assert_true(isfinite(ranks));
    assert_in_range(shadows_memory(s), 1, 5 << 19);
    assert_in_range(sampled, SHADOW_OBJECTS / 4, SHADOW_OBJECTS);
    double hits = shadows_sums(s, 0).hits; /* of the second round everything is one: there is room */
    assert_true(hits > 0.5 * sampled && hits <= sampled);
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    if (seconds > 20) /* 500 000 calls: some 2 s here, without sanitizers 1 */
        fail_msg("%.1f s", seconds);
    shadows_free(s);
    POLICY_GDSF.close(g);
}

/* ---- in the collector ---- */

static struct {
    int requests;
    int64_t bytes;
    uint32_t times, version;
    double factor;
    size_t opened_with;
} spy;

static void *spy_open(const void *saved UNUSED, size_t len)
{
    spy.opened_with = len;
    return &spy;
}

static void spy_close(void *s UNUSED)
{
}

static void spy_observe(void *s UNUSED, const struct policy_item *i, uint32_t times, int64_t capacity)
{
    assert_int_equal(capacity, 10 * LAYER);
    spy.requests++;
    spy.times += times;
    spy.bytes = i->bytes;
}

static uint32_t spy_version(const void *s UNUSED)
{
    return spy.version;
}

static size_t spy_save(const void *s UNUSED, uint8_t out[POLICY_SAVED_MAX])
{
    memset(out, 7, 9);
    return 9;
}

static double spy_rank(const void *s UNUSED, const struct policy_item *i)
{
    return spy.factor > 0 ? (double)i->bytes : 1e9 / (double)i->bytes; /* the smallest first, or the largest */
}

static double spy_advance(double clock, double rank UNUSED)
{
    return clock;
}

static const struct policy SPY = {"spy",       spy_open, spy_close, spy_observe,
                                  spy_version, spy_save, spy_rank,  spy_advance};

static void collect_to(struct fixture *f, int64_t target)
{
    struct gc_report r;

    assert_true(gc_collect(f->gc, false, target, &r, NULL));
    gc_report_free(&r);
}

static void restart_with_spy(struct fixture *f)
{
    const struct gc_options o = {
        .max_bytes = 10 * LAYER, .high = 95, .low = 55, .grace_ms = GRACE_MS, .interval_ms = 3600000, .policy = &SPY};

    gc_free(f->gc);
    f->gc = gc_new(f->cache, &o, NULL);
    while (!gc_is_reconciled(f->gc))
        usleep(1000);
}

static void requests_teach_the_collector(void **state)
{
    struct fixture *f = *state;
    struct digest large = put_image(f, "large", LAYERS(1, 2, 3));

    put_image(f, "small", LAYERS(4));
    put_image(f, "middle", LAYERS(5, 6));
    spy.factor = 1;
    restart_with_spy(f);
    for (int i = 0; i < 5; i++)
        cache_touch(f->cache, &large);
    collect_to(f, INT64_MAX);
    assert_int_equal(spy.requests, 1);
    assert_int_equal(spy.times, 5);
    assert_int_equal(spy.bytes, 3 * LAYER + 100);
    collect_to(f, INT64_MAX); /* once */
    assert_int_equal(spy.requests, 1);

    clock_advance(2 * GRACE_MS);
    collect_to(f, 5 * LAYER + 1000); /* lists all by their ranks; the smallest goes */
    assert_false(has_layer(f, 4));
    spy.factor = -1;
    spy.version++;
    collect_to(f, INT64_MAX); /* ranks have become lower: listed again */
    collect_to(f, 4 * LAYER);
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 5));
    restart_with_spy(f);
    assert_int_equal(spy.opened_with, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_worth_more_goes_later),
        cmocka_unit_test(it_learns_what_to_keep),
        cmocka_unit_test(chance_changes_little),
        cmocka_unit_test(what_was_evicted_is_remembered),
        cmocka_unit_test(a_restart_keeps_what_was_learned),
        cmocka_unit_test(the_reference_is_lru),
        cmocka_unit_test(many_objects),
        cmocka_unit_test_setup_teardown(requests_teach_the_collector, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
