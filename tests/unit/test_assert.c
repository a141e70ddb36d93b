/* What assertions let pass, and what they end. */
#include "tests/unit/unit.h"

#include "base/assert.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t some_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop *some_loop;

static void with_lock(void)
{
    pthread_mutex_lock(&some_lock);
    HOLDS(&some_lock);
}

static void without_lock(void)
{
    HOLDS(&some_lock);
}

static void *take_lock(void *arg UNUSED)
{
    pthread_mutex_lock(&some_lock);
    return NULL;
}

static void with_anothers_lock(void)
{
    pthread_t other;

    pthread_create(&other, NULL, take_lock, NULL);
    pthread_join(other, NULL);
    HOLDS(&some_lock);
}

static void touch(void *arg)
{
    ON_LOOP(some_loop);
    loop_stop(arg);
}

static void on_loop(void)
{
    ON_LOOP(some_loop); /* nobody's yet */
    loop_post(some_loop, touch, some_loop);
    loop_run(some_loop);
    ON_LOOP(some_loop); /* nobody's any more */
}

static void on_another_loop(void)
{
    struct loop *other = loop_new("other", NULL);

    loop_start(some_loop, NULL);
    usleep(100000);
    loop_post(other, touch, other);
    loop_run(other);
}

static void assertions(void **state UNUSED)
{
    static const struct {
        void (*fn)(void);
        bool holds;
    } cases[] = {{with_lock, true},
                 {without_lock, false},
                 {with_anothers_lock, false},
                 {on_loop, true},
                 {on_another_loop, false}};
    int status;

    some_loop = loop_new("some", NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pid_t child = fork();
        if (child == 0) {
            cases[i].fn();
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(cases[i].holds ? WIFEXITED(status) : WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    loop_free(some_loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(assertions)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
