/* Whom a busy home names to the next node that asks for a stripe. */
#include "tests/unit/unit.h"

#include "base/digest.h"
#include "cluster/takers.h"

#include <string.h>

enum { NODES = 600 };

struct fixture {
    struct peers *all;
    struct peer_view *view;
    struct takers *takers;
    struct digest digest;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct member *others = xcalloc(NODES, sizeof(*others));
    const struct member self = {.address = "10.1.0.0:5443"};

    for (int i = 0; i < NODES; i++)
        snprintf(others[i].address, sizeof(others[i].address), "10.0.%03d.%03d:5443", i / 250, i % 250);
    f->all = peers_new(&self);
    peers_set(f->all, others, NODES);
    f->view = peers_view(f->all);
    f->takers = takers_new();
    digest_of(DIGEST_SHA256, "x", 1, &f->digest);
    *state = f;
    free(others);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    takers_free(f->takers);
    takers_free(NULL);
    for (int i = 0; i < f->view->count; i++)
        assert_int_equal(atomic_load(&f->view->list[i]->refs), 1);
    peer_view_unref(f->view);
    peers_free(f->all);
    free(f);
    return 0;
}

static void be_busy(struct fixture *f)
{
    for (int i = 0; i < TAKERS_BUSY; i++)
        takers_begin(f->takers);
}

/* Node n asks for the stripe at `first`: the place of the one that is named, or -1. */
static int choose(struct fixture *f, int n, int64_t first, const char *bad)
{
    struct peer *p = takers_choose(f->takers, &f->digest, first, f->view->list[n], bad);
    int place = -1;

    for (int i = 0; p && i < f->view->count; i++)
        if (f->view->list[i] == p)
            place = i;
    assert_true(!p || place >= 0);
    peer_unref(p);
    return place;
}

static void serves_while_it_can(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 10; i++)
        assert_int_equal(choose(f, i, 0, NULL), -1);
    for (int i = 1; i < TAKERS_BUSY; i++)
        takers_begin(f->takers);
    assert_int_equal(choose(f, 10, 0, NULL), -1);
    takers_begin(f->takers);
    assert_int_equal(choose(f, 11, 0, NULL), 0);
    assert_int_equal(choose(f, 12, 4 << 20, NULL), -1); /* nobody has taken that one */
    takers_end(f->takers);
    assert_int_equal(choose(f, 13, 0, NULL), -1);
}

/* The first that came first, each to two others. */
static void a_tree(void **state)
{
    struct fixture *f = *state;

    be_busy(f);
    assert_int_equal(choose(f, 0, 0, NULL), -1);
    for (int i = 1; i < 100; i++)
        assert_int_equal(choose(f, i, 0, NULL), (i - 1) / TAKERS_CHILDREN);
}

/* It is never sent to itself, and one that failed is named to nobody. */
static void not_to_itself(void **state)
{
    struct fixture *f = *state;

    be_busy(f);
    assert_int_equal(choose(f, 0, 0, NULL), -1);
    assert_int_equal(choose(f, 0, 0, NULL), -1); /* it comes again */
    assert_int_equal(choose(f, 1, 0, NULL), 0);
    assert_int_equal(choose(f, 1, 0, f->view->list[0]->who.address), -1); /* 0 has failed: it is served here */
    assert_int_equal(choose(f, 2, 0, NULL), 1);
    assert_int_equal(choose(f, 3, 0, "10.9.9.9:5443"), -1); /* who is not known */
    peer_note_failure(f->view->list[1], "it is silent");
    assert_int_equal(choose(f, 4, 0, NULL), 2); /* which rests less */
}

/* One that was started again is another peer, and the same node. */
static void not_to_itself_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct member others[2] = {0};

    be_busy(f);
    assert_int_equal(choose(f, 0, 0, NULL), -1);
    snprintf(others[0].address, sizeof(others[0].address), "%s", f->view->list[0]->who.address);
    snprintf(others[1].address, sizeof(others[1].address), "%s", f->view->list[1]->who.address);
    others[0].since_s = 77;
    peers_set(f->all, others, 2);
    peer_view_unref(f->view);
    f->view = peers_view(f->all);
    int again = 0;
    while (f->view->list[again]->who.since_s != 77)
        again++;
    assert_int_equal(choose(f, again, 0, NULL), -1);
}

static void bounds(void **state)
{
    struct fixture *f = *state;

    be_busy(f);
    for (int i = 0; i < NODES; i++)
        choose(f, i, 0, NULL);
    for (int s = 1; s < 3 * TAKERS_STRIPES; s++)
        assert_int_equal(choose(f, s % NODES, (int64_t)s << 22, NULL), -1);
    assert_int_equal(choose(f, 5, 0, NULL), -1); /* long forgotten */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_while_it_can, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tree, setup, teardown),
        cmocka_unit_test_setup_teardown(not_to_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(not_to_itself_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
