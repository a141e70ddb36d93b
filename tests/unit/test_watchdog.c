#include "tests/unit/unit.h"

#include "base/latch.h"
#include "base/loop.h"
#include "proxy/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { LIMIT_MS = 600, LOOPS = 3 };

/* Loops that are watched, and what has been noticed of them. */
struct kennel {
    struct loop *loops[LOOPS];
    struct watchdog *watchdog;
    struct latch noticed;
    char name[16];
    atomic_int times;
};

static void on_hang(void *arg, const char *name)
{
    struct kennel *k = arg;

    snprintf(k->name, sizeof(k->name), "%s", name);
    if (atomic_fetch_add(&k->times, 1) == 0)
        latch_open(&k->noticed, NULL);
}

static void kennel_open(struct kennel *k)
{
    char name[16];

    latch_init(&k->noticed);
    k->watchdog = watchdog_new(LIMIT_MS, on_hang, k);
    for (int i = 0; i < LOOPS; i++) {
        snprintf(name, sizeof(name), "serve-%d", i);
        k->loops[i] = loop_new(name, NULL);
        assert_true(loop_start(k->loops[i], NULL));
        watchdog_add(k->watchdog, k->loops[i]);
    }
    assert_true(watchdog_start(k->watchdog, NULL));
}

static void kennel_close(struct kennel *k)
{
    watchdog_stop(k->watchdog);
    for (int i = 0; i < LOOPS; i++)
        loop_stop(k->loops[i]);
    for (int i = 0; i < LOOPS; i++)
        loop_join(k->loops[i]);
    watchdog_free(k->watchdog);
    for (int i = 0; i < LOOPS; i++)
        loop_free(k->loops[i]);
}

static void hold(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        usleep(10000);
}

/* The one that hangs is named; those that turn are not. */
static void a_loop_that_hangs(void **state UNUSED)
{
    static struct kennel k;
    static atomic_bool released;

    kennel_open(&k);
    loop_post(k.loops[1], hold, &released);
    latch_wait(&k.noticed, NULL);
    assert_string_equal(k.name, "serve-1");
    atomic_store(&released, true);
    kennel_close(&k);
}

/* Loops that turn, and one that is busy for less than the limit again and again. */
static void nap(void *arg UNUSED)
{
    usleep(LIMIT_MS * 1000 / 4);
}

static void loops_that_turn(void **state UNUSED)
{
    static struct kennel k;

    kennel_open(&k);
    for (int i = 0; i < 12; i++) {
        loop_post(k.loops[2], nap, NULL);
        usleep(LIMIT_MS * 1000 / 4);
    }
    assert_int_equal(atomic_load(&k.times), 0);
    kennel_close(&k);
}

/* A turn in which one thing after the other is done: it may take longer, but not for ever. */
static void work_much(void *arg)
{
    for (int i = 0; i < 12; i++) {
        usleep(LIMIT_MS * 1000 / 4);
        loop_beat(arg);
    }
}

static void toil(void *arg)
{
    struct kennel *k = arg;

    while (atomic_load(&k->times) == 0) {
        usleep(LIMIT_MS * 1000 / 8);
        loop_beat(k->loops[0]);
    }
}

static void a_loop_with_much_to_do(void **state UNUSED)
{
    static struct kennel k;

    kennel_open(&k);
    loop_post(k.loops[2], work_much, k.loops[2]);
    usleep(4 * LIMIT_MS * 1000);
    assert_int_equal(atomic_load(&k.times), 0);
    loop_post(k.loops[0], toil, &k);
    latch_wait(&k.noticed, NULL);
    assert_string_equal(k.name, "serve-0");
    kennel_close(&k);
}

/* Half the limit of time in which the process runs. */
static void work(void *arg UNUSED)
{
    for (int i = 0; i < LIMIT_MS / 20; i++)
        usleep(10000);
}

/* The process stands still for three times the limit while a loop is busy. */
static void a_process_that_is_stopped(void **state UNUSED)
{
    static struct kennel k;
    pid_t self = getpid();

    kennel_open(&k);
    loop_post(k.loops[0], work, NULL);
    usleep(LIMIT_MS * 1000 / 4);
    pid_t child = fork();
    if (child == 0) {
        usleep(3 * LIMIT_MS * 1000);
        kill(self, SIGCONT);
        _exit(0);
    }
    kill(self, SIGSTOP);
    waitpid(child, NULL, 0);
    usleep(LIMIT_MS * 1000 / 2);
    assert_int_equal(atomic_load(&k.times), 0);
    kennel_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_that_hangs),
        cmocka_unit_test(loops_that_turn),
        cmocka_unit_test(a_loop_with_much_to_do),
        cmocka_unit_test(a_process_that_is_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
