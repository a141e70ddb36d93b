/* Homes of blobs and tags: the same on nodes of all versions, evenly spread, and few move when a node comes or goes. */
#include "tests/unit/unit.h"

#include "cluster/ring.h"

#include <string.h>

enum { NODES = 64, STRIPES = 4096 };

static struct ring_node node_at(int n, int zone)
{
    _cleanup_free_ char *name = xasprintf("10.0.%d.%d:5443", n / 250, n % 250 + 1);

    return (struct ring_node){.key = ring_hash(name, strlen(name)), .zone = zone};
}

static uint64_t key_of(int n)
{
    _cleanup_free_ char *name = xasprintf("blob %d", n);

    return ring_hash(name, strlen(name));
}

/* ---- what nodes of different versions have to agree on: these values never change ---- */

static void known_hashes(void **state UNUSED)
{
    assert_true(ring_hash("", 0) == 0xefd01f60ba992926ULL);
    assert_true(ring_hash("a", 1) == 0x82a2a958a9bece5bULL);
    assert_true(ring_hash("10.0.0.7:5443", 13) == 0xaf0dbc7cfcea77e1ULL);
    assert_true(ring_hash("\0", 1) != ring_hash("", 0));
}

static void known_homes(void **state UNUSED)
{
    static const int first[8] = {3, 1, 0, 0, 1, 4, 1, 1};
    static const uint8_t of_stripes[16] = {3, 1, 2, 2, 3, 1, 3, 0, 0, 3, 0, 0, 2, 1, 4, 1};
    uint64_t keys[5];
    uint8_t homes[16];
    struct ring_node nodes[5];

    for (int i = 0; i < 5; i++) {
        nodes[i] = node_at(i, 0);
        keys[i] = nodes[i].key;
    }
    for (int k = 0; k < 8; k++) {
        int ranked[1];
        assert_int_equal(ring_rank(nodes, 5, key_of(k), 0, ranked, 1), 1);
        assert_int_equal(ranked[0], first[k]);
    }
    ring_assign(keys, 5, key_of(0), 16, homes);
    assert_memory_equal(homes, of_stripes, sizeof(homes));
    assert_int_equal(ring_other(keys, 5, key_of(0), 3, homes[3], 1), 1);
}

/* ---- the order ---- */

static void ranks(void **state UNUSED)
{
    struct ring_node nodes[100];
    int all[RING_HOMES_MAX], few[RING_HOMES_MAX], without[RING_HOMES_MAX];

    for (int i = 0; i < 100; i++)
        nodes[i] = node_at(i, i % 3);
    assert_int_equal(ring_rank(nodes, 0, 1, RING_ANYWHERE, all, 5), 0);
    assert_int_equal(ring_rank(nodes, 100, 1, RING_ANYWHERE, all, 0), 0);
    assert_int_equal(ring_rank(nodes, 100, 1, 7, all, 5), 0); /* no such zone */
    assert_int_equal(ring_rank(nodes, 100, 1, RING_ANYWHERE, all, 1000), RING_HOMES_MAX);
    for (int k = 0; k < 200; k++) {
        assert_int_equal(ring_rank(nodes, 100, key_of(k), RING_ANYWHERE, all, RING_HOMES_MAX), RING_HOMES_MAX);
        for (size_t max = 1; max <= 8; max++) {
            assert_int_equal(ring_rank(nodes, 100, key_of(k), RING_ANYWHERE, few, max), max);
            assert_memory_equal(few, all, max * sizeof(*few));
        }
        /* a zone's order is that of all, without the others */
        size_t n = ring_rank(nodes, 100, key_of(k), 1, few, RING_HOMES_MAX), at = 0;
        assert_int_equal(n, 33);
        for (size_t i = 0; i < RING_HOMES_MAX; i++)
            if (nodes[all[i]].zone == 1)
                assert_int_equal(few[at++], all[i]);
        /* when the last node leaves, the others keep their order */
        n = ring_rank(nodes, 99, key_of(k), RING_ANYWHERE, without, RING_HOMES_MAX - 1);
        at = 0;
        for (size_t i = 0; i < RING_HOMES_MAX && at < n; i++)
            if (all[i] != 99)
                assert_int_equal(without[at++], all[i]);
    }
}

/* A node's place in the list says nothing. */
static void order_of_the_list(void **state UNUSED)
{
    struct ring_node nodes[20], turned[20];
    int a[20], b[20];

    for (int i = 0; i < 20; i++)
        nodes[i] = turned[19 - i] = node_at(i, 0);
    for (int k = 0; k < 100; k++) {
        ring_rank(nodes, 20, key_of(k), 0, a, 20);
        ring_rank(turned, 20, key_of(k), 0, b, 20);
        for (int i = 0; i < 20; i++)
            assert_int_equal(a[i], 19 - b[i]);
    }
}

static void tags_are_spread(void **state UNUSED)
{
    struct ring_node nodes[10];
    int count[10] = {0}, home;

    for (int i = 0; i < 10; i++)
        nodes[i] = node_at(i, 0);
    for (int k = 0; k < 10000; k++) {
        ring_rank(nodes, 10, key_of(k), RING_ANYWHERE, &home, 1);
        count[home]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(count[i], 850, 1150);
}

/* ---- stripes ---- */

static void stripe_sizes(void **state UNUSED)
{
    static const struct {
        int64_t size, stripe;
    } cases[] = {
        {0, 4 << 20},
        {1, 4 << 20},
        {(256LL << 20) - 1, 4 << 20},
        {256LL << 20, 8 << 20},
        {512LL << 20, 16 << 20},
        {1LL << 30, 16 << 20},
        {1LL << 40, 16 << 20},
        {INT64_MAX, 16 << 20},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(ring_stripe(cases[i].size), cases[i].stripe);
}

static void assert_shares(const uint8_t *homes, size_t stripes, size_t count)
{
    size_t load[RING_HOMES_MAX] = {0};

    for (size_t s = 0; s < stripes; s++) {
        assert_true(homes[s] < count);
        load[homes[s]]++;
    }
    for (size_t i = 0; i < count; i++)
        assert_true(load[i] <= (stripes + count - 1) / count);
}

/* None has more than its share, and the first stripe's home is the blob's, however many there are. */
static void shares(void **state UNUSED)
{
    static const size_t stripes[] = {1, 2, 3, 7, 8, 63, 64, 65, 100, 129, 1000, STRIPES};
    static uint8_t homes[STRIPES];
    struct ring_node nodes[NODES];
    uint64_t keys[NODES];
    int home;

    for (int i = 0; i < NODES; i++) {
        nodes[i] = node_at(i, 0);
        keys[i] = nodes[i].key;
    }
    for (size_t count = 1; count <= NODES; count++) {
        ring_rank(nodes, count, key_of(1), RING_ANYWHERE, &home, 1);
        for (size_t k = 0; k < ARRAY_LEN(stripes); k++) {
            ring_assign(keys, count, key_of(1), stripes[k], homes);
            assert_shares(homes, stripes[k], count);
            assert_int_equal(homes[0], home);
        }
    }
}

/* How many of the stripes have another home when the last of `count` nodes comes. */
static size_t count_moved(size_t count, uint64_t key, size_t stripes)
{
    static uint8_t before[STRIPES], after[STRIPES];
    uint64_t keys[NODES];
    size_t moved = 0;

    for (size_t i = 0; i < count; i++)
        keys[i] = node_at((int)i, 0).key;
    ring_assign(keys, count - 1, key, stripes, before);
    ring_assign(keys, count, key, stripes, after);
    for (size_t s = 0; s < stripes; s++)
        moved += before[s] != after[s];
    return moved;
}

/* Those that the new node gets, and those that move since the shares are smaller: most of them where each has one alone
 * from then on. */
static void few_move(void **state UNUSED)
{
    static const struct {
        size_t count, percent; /* of all stripes, at most */
    } cases[] = {{2, 51}, {3, 37}, {4, 30}, {8, 24}, {16, 25}, {33, 11}, {64, 48}};

    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        size_t moved = 0, all = 0;
        for (int k = 0; k < 50; k++, all += 64)
            moved += count_moved(cases[c].count, key_of(k), 64);
        assert_in_range(moved * 100 / all, 1, cases[c].percent);
    }
}

/* ---- where else ---- */

static void the_others_in_turn(void **state UNUSED)
{
    uint64_t keys[NODES];

    for (int i = 0; i < NODES; i++)
        keys[i] = node_at(i, 0).key;
    for (size_t count = 2; count <= NODES; count += count < 10 ? 1 : 9)
        for (size_t home = 0; home < count; home++) {
            bool seen[NODES] = {0};
            for (size_t a = 1; a < count; a++) {
                size_t other = ring_other(keys, count, key_of(3), 5, home, a);
                assert_true(other < count && other != home && !seen[other]);
                seen[other] = true;
                assert_int_equal(ring_other(keys, count, key_of(3), 5, home, a + count - 1), other); /* again */
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(known_homes),
        cmocka_unit_test(ranks),
        cmocka_unit_test(order_of_the_list),
        cmocka_unit_test(tags_are_spread),
        cmocka_unit_test(stripe_sizes),
        cmocka_unit_test(shares),
        cmocka_unit_test(few_move),
        cmocka_unit_test(the_others_in_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
