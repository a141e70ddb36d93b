/* Bytes of all nodes, also of those that have left, and of those that still send. */
#include "tests/unit/unit.h"

#include "cluster/peers.h"

#include <string.h>

static void is_sum(struct peers *all, uint64_t received, uint64_t sent)
{
    uint64_t r, s;

    peers_sum(all, &r, &s);
    assert_int_equal(r, received);
    assert_int_equal(s, sent);
}

static void bytes_stay(void **state UNUSED)
{
    const struct member self = {.address = "10.0.0.1:5443"};
    struct member others[] = {{.address = "10.0.0.2:5443"}, {.address = "10.0.0.3:5443"}};
    struct peers *all = peers_new(&self);

    peers_set(all, others, 2);
    struct peer_view *v = peers_view(all);
    struct peer *second = peer_ref(peer_view_find(v, "10.0.0.2:5443"));
    atomic_fetch_add(&second->received, 100);
    atomic_fetch_add(&peer_view_find(v, "10.0.0.3:5443")->sent, 7);
    peer_view_unref(v);
    is_sum(all, 100, 7);
    peers_set(all, others, 0);
    is_sum(all, 100, 7);
    atomic_fetch_add(&second->received, 1); /* a fetch that goes on */
    is_sum(all, 101, 7);
    peer_unref(second);
    is_sum(all, 101, 7);
    snprintf(others[0].version, sizeof(others[0].version), "2"); /* it comes back as another version */
    peers_set(all, others, 1);
    peers_set(all, others, 2);
    is_sum(all, 101, 7);
    peers_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_stay)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
