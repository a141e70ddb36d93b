/* What is wrong: since when, why, and when it is over. */
#include "base/trouble.h"
#include "proxy/seen/problem.h"
#include "upstream/registry_private.h"
#include "upstream/response.h"

#include "base/clock.h"
#include "cache/ingest/private.h"
#include "tests/unit/unit_ingest.h"

#include <string.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static void trouble_has_a_beginning_and_an_end(void **state UNUSED)
{
    static const struct {
        int64_t at_ms;
        bool note; /* or something that began then has gone well */
        bool there;
        int64_t since_ms;
    } steps[] = {
        {1 * SECOND, true, true, 1 * SECOND},
        {40 * SECOND, true, true, 1 * SECOND},
        {39 * SECOND, false, true, 1 * SECOND}, /* it began before the last failure */
        {41 * SECOND, false, false, 0},         /* behind it */
        {2 * MINUTE, true, true, 1 * SECOND},   /* it comes and goes: the same one */
        {11 * MINUTE, true, true, 1 * SECOND},
        {22 * MINUTE, true, true, 22 * MINUTE}, /* quiet for long: another one */
    };
    struct trouble_seen seen;
    struct trouble t;

    trouble_init(&t);
    assert_false(trouble_look(&t, &seen));
    trouble_pass(&t, 1);
    assert_false(trouble_look(&t, &seen));
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (steps[i].note)
            trouble_note(&t, steps[i].at_ms, "why");
        else
            trouble_pass(&t, steps[i].at_ms);
        assert_int_equal(trouble_look(&t, &seen), steps[i].there);
        if (!steps[i].there)
            continue;
        assert_int_equal(seen.since_ms, steps[i].since_ms);
        assert_string_equal(seen.why, "why");
    }
    trouble_destroy(&t);
}

static void a_long_reason_is_cut_between_characters(void **state UNUSED)
{
    char why[TROUBLE_WHY_MAX + 3];
    struct trouble_seen seen;
    struct trouble t;

    memset(why, 'x', sizeof(why));
    memcpy(why + TROUBLE_WHY_MAX - 1, "\xc3\xa9", 3);
    trouble_init(&t);
    trouble_note(&t, 1, why);
    assert_true(trouble_look(&t, &seen));
    assert_int_equal(strlen(seen.why), TROUBLE_WHY_MAX - 1);
    trouble_destroy(&t);
}

/* ---- the disk ---- */

enum { LATELY_MS = 60 * SECOND };

static struct err error_of(enum err_code code, bool of_limits)
{
    struct err err = {0};

    err_set(&err, code, "code %d", (int)code);
    err.of_limits = of_limits;
    return err;
}

/* The last one of each kind was so long ago. */
static void let_pass(struct ingests *all, int64_t ms)
{
    for (int r = 0; r < UNSTORED_REASONS; r++) {
        all->troubles[r].seen.since_ms -= ms;
        all->troubles[r].seen.last_ms -= ms;
    }
}

/* What was not kept is counted by its cause; what is wrong with the disk is told for a minute after the last time. */
static void what_is_not_kept(void **state)
{
    static const struct {
        enum err_code code;
        bool of_limits, denied;
        int counted, told; /* -1: not */
    } cases[] = {
        {ERR_IO, false, false, UNSTORED_IO_ERROR, UNSTORED_IO_ERROR},
        {ERR_NO_SPACE, true, false, UNSTORED_NO_ROOM, -1}, /* a blob over a limit */
        {ERR_NO_SPACE, true, true, -1, UNSTORED_NO_ROOM},  /* the collector could not make room */
        {ERR_NO_SPACE, false, false, UNSTORED_DISK_FULL, UNSTORED_DISK_FULL},
        {ERR_UPSTREAM, false, false, -1, -1}, /* a registry's fault */
    };
    struct fixture *f = *state;
    struct ingests *all = cache_ingests(f->cache);
    struct trouble_seen seen;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct err err = error_of(cases[i].code, cases[i].of_limits);
        struct ingest *blob = begin(f, "r.test");
        if (cases[i].denied)
            ingest_note_denied(blob, &err);
        else
            ingests_note_unstored(all, &err);
        ingest_unref(blob);
        for (int r = 0; r < UNSTORED_REASONS; r++) {
            bool told = ingests_trouble(all, (enum unstored)r, &seen);
            if (told != (r == cases[i].told) || (told && strcmp(seen.why, err.msg) != 0))
                fail_msg("case %zu: %s is %stold: %s", i, unstored_name((enum unstored)r), told ? "" : "not ",
                         told ? seen.why : "");
            assert_int_equal(ingests_unstored(all, (enum unstored)r), r == cases[i].counted);
            atomic_store(&all->unstored[r], 0);
        }
        let_pass(all, LATELY_MS - SECOND);
        assert_true(cases[i].told < 0 || ingests_trouble(all, (enum unstored)cases[i].told, &seen));
        let_pass(all, 2 * SECOND); /* 16 MiB are free here */
        for (int r = 0; r < UNSTORED_REASONS; r++)
            assert_false(ingests_trouble(all, (enum unstored)r, &seen));
        let_pass(all, TROUBLE_SAME_MS);
    }
}

/* What was begun later, and is kept, says that the disk is well; but not that there is room. */
static void what_is_kept_again(void **state)
{
    const struct err io = error_of(ERR_IO, false), limits = error_of(ERR_NO_SPACE, true);
    struct fixture *f = *state;
    struct ingests *all = cache_ingests(f->cache);
    struct trouble_seen seen;

    struct ingest *before = begin(f, "r.test");
    usleep(2000);
    ingests_note_unstored(all, &io);
    ingest_note_denied(before, &limits);
    ingest_note_stored(before);
    assert_true(ingests_trouble(all, UNSTORED_IO_ERROR, &seen));
    ingest_unref(before);
    usleep(2000);
    struct ingest *after = begin(f, "r.test");
    after->started_ms = clock_mono_ms();
    ingest_note_stored(after);
    assert_false(ingests_trouble(all, UNSTORED_IO_ERROR, &seen));
    assert_true(ingests_trouble(all, UNSTORED_NO_ROOM, &seen));
    ingests_note_unreadable(all, "reading");
    assert_true(ingests_trouble(all, UNSTORED_IO_ERROR, &seen));
    assert_string_equal(seen.why, "reading");
    ingest_unref(after);
}

/* ---- upstreams ---- */

struct found {
    int count[3];
    struct upstream_trouble last;
    char endpoint[64];
};

static void note_found(void *arg, const struct upstream_trouble *t)
{
    struct found *f = arg;

    f->count[t->kind]++;
    f->last = *t;
    snprintf(f->endpoint, sizeof(f->endpoint), "%s", t->endpoint);
}

static struct found look(struct upstream *u)
{
    struct found f = {0};

    upstream_each_trouble(u, note_found, &f);
    return f;
}

static struct upstream *upstream_of(const char *const *endpoints)
{
    return upstream_new(&(struct upstream_options){.name = "r.test", .endpoints = endpoints});
}

static void a_registry_is_down_until_it_answers(void **state UNUSED)
{
    struct upstream *u = upstream_of((const char *const[]){"https://r.test", NULL});
    struct upstream_stats st;

    upstream_get_stats(u, &st);
    assert_int_equal(st.requests, 0);
    assert_int_equal(st.connections, 0);
    assert_int_equal(look(u).count[UPSTREAM_NO_ANSWER], 0);
    endpoint_note(u, 0, "app manifests/1", ENDPOINT_FAILED, 0); /* one object of it */
    endpoint_note(u, 0, "app manifests/1", ENDPOINT_FAILED, 0);
    assert_int_equal(look(u).count[UPSTREAM_NO_ANSWER], 0);
    int64_t before = clock_mono_ms();
    endpoint_note(u, 0, "app manifests/2", ENDPOINT_OK, 0);
    for (int i = 0; i < 3; i++) {
        endpoint_note(u, 0, "app manifests/3", ENDPOINT_UNREACHABLE, 1000);
        struct found f = look(u);
        assert_int_equal(f.count[UPSTREAM_NO_ANSWER], 1);
        assert_string_equal(f.endpoint, "");
        assert_true(f.last.why[0]);
        assert_in_range(f.last.since_ms, before, clock_mono_ms());
        assert_in_range(f.last.next_ms, 1, 30000);
        before = i == 0 ? f.last.since_ms : before;
        assert_int_equal(f.last.since_ms, before); /* the first one counts */
    }
    endpoint_note(u, 0, "app manifests/3", ENDPOINT_OK, 0);
    assert_int_equal(look(u).count[UPSTREAM_NO_ANSWER], 0);
    endpoint_doubt(u, 0);
    assert_int_equal(look(u).count[UPSTREAM_NO_ANSWER], 1);
    assert_true(look(u).last.since_ms > 0);
    endpoint_note(u, 0, "app manifests/3", ENDPOINT_OK, 0);
    assert_int_equal(look(u).count[UPSTREAM_NO_ANSWER], 0);
    upstream_free(u);
}

static void a_mirror_that_is_skipped_is_named(void **state UNUSED)
{
    struct upstream *u = upstream_of((const char *const[]){"https://mirror.test", "https://r.test", NULL});

    endpoint_note(u, 0, "app manifests/1", ENDPOINT_FAILED, 1000);
    struct found f = look(u);
    assert_int_equal(f.count[UPSTREAM_NO_ANSWER], 1);
    assert_string_equal(f.endpoint, "https://mirror.test");
    upstream_free(u);
}

static void a_limit_holds_since_its_first_refusal(void **state UNUSED)
{
    struct upstream *u = upstream_of((const char *const[]){"https://r.test", NULL});
    struct transfer_response r;
    int64_t before = clock_mono_ms();

    response_reset(&r);
    r.status = 429;
    r.retry_after = 60;
    budget_note(u->budgets, 0, "a client", BUDGET_MANIFESTS, &r); /* its own affair */
    assert_int_equal(look(u).count[UPSTREAM_HELD], 0);
    budget_note(u->budgets, 0, "", BUDGET_MANIFESTS, &r);
    struct found f = look(u);
    assert_int_equal(f.count[UPSTREAM_HELD], 1);
    assert_in_range(f.last.since_ms, before, clock_mono_ms());
    assert_in_range(f.last.next_ms, 59000, 60000);
    budget_note(u->budgets, 0, "", BUDGET_MANIFESTS, &r);
    assert_int_equal(look(u).last.since_ms, f.last.since_ms);
    r.status = 200;
    budget_note(u->budgets, 0, "", BUDGET_MANIFESTS, &r);
    assert_int_equal(look(u).count[UPSTREAM_HELD], 0);
    upstream_free(u);
}

static void a_refused_login_is_told_until_one_is_accepted(void **state UNUSED)
{
    struct upstream *u = upstream_of((const char *const[]){"https://r.test", NULL});

    identity_refused(u, 0, 0, 0); /* there was none */
    assert_int_equal(look(u).count[UPSTREAM_LOGIN_REFUSED], 0);
    identity_refused(u, 0, 0, 7);
    int64_t since = look(u).last.since_ms;
    assert_int_equal(look(u).count[UPSTREAM_LOGIN_REFUSED], 1);
    assert_true(since > 0);
    identity_refused(u, 0, 0, 8);
    assert_int_equal(look(u).last.since_ms, since);
    identity_accepted(u, 0, 0);
    assert_int_equal(look(u).count[UPSTREAM_LOGIN_REFUSED], 0);
    upstream_free(u);
}

/* ---- problems as they are shown ---- */

static void every_kind_has_a_name_of_its_own(void **state UNUSED)
{
    for (int k = 0; k < PROBLEM_KINDS; k++) {
        const char *name = problem_name((enum problem_kind)k);
        assert_non_null(name);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        for (int other = 0; other < k; other++)
            assert_string_not_equal(name, problem_name((enum problem_kind)other));
    }
}

static void a_problem_is_json_whatever_it_says(void **state UNUSED)
{
    struct problem p = {PROBLEM_UPSTREAM_DOWN, "r.test", "no \xff route", 0};
    json_t *j = problem_json(&p);

    assert_string_equal(json_string_value(json_object_get(j, "what")), "upstream_down");
    assert_string_equal(json_string_value(json_object_get(j, "about")), "r.test");
    assert_non_null(strstr(json_string_value(json_object_get(j, "why")), " route"));
    assert_true(json_is_null(json_object_get(j, "since")));
    json_decref(j);
    p.since_s = 5;
    j = problem_json(&p);
    assert_int_equal(json_integer_value(json_object_get(j, "since")), 5);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trouble_has_a_beginning_and_an_end),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test_setup_teardown(what_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_again, setup, teardown),
        cmocka_unit_test(a_registry_is_down_until_it_answers),
        cmocka_unit_test(a_mirror_that_is_skipped_is_named),
        cmocka_unit_test(a_limit_holds_since_its_first_refusal),
        cmocka_unit_test(a_refused_login_is_told_until_one_is_accepted),
        cmocka_unit_test(every_kind_has_a_name_of_its_own),
        cmocka_unit_test(a_problem_is_json_whatever_it_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
