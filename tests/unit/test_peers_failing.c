/* What is told of a node that failed, or refused this one: its reason stays until it answers a later request. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "cluster/peers.h"

#include <string.h>

static const struct member SELF = {.address = "10.0.0.1:5443"}, OTHER = {.address = "10.0.0.2:5443"};

struct fixture {
    struct peers *all;
    struct peer *peer;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->all = peers_new(&SELF);
    peers_set(f->all, &OTHER, 1);
    struct peer_view *v = peers_view(f->all);
    f->peer = peer_ref(peer_view_find(v, OTHER.address));
    peer_view_unref(v);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    peer_unref(f->peer);
    peers_free(f->all);
    free(f);
    return 0;
}

/* why NULL: it does not fail. */
static void is_told(const struct peer *p, const char *why)
{
    int64_t ago_ms = -1;
    const char *told = peer_failing(p, &ago_ms);

    assert_true(why ? told && strcmp(told, why) == 0 && ago_ms >= 0 && ago_ms < 60000 : !told);
}

static void end_rest(struct peer *p)
{
    atomic_store(&p->resting_until_ms, clock_mono_ms());
    assert_false(peer_is_resting(p));
}

static void until_it_answers(void **state)
{
    const struct fixture *f = *state;
    struct peer *p = f->peer;
    int64_t before = clock_mono_ms();

    is_told(p, NULL);
    peer_note_answer(p, before);
    is_told(p, NULL);
    peer_note_failure(p, "it is silent");
    is_told(p, "it is silent");
    end_rest(p);
    is_told(p, "it is silent");
    peer_note_answer(p, before); /* to a request that was sent before it failed */
    is_told(p, "it is silent");
    peer_note_answer(p, clock_mono_ms() + 1);
    is_told(p, NULL);
}

static void the_last_reason(void **state)
{
    const struct fixture *f = *state;
    struct peer *p = f->peer;

    peer_note_failure(p, "it is silent");
    end_rest(p);
    peer_note_refusal(p, "its clock and ours are more than a minute apart");
    end_rest(p);
    is_told(p, "its clock and ours are more than a minute apart");
}

/* It says something else of itself: it has been started again. */
static void started_again(void **state)
{
    struct fixture *f = *state;
    struct member again = OTHER;

    peer_note_failure(f->peer, "it cannot be reached");
    again.since_s = 1;
    peers_set(f->all, &again, 1);
    struct peer_view *v = peers_view(f->all);
    is_told(peer_view_find(v, OTHER.address), NULL);
    peer_view_unref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(until_it_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(started_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
