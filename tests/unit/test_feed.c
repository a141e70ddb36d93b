/* Requests on their way to the pulls: those that are alike are counted, not copied. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/seen/feed.h"

#include <string.h>

static bool parts_look(void *arg UNUSED, const char *name UNUSED, const struct digest *manifest UNUSED,
                       struct pull_parts *out UNUSED)
{
    return false;
}

static void feed_one(struct pull_feed *to, bool blob, const struct digest *d)
{
    struct pull_request *r = pull_feed_next(to);

    *r = (struct pull_request){.blob = blob, .status = 200, .whole = true, .waited_ms = -1, .bytes = 7};
    r->at_ms = clock_now_ms();
    r->ended_ms = clock_mono_ms();
    r->asked = blob ? *d : (struct digest){0};
    r->digest = (struct digest){0};
    if (!blob)
        r->digest = *d;
    strcpy(r->client, "c");
    strcpy(r->agent, "containerd/2.1");
    strcpy(r->name, "docker.io/library/nginx");
    strcpy(r->tag, blob ? "" : "first");
    pull_feed_add(to);
}

static void keep_seen(void *arg, const struct pull_seen *pull)
{
    *(struct pull_seen *)arg = *pull;
}

static void alike_ones_are_counted(void **state UNUSED)
{
    struct loop *from = loop_new("from", NULL), *main_loop = loop_new("main", NULL);
    struct pulls *pulls = pulls_new(&(struct pulls_options){.look = parts_look}, main_loop);
    struct pull_feed *to = pull_feed_new(from, main_loop, pulls);
    struct digest m = {.alg = DIGEST_SHA256, .raw = {1}}, other = {.alg = DIGEST_SHA256, .raw = {2}};
    const struct pull_again same = {"c", "containerd/2.1", "docker.io/library/nginx", "first", &m, false,
                                    7,   clock_mono_ms()};
    struct pull_again others[] = {same, same, same, same, same, same, same};
    struct pull_seen seen = {0};

    others[0].client = "d";
    others[1].agent = NULL;
    others[2].name = "docker.io/library/ngin";
    others[3].tag = "";
    others[4].digest = &other;
    others[5].head = true;
    others[6].agent = "containerd/2.10";
    assert_false(pull_feed_again(to, &same)); /* nothing is gathered */
    feed_one(to, false, &m);                  /* posted at once */
    assert_false(pull_feed_again(to, &same));
    feed_one(to, true, &m);
    assert_false(pull_feed_again(to, &same)); /* a blob */
    feed_one(to, false, &m);
    for (int i = 0; i < 10; i++)
        assert_true(pull_feed_again(to, &same));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(pull_feed_again(to, &others[i]));
    pull_feed_flush(to);
    assert_true(loop_settle(main_loop));
    pulls_each(pulls, keep_seen, &seen);
    assert_int_equal(seen.requests, 13);
    assert_int_equal(seen.from[PULL_FROM_CACHE], 13 * 7);
    pulls_stop(pulls);
    pulls_free(pulls);
    pull_feed_free(to);
    loop_free(from);
    loop_free(main_loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(alike_ones_are_counted)};

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
