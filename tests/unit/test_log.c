#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "base/pool.h"

#include <fcntl.h>
#include <stdatomic.h>

/* What was logged meanwhile. */
struct capture {
    int file, stderr_was;
};

static struct capture begin(void)
{
    char name[] = "/tmp/entrepot-log.XXXXXX";
    struct capture c = {.file = mkstemp(name), .stderr_was = dup(STDERR_FILENO)};

    unlink(name);
    dup2(c.file, STDERR_FILENO);
    return c;
}

static char *end(struct capture c)
{
    off_t len = lseek(c.file, 0, SEEK_END);
    char *text = xcalloc(1, (size_t)len + 1);

    dup2(c.stderr_was, STDERR_FILENO);
    assert_int_equal(pread(c.file, text, (size_t)len, 0), len);
    close(c.file);
    close(c.stderr_was);
    return text;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

/* 60 failed requests of each of two registries in a minute, and other failures of one of them; the next minute. */
static void an_outage(void **state UNUSED)
{
    log_limit_window(100);
    struct capture c = begin();
    for (int i = 0; i < 60; i++) {
        log_limited_about(LOG_LEVEL_WARN, "timeout", "a.io", "GET a.io/%d: too slow", i);
        log_limited_about(LOG_LEVEL_WARN, "timeout", "b.io", "GET b.io/%d: too slow", i);
    }
    log_limited_about(LOG_LEVEL_ERROR, "digest", "a.io", "GET a.io/x: wrong bytes");
    log_limited(LOG_LEVEL_WARN, "timeout", "somebody's");
    log_limited_about(LOG_LEVEL_DEBUG, "timeout", "a.io", "not at this level");
    log_report_suppressed(false); /* the minute is not over */
    _cleanup_free_ char *first = end(c);
    assert_int_equal(count(first, "\n"), 4);
    assert_int_equal(count(first, "warn  GET a.io/0: too slow\n"), 1);
    assert_int_equal(count(first, "warn  GET b.io/0: too slow\n"), 1);
    assert_int_equal(count(first, "error GET a.io/x: wrong bytes\n"), 1);
    assert_int_equal(count(first, "somebody's\n"), 1);

    usleep(110000);
    c = begin();
    log_report_suppressed(false);
    for (int i = 0; i < 9; i++) /* it goes on: the next line is a minute later */
        log_limited_about(LOG_LEVEL_WARN, "timeout", "a.io", "GET a.io/%d: too slow", i);
    log_limited_about(LOG_LEVEL_ERROR, "digest", "a.io", "again, after a quiet minute");
    _cleanup_free_ char *second = end(c);
    assert_int_equal(count(second, "\n"), 3);
    assert_int_equal(count(second, "warn  ... and 59 more like this in the last minute: GET a.io/0: too slow\n"), 1);
    assert_int_equal(count(second, "warn  ... and 59 more like this in the last minute: GET b.io/0: too slow\n"), 1);
    assert_int_equal(count(second, "error again, after a quiet minute\n"), 1);

    c = begin();
    log_report_suppressed(true); /* the daemon stops */
    log_report_suppressed(true);
    _cleanup_free_ char *third = end(c);
    assert_int_equal(count(third, "\n"), 1);
    assert_int_equal(count(third, "... and 9 more like this in the last minute: GET a.io/0: too slow\n"), 1);
}

/* However many names clients make up: lines and memory are bounded, and other kinds are told as ever. */
static void many(void **state UNUSED)
{
    log_limit_window(60000);
    struct capture c = begin();
    for (int i = 0; i < 5000; i++) {
        char host[400];
        snprintf(host, sizeof(host), "%0300d", i);
        host[0] = (char)('a' + i % 26);
        snprintf(host + 1, 20, "%d", i);
        log_limited_about(LOG_LEVEL_WARN, "made up", host, "no such host");
    }
    log_limited(LOG_LEVEL_WARN, "disk", "the disk is full");
    log_limited_about(LOG_LEVEL_WARN, "timeout", "c.io", "too slow");
    _cleanup_free_ char *first = end(c);
    assert_in_range(count(first, "no such host\n"), 2, 256);
    assert_int_equal(count(first, "the disk is full\n"), 1);
    assert_int_equal(count(first, "too slow\n"), 1);
    c = begin();
    log_report_suppressed(true);
    _cleanup_free_ char *rest = end(c);
    int told = count(first, "no such host\n");
    char want[80];
    snprintf(want, sizeof(want), "... and %d more like this", 5000 - told);
    assert_int_equal(count(rest, want), 1);
}

static void debug_shows_all(void **state UNUSED)
{
    struct capture c = begin();
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    for (int i = 0; i < 60; i++)
        log_limited_about(LOG_LEVEL_WARN, "all of them", "a.io", "line %d", i);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    _cleanup_free_ char *text = end(c);
    assert_int_equal(count(text, "\n"), 60);
}

/* ---- tasks that take long ---- */

static atomic_int hanging;

static void wait_for_disk(void *latch)
{
    atomic_fetch_add(&hanging, 1);
    latch_wait(latch, NULL);
}

static void nothing(void *arg UNUSED)
{
}

/* Those that hang are named once each, with how many wait behind them; others are not. */
static void tasks_that_hang(void **state UNUSED)
{
    struct pool *p = pool_new("disk", 2, NULL);
    struct latch go[2];

    for (int i = 0; i < 2; i++) {
        latch_init(&go[i]);
        pool_run(p, wait_for_disk, &go[i]);
    }
    for (int i = 0; i < 3; i++)
        pool_run(p, nothing, NULL);
    while (atomic_load(&hanging) < 2)
        usleep(1000);
    usleep(50000);
    struct capture c = begin();
    pool_look(p, 60000);
    pool_look(p, 20);
    pool_look(p, 20);
    latch_open(&go[0], NULL);
    latch_open(&go[1], NULL);
    pool_settle(p);
    pool_look(p, 0);
    _cleanup_free_ char *text = end(c);
    assert_int_equal(count(text, "\n"), 2);
    assert_int_equal(count(text,
                           "warn  a worker of disk has been busy with one task (wait_for_disk) for more than 0 s; "
                           "3 tasks wait\n"),
                     2);
    pool_free(p);
}

/* The log is a pipe that nobody reads: a line waits once, those after it do not, and they are counted. */
static void a_reader_that_is_away(void **state UNUSED)
{
    int ends[2], stderr_was = dup(STDERR_FILENO);
    char *text = xcalloc(1, 1 << 20);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_limit_wait(100);
    int64_t begun = clock_mono_ms();
    for (int i = 0; i < 5000; i++)
        log_info("line %d of many", i);
    assert_in_range(clock_mono_ms() - begun, 90, 5000);
    assert_int_equal(log_pass_on("other\n", 6), 0);
    assert_true(read(ends[0], text, 1 << 16) > 4096);
    log_info("the first one after it");
    assert_int_equal(log_pass_on("other\n", 6), 6);
    dup2(stderr_was, STDERR_FILENO);
    close(stderr_was);
    log_limit_wait(-1);
    ssize_t n = read(ends[0], text, (1 << 20) - 1);
    close(ends[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(count(text, "lines of the log are missing here"), 1);
    assert_non_null(strstr(text, "the first one after it\nother\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_is_away), cmocka_unit_test(an_outage),       cmocka_unit_test(many),
        cmocka_unit_test(debug_shows_all),       cmocka_unit_test(tasks_that_hang),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
