/* Questions to another node: what is sent, and for how long an answer is waited for. */
#include "tests/unit/unit_ask.h"

/* ---- what is sent ---- */

/* The value of a header of what the toy was sent. The caller frees. */
static char *header_of(const char *head, const char *name)
{
    _cleanup_free_ char *line = xasprintf("\r\n%s: ", name);
    const char *at = strstr(head, line);

    return at ? xasprintf("%.*s", (int)strcspn(at + strlen(line), "\r"), at + strlen(line)) : xstrdup("");
}

/* Its proof vouches for all of it, at the toy alone. */
static void is_proved(const struct fixture *f, const char *head, const char *method, const char *target)
{
    struct proofs *p = proofs_new(SECRET);
    _cleanup_free_ char *line = xasprintf("%s %s HTTP/1.1\r\n", method, target);
    _cleanup_free_ char *peer = header_of(head, ASK_HEADER), *range = header_of(head, "Range"),
                        *authorization = header_of(head, "Authorization"), *proof = header_of(head, PROOF_HEADER);
    struct proof_of of = {method, target, "10.0.0.9:5443", peer, range, authorization};
    struct err err = {0};
    int64_t skew;

    assert_memory_equal(head, line, strlen(line));
    assert_false(proof_check(p, &of, proof, &skew, &err));
    of.to = f->peer->who.address;
    assert_true(proof_check(p, &of, proof, &skew, &err));
    proofs_free(p);
}

static void a_good_answer(void **state)
{
    struct fixture *f = *state;
    struct question *q = ask_of(f, "good");
    struct ask_head h;

    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(q->status, 206);
    assert_int_equal(atomic_load(&q->heads), 1);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    assert_int_equal(atomic_load(&f->peer->received), DATA);
    assert_int_equal(atomic_load(&f->peer->answered), 1);
    assert_false(peer_is_resting(f->peer));
    is_proved(f, node.question, "GET", "/v2/good/blobs/sha256:00?ns=docker.io");
    _cleanup_free_ char *peer = header_of(node.question, ASK_HEADER), *range = header_of(node.question, "Range");
    assert_string_equal(peer, "v=1; hops=1; size=400000; from=10.0.0.8:5443");
    assert_string_equal(range, "bytes=1000-300999");
    assert_true(ask_parse(peer, &h) && h.version == 1 && h.hops == 1 && h.size == 400000 && !h.have);
    assert_string_equal(h.from, "10.0.0.8:5443");
    free(q);
}

/* A login goes over an encrypted connection alone. */
static void no_login_in_the_clear(void **state)
{
    struct fixture *f = *state;
    struct cred_identity id = {.username = "alice", .secret = "wonder"};
    struct question *q = question_new(f, "good");

    q->ask.identity = &id;
    q->ask.authorization = "Bearer secret";
    q->ask.accept = "a/b";
    q->ask.have = true;
    q->ask.hops = 2;
    q->ask.range_first = -1;
    question_ask(q);
    _cleanup_free_ char *authorization = header_of(node.question, "Authorization"),
                        *accept = header_of(node.question, "Accept"), *range = header_of(node.question, "Range"),
                        *peer = header_of(node.question, ASK_HEADER);
    assert_string_equal(authorization, "");
    assert_string_equal(accept, "a/b");
    assert_string_equal(range, "");
    assert_non_null(strstr(peer, "hops=2"));
    assert_non_null(strstr(peer, "; have"));
    assert_null(strcasestr(node.question, "wonder"));
    is_proved(f, node.question, "GET", "/v2/good/blobs/sha256:00?ns=docker.io");
    free(q);
}

/* ---- patience ---- */

static void silent(void **state)
{
    struct question *q = ask_of(*state, "silent");

    is_given_up(q, "it is silent", ASK_SILENT_MS);
    assert_int_equal(atomic_load(&node.lives), 1);
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *target = xasprintf(ASK_LIFE_PATH "?digest=%s&at=1000", digest_format(&q->digest, hex));
    is_proved(*state, node.life, "HEAD", target);
    free(q);
}

static void silent_in_a_hurry(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "silent");

    q->ask.hurry = true;
    question_ask(q);
    is_given_up(q, "it is silent", ASK_HURRIED_MS);
    free(q);
}

static void dead(void **state)
{
    struct fixture *f = *state;
    struct question *q;

    shutdown(toy.listener, SHUT_RDWR);
    q = ask_of(f, "good");
    assert_int_equal(q->err.code, ERR_UNREACHABLE);
    assert_true(q->took_ms < ASK_SILENT_MS + ROOM_MS);
    assert_true(peer_is_resting(f->peer));
    free(q);
}

/* It brings too little for one that has it. */
static void drips(void **state)
{
    struct question *q = ask_of(*state, "drip");

    is_given_up(q, "it does not send what it has", ASK_SILENT_MS + ASK_SILENT_MS / 4);
    assert_true(atomic_load(&q->bytes) > 0);
    free(q);
}

static void stops_in_the_middle(void **state)
{
    struct question *q = ask_of(*state, "stops");

    is_given_up(q, "it does not send what it has", ASK_SILENT_MS + ASK_SILENT_MS / 4);
    assert_int_equal(atomic_load(&q->bytes), DATA / 2);
    assert_non_null(strstr(node.life, "&at=151000 ")); /* the next byte */
    free(q);
}

/* It waits for its registry: so do we. */
static void waits(void **state)
{
    struct fixture *f = *state;
    struct question *q = ask_of(f, "waits-a-little");

    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

static void waits_for_ever(void **state)
{
    struct question *q = ask_of(*state, "waits");

    is_given_up(q, "it waits for too long, for its registry or another node", ASK_EXCUSED_MS);
    free(q);
}

/* The registry has just sent this node of the same blob: the other's way there is the slow one. */
static void waits_for_a_quick_registry(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "waits");

    q->quick_ms = clock_mono_ms() - ASK_QUICK_MS / 2;
    question_ask(q);
    is_given_up(q, "it waits for too long, for its registry or another node", ASK_SILENT_MS);
    free(q);
}

/* A manifest is waited for longer: each node that asks itself would count as a pull. */
static void waits_with_a_manifest(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "waits");

    q->ask.digest = NULL;
    question_ask(q);
    is_given_up(q, "it waits for too long, for its registry or another node", ASK_EXCUSED_TAG_MS);
    free(q);
}

/* Another has failed before: less is waited for. It does not rest for that: it may have waited for that other one. */
static void waits_in_a_hurry(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "waits");

    q->ask.hurry = true;
    question_ask(q);
    assert_int_equal(q->err.code, ERR_TIMEOUT);
    assert_in_range(q->took_ms, ASK_SILENT_MS * 3 / 4, ASK_SILENT_MS + ROOM_MS);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    assert_false(peer_is_resting(f->peer));
    free(q);
}

/* Once it is known to be silent, what else it is silent about is not waited for. */
static void silent_beside_a_silence(void **state)
{
    struct fixture *f = *state;
    int64_t least_ms = INT64_MAX;

    for (int i = 0; i < 8 && least_ms >= ASK_SILENT_MS; i++) { /* a busy machine may be late */
        struct question *first = question_new(f, "silent"), *q = question_new(f, "silent");
        first->ask.hurry = true;
        loop_post(f->loop, question_begin, first);
        loop_post(f->loop, question_begin, q);
        WAIT_FOR(atomic_load(&first->done) == 1 && atomic_load(&q->done) == 1);
        assert_int_equal(q->err.code, ERR_TIMEOUT);
        assert_string_equal(atomic_load(&f->peer->why), "it is silent");
        least_ms = MIN(least_ms, q->took_ms);
        peer_note_answer(f->peer, clock_mono_ms());
        free(first);
        free(q);
    }
    assert_in_range(least_ms, ASK_HURRIED_MS * 3 / 4, ASK_SILENT_MS - 1);
}

/* Much comes from others: the link is full, and one connection may stand still. */
static void stands_still_beside_others(void **state)
{
    struct fixture *f = *state;
    int64_t most_ms = 0;

    for (int i = 0; i < 5 && most_ms < 2 * ASK_SILENT_MS; i++) { /* a busy machine may be late */
        struct question *q = question_new(f, "stops");
        loop_post(f->loop, question_begin, q);
        for (int k = 0; k < 3 * ASK_SILENT_MS / 20 && atomic_load(&q->done) == 0; k++) {
            atomic_fetch_add(cluster_received(f->cluster), ASK_BESIDE_BYTES);
            usleep(20000);
        }
        WAIT_FOR(atomic_load(&q->done) == 1); /* nothing comes any more */
        assert_string_equal(atomic_load(&f->peer->why), "it does not send what it has");
        most_ms = MAX(most_ms, q->took_ms);
        peer_note_answer(f->peer, clock_mono_ms());
        free(q);
    }
    assert_in_range(most_ms, 2 * ASK_SILENT_MS, ASK_BESIDE_MS + PATIENCE_MS);
}

/* It says so without having begun, and was asked for what is there alone. */
static void waits_with_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "waits");

    q->ask.have = true;
    question_ask(q);
    is_given_up(q, "it does not send what it has", ASK_SILENT_MS);
    free(q);
}

/* One that says so, while nothing comes here: it may be waiting for us. */
static void says_that_it_grows(void **state)
{
    struct question *q = ask_of(*state, "says-that-it-grows");

    is_given_up(q, "it waits for too long, for its registry or another node", ASK_EXCUSED_MS);
    free(q);
}

/* For as long as something comes there, and here. */
static void is_waited_for(struct fixture *f, const char *mode)
{
    struct question *q = ask_of(f, mode);

    assert_int_equal(q->err.code, ERR_OK);
    assert_true(q->took_ms > ASK_EXCUSED_MS);
    assert_false(peer_is_resting(f->peer));
    free(q);
}

static void waits_while_it_grows(void **state)
{
    is_waited_for(*state, "grows");
}

static void waits_while_it_grows_slowly(void **state)
{
    is_waited_for(*state, "grows-slowly");
}

/* ---- answers that are none ---- */

static void is_refused(struct fixture *f, const char *mode, const char *why)
{
    struct question *q = ask_of(f, mode);

    assert_int_equal(q->status, 403);
    assert_int_equal(atomic_load(&f->peer->refused), 1);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    assert_true(peer_is_resting(f->peer));
    assert_non_null(strstr(atomic_load(&f->peer->why), why));
    free(q);
}

static void refused(void **state)
{
    is_refused(*state, "refuses", "clock");
}

static void refused_version(void **state)
{
    is_refused(*state, "reads-no-such-version", "version");
}

static void counts_as(struct fixture *f, const char *mode, enum err_code code, int failed, int answered)
{
    struct question *q = ask_of(f, mode);

    assert_int_equal(q->err.code, code);
    assert_int_equal(atomic_load(&f->peer->failed), failed);
    assert_int_equal(atomic_load(&f->peer->answered), answered);
    assert_int_equal(atomic_load(&f->peer->refused), 0);
    assert_true(peer_is_resting(f->peer) == (failed > 0));
    free(q);
}

static void lacks(void **state)
{
    counts_as(*state, "lacks", ERR_OK, 0, 1);
}

static void registry_denies(void **state)
{
    counts_as(*state, "denies", ERR_OK, 0, 0);
}

static void stranger(void **state)
{
    counts_as(*state, "stranger", ERR_OK, 1, 0);
}

static void stranger_forbids(void **state)
{
    counts_as(*state, "forbids", ERR_OK, 1, 0);
}

/* Its registry does: that says nothing of the node. */
static void fails(void **state)
{
    counts_as(*state, "fails", ERR_OK, 0, 0);
}

static void cut_off(void **state)
{
    counts_as(*state, "cut", ERR_UPSTREAM, 1, 0);
}

/* The caller does not want it: not the node's fault. */
static void head_refused(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "endless");

    q->refuses = true;
    question_ask(q);
    assert_int_equal(q->err.code, ERR_CANCELLED);
    assert_int_equal(atomic_load(&q->bytes), 0);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

/* ---- pause, and cancel ---- */

static void go_on(void *arg)
{
    struct question *q = arg;

    ask_pause(q->a, false);
}

/* A paused one is not given up. */
static void paused(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "good");

    q->pause = AT_HEAD;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->heads) == 1);
    usleep(2 * ASK_SILENT_MS * 1000);
    assert_int_equal(atomic_load(&q->done), 0);
    assert_int_equal(atomic_load(&node.lives), 0);
    loop_post(f->loop, go_on, q);
    WAIT_FOR(atomic_load(&q->done) == 1);
    assert_int_equal(q->err.code, ERR_OK);
    assert_int_equal(atomic_load(&q->bytes), DATA);
    free(q);
}

static void drop_now(void *arg)
{
    question_drop(arg);
}

static void cancelled_at(struct fixture *f, const char *mode, enum stage stage)
{
    struct question *q = question_new(f, mode);

    q->cancel = stage;
    loop_post(f->loop, question_begin, q);
    WAIT_FOR(atomic_load(&q->dropped) == 1);
    usleep(20000);
    assert_int_equal(atomic_load(&q->done), 0);
    free(q);
}

static void cancelled(void **state)
{
    struct fixture *f = *state;
    struct question *q = question_new(f, "silent");

    cancelled_at(f, "good", AT_ONCE);
    cancelled_at(f, "good", AT_HEAD);
    cancelled_at(f, "good", AT_DATA);
    loop_post(f->loop, question_begin, q); /* while it is asked whether it lives */
    WAIT_FOR(atomic_load(&node.lives) == 1);
    loop_post(f->loop, drop_now, q);
    WAIT_FOR(atomic_load(&q->dropped) == 1);
    usleep(ASK_SILENT_MS * 1000);
    assert_int_equal(atomic_load(&q->done), 0);
    assert_int_equal(atomic_load(&f->peer->failed), 0);
    free(q);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_NODE(a_good_answer),
        WITH_NODE(no_login_in_the_clear),
        WITH_NODE(silent),
        WITH_NODE(silent_in_a_hurry),
        WITH_NODE(dead),
        WITH_NODE(drips),
        WITH_NODE(stops_in_the_middle),
        WITH_NODE(waits),
        WITH_NODE(waits_for_ever),
        WITH_NODE(waits_while_it_grows),
        WITH_NODE(waits_while_it_grows_slowly),
        WITH_NODE(waits_for_a_quick_registry),
        WITH_NODE(waits_with_a_manifest),
        WITH_NODE(waits_in_a_hurry),
        WITH_NODE(silent_beside_a_silence),
        WITH_NODE(stands_still_beside_others),
        WITH_NODE(waits_with_what_it_has),
        WITH_NODE(says_that_it_grows),
        WITH_NODE(refused),
        WITH_NODE(refused_version),
        WITH_NODE(lacks),
        WITH_NODE(registry_denies),
        WITH_NODE(stranger),
        WITH_NODE(stranger_forbids),
        WITH_NODE(fails),
        WITH_NODE(cut_off),
        WITH_NODE(head_refused),
        WITH_NODE(paused),
        WITH_NODE(cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
