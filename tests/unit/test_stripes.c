/* Of whom a stripe is asked: never of this node itself, one level further with each hop, and in the end of the
 * registry. */
#include "tests/unit/unit.h"

#include "proxy/fetch/stripes.h"

#include <string.h>

enum { NODES_MAX = 200 };

struct town {
    int count;
    struct ring_node nodes[NODES_MAX];
    struct stripe_map maps[NODES_MAX]; /* as each node sees it */
    bool rests[NODES_MAX];
    uint64_t key;
};

static uint64_t number_of(const char *what, int n)
{
    _cleanup_free_ char *name = xasprintf("%s %d", what, n);

    return ring_hash(name, strlen(name));
}

static struct town *town_new(int count, int zones, int key, int64_t size)
{
    struct town *t = xcalloc(1, sizeof(*t));

    t->count = count;
    t->key = number_of("key", key);
    for (int i = 0; i < count; i++)
        t->nodes[i] = (struct ring_node){.key = number_of("node", i), .zone = i % zones};
    for (int i = 0; i < count; i++)
        stripes_make(&t->maps[i], t->nodes, count, i, t->key, size);
    return t;
}

static void town_free(struct town *t)
{
    for (int i = 0; i < t->count; i++)
        stripes_clear(&t->maps[i]);
    free(t);
}

static bool town_rests(void *arg, int node)
{
    return ((struct town *)arg)->rests[node];
}

static struct stripe_choice town_choose(struct town *t, int node, struct stripe_now now)
{
    now.rests = town_rests;
    now.arg = t;
    return stripes_choose(&t->maps[node], &now);
}

/* ---- the map ---- */

static void sizes(void **state UNUSED)
{
    static const struct {
        int64_t size, stripe;
        size_t stripes;
    } cases[] = {
        {-1, 4 << 20, 1},
        {0, 4 << 20, 1},
        {1, 4 << 20, 1},
        {4 << 20, 4 << 20, 1},
        {(4 << 20) + 1, 4 << 20, 2},
        {1LL << 30, 16 << 20, 64},
        {64LL << 30, 16 << 20, STRIPES_MAX},
        {65LL << 30, 16 << 20, STRIPES_MAX},
        {INT64_MAX, 16 << 20, STRIPES_MAX},
    };
    const struct ring_node nodes[2] = {{1, 0}, {2, 0}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stripe_map m;
        int64_t first, end, before = 0;
        stripes_make(&m, nodes, 2, 0, 7, cases[i].size);
        assert_int_equal(m.stripe, cases[i].stripe);
        assert_int_equal(m.stripes, cases[i].stripes);
        for (size_t s = 0; s < m.stripes; s++) {
            stripes_range(&m, s, &first, &end);
            assert_int_equal(first, before);
            assert_int_equal(stripes_at(&m, first), s);
            assert_int_equal(stripes_at(&m, end - 1), s);
            before = end;
        }
        assert_true(before == INT64_MAX);
        stripes_clear(&m);
    }
}

/* A node among more than can be homes, or alone, has a map too. */
static void who_is_there(void **state UNUSED)
{
    struct town *one = town_new(1, 1, 0, 1 << 30), *many = town_new(NODES_MAX, 2, 0, 1 << 30);
    int homes = 0;

    assert_int_equal(one->maps[0].zone.count, 1);
    assert_int_equal(one->maps[0].before.count, 0);
    assert_int_equal(town_choose(one, 0, (struct stripe_now){.have = true}).from, STRIPE_REGISTRY);
    for (int i = 0; i < NODES_MAX; i++) {
        const struct stripe_map *m = &many->maps[i];
        bool home = false;
        for (size_t k = 0; k < m->all.count; k++) {
            home = home || m->all.nodes[k] == i;
            assert_int_equal(m->all.nodes[k], many->maps[0].all.nodes[k]);
        }
        homes += home;
        for (size_t k = 0; k < m->before.count; k++)
            assert_int_not_equal(m->before.nodes[k], i);
        for (size_t k = 0; k < m->zone.count; k++)
            assert_int_equal(many->nodes[m->zone.nodes[k]].zone, i % 2);
    }
    assert_int_equal(homes, RING_HOMES_MAX);
    town_free(one);
    town_free(many);
}

/* ---- one choice ---- */

static void is_sound(const struct town *t, int node, const struct stripe_now *now, const struct stripe_choice *c)
{
    switch (c->from) {
    case STRIPE_PEER:
        assert_true(c->hops > now->hops && c->hops <= 2);
        assert_true(c->hops == 2 || t->nodes[c->node].zone == t->nodes[node].zone);
        break;
    case STRIPE_HAVE:
        assert_true(now->have);
        break;
    case STRIPE_BUCKET:
        assert_true(now->bucket);
        break;
    default:
        break;
    }
    if (c->from == STRIPE_PEER || c->from == STRIPE_HAVE) {
        assert_in_range(c->node, 0, t->count - 1);
        assert_int_not_equal(c->node, node);
        assert_false(t->rests[c->node]);
    } else {
        assert_int_equal(c->node, -1);
    }
    if (c->from != STRIPE_BUCKET)
        assert_true(c->place >= now->tried || c->from == STRIPE_REGISTRY);
}

/* All that it is asked of, one after the other, as each fails. */
static int follow_the_way(struct town *t, int node, struct stripe_now now)
{
    struct stripe_choice c;
    int steps = 0;

    do {
        c = town_choose(t, node, now);
        is_sound(t, node, &now, &c);
        if (c.from == STRIPE_BUCKET)
            now.bucket = false;
        else
            now.tried = c.place + 1;
        assert_true(++steps <= 3 * STRIPE_TRIES + 2);
    } while (c.from != STRIPE_REGISTRY);
    c = town_choose(t, node, now); /* and there it stays */
    assert_int_equal(c.from, STRIPE_REGISTRY);
    return steps;
}

static void with_all_flags(struct town *t, int node, size_t stripe)
{
    for (int hops = 0; hops <= 2; hops++)
        for (unsigned tried = 0; tried < 10; tried++)
            for (int flags = 0; flags < 8; flags++)
                follow_the_way(t, node,
                               (struct stripe_now){.stripe = stripe,
                                                   .hops = hops,
                                                   .tried = tried,
                                                   .have = flags & 1,
                                                   .bucket = flags & 2,
                                                   .bucket_first = flags & 4});
}

static void all_combinations(void **state UNUSED)
{
    static const int counts[] = {1, 2, 3, 5, 8, 140};

    for (size_t c = 0; c < ARRAY_LEN(counts); c++)
        for (int zones = 1; zones <= 3; zones++)
            for (int resting = 0; resting < 4; resting++) {
                struct town *t = town_new(counts[c], zones, (int)c, 100 << 20);
                for (int i = 0; i < t->count; i++)
                    t->rests[i] = resting == 3 || (resting > 0 && number_of("rest", i) % 3 < (uint64_t)resting);
                for (int node = 0; node < t->count; node += 1 + t->count / 10)
                    for (size_t stripe = 0; stripe < t->maps[node].stripes; stripe += 3)
                        with_all_flags(t, node, stripe);
                town_free(t);
            }
}

static void the_bucket(void **state UNUSED)
{
    struct town *t = town_new(4, 1, 0, 1 << 20);
    int home = t->maps[0].all.nodes[t->maps[0].all.homes[0]];
    int other = (home + 1) % 4;

    struct stripe_choice c = town_choose(t, other, (struct stripe_now){.bucket = true, .bucket_first = true});
    assert_int_equal(c.from, STRIPE_BUCKET);
    c = town_choose(t, other, (struct stripe_now){.bucket = true, .bucket_first = true, .hops = 2, .tried = 9});
    assert_int_equal(c.from, STRIPE_BUCKET); /* until it fails, whatever else has */
    c = town_choose(t, other, (struct stripe_now){.bucket = true});
    assert_true(c.from == STRIPE_PEER && c.node == home && c.hops == 1);
    c = town_choose(t, home, (struct stripe_now){.bucket = true});
    assert_int_equal(c.from, STRIPE_BUCKET);
    c = town_choose(t, home, (struct stripe_now){.bucket = true, .have = true});
    assert_int_equal(c.from, STRIPE_HAVE);
    c = town_choose(t, home, (struct stripe_now){.bucket = true, .have = true, .tried = c.place + 1});
    assert_int_equal(c.from, STRIPE_HAVE); /* the second of two */
    c = town_choose(t, home, (struct stripe_now){.bucket = true, .have = true, .tried = c.place + 1});
    assert_int_equal(c.from, STRIPE_BUCKET);
    memset(t->rests, true, sizeof(t->rests));
    c = town_choose(t, other, (struct stripe_now){.bucket = true});
    assert_int_equal(c.from, STRIPE_BUCKET);
    town_free(t);
}

/* With many nodes in each zone, too, a zone's home asks the home beyond. */
static void large_zones(void **state UNUSED)
{
    for (int per_zone = 1; per_zone <= 100; per_zone += 9) {
        struct town *t = town_new(2 * per_zone, 2, 1, 1 << 20);
        int home = t->maps[0].all.nodes[t->maps[0].all.homes[0]], registry = 0;
        for (int i = 0; i < t->count; i++) {
            struct stripe_choice c = town_choose(t, i, (struct stripe_now){.hops = 1});
            if (i == home)
                assert_int_equal(c.from, STRIPE_REGISTRY);
            else
                assert_true(c.from == STRIPE_PEER && c.node == home && c.hops == 2);
            registry += c.from == STRIPE_REGISTRY;
        }
        assert_int_equal(registry, 1);
        town_free(t);
    }
}

/* ---- all questions that can follow from one ---- */

struct walk {
    struct town *town;
    size_t stripe;
    bool fails;  /* what is asked may fail: the next one is asked too */
    int longest; /* hops */
    int circles; /* a node that was on the way is asked again */
};

static void ask_on(struct walk *w, int node, int hops, const int *way, int length)
{
    struct stripe_now now = {.stripe = w->stripe, .hops = hops, .have = true};
    struct stripe_choice c;
    int further[4];

    assert_true(length < 3);
    w->longest = MAX(w->longest, length);
    for (int i = 0; i < length; i++)
        w->circles += way[i] == node;
    if (length > 0)
        memcpy(further, way, (size_t)length * sizeof(*way));
    further[length] = node;
    do {
        c = town_choose(w->town, node, now);
        is_sound(w->town, node, &now, &c);
        if (c.from == STRIPE_PEER)
            ask_on(w, c.node, c.hops, further, length + 1);
        now.tried = c.place + 1;
        now.have = now.have && (w->fails || c.from != STRIPE_HAVE);
    } while (c.from == STRIPE_HAVE || (c.from == STRIPE_PEER && w->fails));
}

static struct walk walk_all(bool fails, bool some_rest)
{
    struct walk w = {.fails = fails};

    for (int n = 0; n < 120; n++) {
        int count = 1 + (int)(number_of("count", n) % 12), zones = 1 + (int)(number_of("zones", n) % 4);
        struct town *t = w.town = town_new(count, zones, n, 60 << 20);
        for (int i = 0; i < count; i++)
            t->rests[i] = some_rest && number_of("rest", n * 100 + i) % 4 == 0;
        for (int node = 0; node < count; node++)
            for (w.stripe = 0; w.stripe < t->maps[node].stripes; w.stripe++)
                ask_on(&w, node, 0, NULL, 0);
        town_free(t);
    }
    return w;
}

/* While nothing fails: two hops at most, no node twice. */
static void no_circles(void **state UNUSED)
{
    struct walk w = walk_all(false, false);

    assert_int_equal(w.longest, 2);
    assert_int_equal(w.circles, 0);
}

/* Whatever fails or rests, a question is asked on twice at most: it ends at a registry. What it comes back to does so
 * with more hops, and goes by them (striped_turn()). */
static void it_ends(void **state UNUSED)
{
    assert_int_equal(walk_all(true, false).longest, 2);
    assert_int_equal(walk_all(true, true).longest, 2);
    assert_int_equal(walk_all(false, true).longest, 2);
}

/* All nodes of all zones come to the same registry's door, once. */
static void one_for_all(void **state UNUSED)
{
    for (int n = 0; n < 60; n++) {
        struct town *t = town_new(1 + n % 13, 1 + n % 4, n, 60 << 20);
        for (size_t stripe = 0; stripe < t->maps[0].stripes; stripe++) {
            int homes = 0;
            for (int node = 0; node < t->count; node++)
                homes += town_choose(t, node, (struct stripe_now){.stripe = stripe}).from == STRIPE_REGISTRY;
            assert_int_equal(homes, 1);
        }
        town_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),      cmocka_unit_test(who_is_there), cmocka_unit_test(all_combinations),
        cmocka_unit_test(the_bucket), cmocka_unit_test(large_zones),  cmocka_unit_test(no_circles),
        cmocka_unit_test(it_ends),    cmocka_unit_test(one_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
