/* Which client may read which private repository, and for how long. */
#include "proxy/registry/grant.h"
#include "unit.h"

#include <stdio.h>
#include <time.h>

enum { LONG_MS = 3600000, SHORT_MS = 300 };

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* A grant opens one repository to one client: nothing that merely looks like either. */
static void opens_one_repository_to_one_client(void **state UNUSED)
{
    static const struct {
        const char *client_id, *repo;
        bool granted;
    } cases[] = {
        {"alice", "ghcr.io/org/app", true},
        {"bob", "ghcr.io/org/app", false},
        {"", "ghcr.io/org/app", false},
        {"alice", "ghcr.io/org/app2", false},
        {"alice", "ghcr.io/org", false},
        {"alice", "quay.io/org/app", false},
        {"alice", "", false},
        {"aliceg", "hcr.io/org/app", false},
        {"alice\n", "ghcr.io/org/app", false},
        {"ALICE", "ghcr.io/org/app", false},
    };
    struct grants *g = grants_new(LONG_MS);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_false(grants_has(g, cases[i].client_id, cases[i].repo));
    grants_add(g, "alice", "ghcr.io/org/app");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (grants_has(g, cases[i].client_id, cases[i].repo) != cases[i].granted)
            fail_msg("%s, %s", cases[i].client_id, cases[i].repo);
    grants_free(g);
}

/* It ends by itself; granted again, it lasts as long again. */
static void ends(void **state UNUSED)
{
    struct grants *never = grants_new(0), *g = grants_new(SHORT_MS);

    grants_add(never, "alice", "ghcr.io/org/app");
    assert_false(grants_has(never, "alice", "ghcr.io/org/app"));
    grants_add(g, "alice", "ghcr.io/org/app");
    assert_true(grants_has(g, "alice", "ghcr.io/org/app"));
    wait_ms(SHORT_MS + 10);
    assert_false(grants_has(g, "alice", "ghcr.io/org/app"));
    grants_add(g, "alice", "ghcr.io/org/app");
    assert_true(grants_has(g, "alice", "ghcr.io/org/app"));
    grants_free(g);
    grants_free(never);
}

static void add_numbered(struct grants *g, int n)
{
    char id[16];

    snprintf(id, sizeof(id), "%d", n);
    grants_add(g, id, "ghcr.io/org/app");
}

static bool has_numbered(struct grants *g, int n)
{
    char id[16];

    snprintf(id, sizeof(id), "%d", n);
    return grants_has(g, id, "ghcr.io/org/app");
}

/* Memory is bounded: of too many, those that were granted the longest ago end first. One that is granted twice is one,
 * and as young as the second time. */
static void too_many_end_the_oldest(void **state UNUSED)
{
    struct grants *g = grants_new(LONG_MS);

    for (int i = 0; i < GRANTS_MAX; i++)
        add_numbered(g, i);
    for (int i = 0; i < 3; i++)
        add_numbered(g, 0);
    assert_true(has_numbered(g, 1));
    add_numbered(g, GRANTS_MAX);
    assert_true(has_numbered(g, GRANTS_MAX));
    assert_false(has_numbered(g, 1));
    assert_true(has_numbered(g, 0) && has_numbered(g, 2));
    grants_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_one_repository_to_one_client),
        cmocka_unit_test(ends),
        cmocka_unit_test(too_many_end_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
