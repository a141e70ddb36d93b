#include "tests/unit/unit.h"

#include "base/assert.h"
#include "base/latch.h"
#include "base/loop.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LETTERS = 1000 };

/* What ran, in order, and where. */
struct trace {
    struct loop *loop;
    struct latch *done; /* opened by the last one; NULL: nobody waits */
    pthread_mutex_t lock;
    int numbers[2 * LETTERS], count, last;
    bool elsewhere;
};

struct letter {
    struct trace *trace;
    int number;
};

static void trace_note(void *arg)
{
    struct letter *l = arg;
    struct trace *t = l->trace;

    pthread_mutex_lock(&t->lock);
    t->numbers[t->count++] = l->number;
    t->elsewhere = t->elsewhere || (t->loop && !loop_may_touch(t->loop));
    bool last = t->done && l->number == t->last;
    pthread_mutex_unlock(&t->lock);
    free(l);
    if (last)
        latch_open(t->done, NULL);
}

static struct letter *letter_new(struct trace *t, int number)
{
    struct letter *l = xcalloc(1, sizeof(*l));

    *l = (struct letter){t, number};
    return l;
}

static void trace_init(struct trace *t)
{
    *t = (struct trace){0};
    pthread_mutex_init(&t->lock, NULL);
}

/* From one thread, before and after the start: in order, on the loop's thread. */
static void posted_in_order(void **state UNUSED)
{
    static struct trace t;
    struct latch done;

    trace_init(&t);
    latch_init(&done);
    t.loop = loop_new("test", NULL);
    t.done = &done;
    t.last = LETTERS - 1;
    for (int i = 0; i < LETTERS / 2; i++)
        loop_post(t.loop, trace_note, letter_new(&t, i));
    assert_int_equal(t.count, 0);
    assert_true(loop_start(t.loop, NULL));
    for (int i = LETTERS / 2; i < LETTERS; i++)
        loop_post(t.loop, trace_note, letter_new(&t, i));
    assert_true(latch_wait(&done, NULL));
    loop_stop(t.loop);
    loop_join(t.loop);
    assert_int_equal(t.count, LETTERS);
    for (int i = 0; i < LETTERS; i++)
        assert_int_equal(t.numbers[i], i);
    assert_false(t.elsewhere);
    loop_free(t.loop);
}

static void *post_odd(void *arg)
{
    struct trace *t = arg;

    for (int i = 1; i < LETTERS; i += 2)
        loop_post(t->loop, trace_note, letter_new(t, i));
    return NULL;
}

/* From two threads: each one's in its own order. */
static void posted_by_two(void **state UNUSED)
{
    static struct trace t;
    pthread_t other;
    int last[2] = {-2, -1};

    trace_init(&t);
    t.loop = loop_new("test", NULL);
    assert_true(loop_start(t.loop, NULL));
    assert_int_equal(pthread_create(&other, NULL, post_odd, &t), 0);
    for (int i = 0; i < LETTERS; i += 2)
        loop_post(t.loop, trace_note, letter_new(&t, i));
    pthread_join(other, NULL);
    loop_stop(t.loop);
    loop_join(t.loop);
    assert_int_equal(t.count, LETTERS);
    for (int i = 0; i < LETTERS; i++) {
        assert_int_equal(t.numbers[i], last[t.numbers[i] % 2] + 2);
        last[t.numbers[i] % 2] = t.numbers[i];
    }
    assert_false(t.elsewhere);
    loop_free(t.loop);
}

static void post_one_more(void *arg)
{
    struct trace *t = arg;

    loop_post(t->loop, trace_note, letter_new(t, 7));
}

/* What is posted before a stop runs on the loop; what comes after it, when the thread is joined or settled, as if on
 * the loop. What nobody settles is dropped. */
static void stop_and_settle(void **state UNUSED)
{
    static struct trace t;

    trace_init(&t);
    t.loop = loop_new("test", NULL);
    loop_post(t.loop, trace_note, letter_new(&t, 1));
    loop_stop(t.loop);
    loop_post(t.loop, post_one_more, &t); /* the same turn runs it, but not what it posts */
    assert_true(loop_start(t.loop, NULL));
    loop_join(t.loop);
    assert_int_equal(t.count, 2);
    assert_false(loop_settle(t.loop)); /* nothing is left */

    loop_post(t.loop, post_one_more, &t);
    assert_int_equal(t.count, 2); /* nothing runs it by itself */
    assert_true(loop_settle(t.loop));
    assert_int_equal(t.count, 2); /* a letter that a letter posts is the next round's */
    assert_true(loop_settle(t.loop));
    assert_int_equal(t.count, 3);
    assert_false(loop_settle(t.loop));
    assert_int_equal(t.numbers[0], 1);
    assert_int_equal(t.numbers[1], 7);
    assert_int_equal(t.numbers[2], 7);

    loop_post(t.loop, post_one_more, &t);
    loop_free(t.loop);
    assert_int_equal(t.count, 3);
}

struct visit {
    struct loop *loop;
    struct latch *entered, *leave;
    bool inside;
};

static void visit_loop(void *arg)
{
    struct visit *v = arg;

    v->inside = loop_may_touch(v->loop);
    latch_open(v->entered, NULL);
    latch_wait(v->leave, NULL);
}

/* ON_LOOP(): nobody else's while it runs, anybody's before and after. */
static void touched_by_its_thread(void **state UNUSED)
{
    struct latch entered, leave;
    struct visit v = {loop_new("test", NULL), &entered, &leave, false};

    latch_init(&entered);
    latch_init(&leave);
    assert_true(loop_may_touch(v.loop));
    loop_post(v.loop, visit_loop, &v);
    assert_true(loop_start(v.loop, NULL));
    latch_wait(&entered, NULL);
    assert_true(v.inside);
    assert_false(loop_may_touch(v.loop));
    latch_open(&leave, NULL);
    loop_stop(v.loop);
    loop_join(v.loop);
    assert_true(loop_may_touch(v.loop));
    loop_free(v.loop);
}

/* ---- pool ---- */

struct slow {
    struct pool *pool;
    struct latch *go; /* NULL: at once */
    atomic_int *ended;
    int more; /* jobs that it hands in before it ends */
};

static void run_slow(void *arg)
{
    struct slow *s = arg;

    if (s->go)
        latch_wait(s->go, NULL);
    for (int i = 0; i < s->more; i++) {
        struct slow *next = xcalloc(1, sizeof(*next));
        *next = (struct slow){s->pool, NULL, s->ended, 0};
        pool_run(s->pool, run_slow, next);
    }
    atomic_fetch_add(s->ended, 1);
    free(s);
}

static void *open_latch(void *latch)
{
    latch_open(latch, NULL);
    return NULL;
}

static void hand_in(struct pool *p, atomic_int *ended, struct latch *go, int more)
{
    struct slow *s = xcalloc(1, sizeof(*s));

    *s = (struct slow){p, go, ended, more};
    pool_run(p, run_slow, s);
}

/* pool_settle() waits for what runs and for what that hands in; true once if there was anything since the last call. */
static void pool_settles(void **state UNUSED)
{
    struct pool *p = pool_new("test", 2, NULL);
    struct latch go;
    atomic_int ended = 0;
    pthread_t other;

    latch_init(&go);
    assert_false(pool_settle(p));
    hand_in(p, &ended, &go, 5);
    hand_in(p, &ended, NULL, 0);
    assert_int_equal(pthread_create(&other, NULL, open_latch, &go), 0);
    assert_true(pool_settle(p));
    assert_int_equal(atomic_load(&ended), 7);
    assert_false(pool_settle(p));
    pthread_join(other, NULL);
    pool_free(p);
}

/* One thread: jobs run in order. And pool_free() finishes what was handed in. */
static void pool_in_order(void **state UNUSED)
{
    static struct trace t;
    struct pool *p = pool_new("test", 1, NULL);

    trace_init(&t);
    for (int i = 0; i < LETTERS; i++)
        pool_run(p, trace_note, letter_new(&t, i));
    pool_free(p);
    assert_int_equal(t.count, LETTERS);
    for (int i = 0; i < LETTERS; i++)
        assert_int_equal(t.numbers[i], i);
}

/* ---- latch ---- */

static void fail_latch(void *latch)
{
    struct err err;

    err_set(&err, ERR_IO, "it broke");
    latch_open(latch, &err);
}

static void latch_brings_the_error(void **state UNUSED)
{
    struct pool *p = pool_new("test", 1, NULL);
    struct latch l;
    struct err err = {0};

    latch_init(&l);
    pool_run(p, fail_latch, &l);
    assert_false(latch_wait(&l, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.msg, "it broke");
    latch_init(&l);
    latch_open(&l, NULL); /* before anybody waits */
    assert_true(latch_wait(&l, &err));
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posted_in_order),        cmocka_unit_test(posted_by_two), cmocka_unit_test(stop_and_settle),
        cmocka_unit_test(touched_by_its_thread),  cmocka_unit_test(pool_settles),  cmocka_unit_test(pool_in_order),
        cmocka_unit_test(latch_brings_the_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
