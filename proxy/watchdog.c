#include "proxy/watchdog.h"

#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum {
    LOOPS_MAX = 32,
    TURNS = 10,    /* looks at the loops in the limit */
    BUSY = 6,      /* a loop that makes progress may take so many times as long for a turn */
    STOOD = 3,     /* a turn that took so many times as long: the whole process stood still */
    LAST_LINE = 5, /* seconds for the log to take the last line */
    BACKTRACE_MS = 1000,
};

struct watched {
    struct loop *loop;
    int64_t silent_ms; /* since the loop took a message */
    int64_t still_ms;  /* since it made progress (loop_beat()) */
    uint64_t beats;
    atomic_bool taken;
};

struct watchdog {
    /* set before the start */
    int64_t limit_ms, turn_ms, ping_ms; /* ping_ms 0: nobody wants to be told */
    void (*on_hang)(void *arg, const char *name);
    void *arg;
    struct watched loops[LOOPS_MAX];
    int count;
    pthread_t thread;
    bool started;
    /* the thread's own */
    int64_t looked_ms, pinged_ms;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
};

/* ---- what is done about it ---- */

/* Nothing of this may wait for what hangs. It may be the log itself that does, a pipe that nobody reads: then the alarm
 * ends the process. */
static void end_process(void *arg, const char *name)
{
    const struct watchdog *w = arg;

    signal(SIGALRM, SIG_DFL);
    alarm(LAST_LINE);
    keep_remove_all();
    log_error("the loop %s has not turned for %d s: the process aborts", name, (int)(w->limit_ms / 1000));
    for (int i = 0; i < w->count; i++)
        if (strcmp(loop_name(w->loops[i].loop), name) == 0)
            loop_backtrace(w->loops[i].loop, BACKTRACE_MS);
    abort();
}

static bool is_traced(void)
{
    _cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    int pid = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "TracerPid: %d", &pid) == 1)
            break;
    return pid > 0;
}

static void take(void *arg)
{
    atomic_store(&((struct watched *)arg)->taken, true);
}

static void look_at(struct watchdog *w, struct watched *l, int64_t passed_ms)
{
    uint64_t beats = loop_beats(l->loop);

    if (atomic_exchange(&l->taken, false)) {
        l->silent_ms = l->still_ms = 0;
        loop_post(l->loop, take, l);
        return;
    }
    l->silent_ms += passed_ms;
    l->still_ms = beats == l->beats ? l->still_ms + passed_ms : 0;
    l->beats = beats;
    if (l->still_ms < w->limit_ms && l->silent_ms < BUSY * w->limit_ms)
        return;
    if (is_traced())
        log_limited(LOG_LEVEL_WARN, "a traced loop",
                    "the loop %s does not turn; the process is being traced, and goes on", loop_name(l->loop));
    else
        w->on_hang(w->arg, loop_name(l->loop));
    l->silent_ms = l->still_ms = 0;
}

static void look_at_all(struct watchdog *w)
{
    int64_t now = clock_mono_ms(), passed_ms = now - w->looked_ms;
    bool stood = passed_ms > STOOD * w->turn_ms;

    w->looked_ms = now;
    for (int i = 0; i < w->count; i++) {
        if (stood)
            w->loops[i].silent_ms = w->loops[i].still_ms = 0;
        look_at(w, &w->loops[i], stood ? 0 : passed_ms);
    }
    if (w->ping_ms > 0 && now - w->pinged_ms >= w->ping_ms) {
        sd_notify(0, "WATCHDOG=1");
        w->pinged_ms = now;
    }
}

static void *watch(void *arg)
{
    struct watchdog *w = arg;

    pthread_setname_np(pthread_self(), "watchdog");
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        int64_t until = w->looked_ms + w->turn_ms;
        while (!w->stopping && cond_wait_until(&w->wake, &w->lock, until))
            ;
        if (w->stopping)
            break;
        pthread_mutex_unlock(&w->lock);
        look_at_all(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- start and stop ---- */

struct watchdog *watchdog_new(int64_t limit_ms, void (*on_hang)(void *arg, const char *name), void *arg)
{
    struct watchdog *w = xcalloc(1, sizeof(*w));
    uint64_t wanted_us = 0;

    if (sd_watchdog_enabled(0, &wanted_us) > 0) {
        /* Before the manager ends the process without a name in the log. */
        limit_ms = MIN(limit_ms, (int64_t)MAX(wanted_us / 2000, (uint64_t)TURNS));
        w->ping_ms = (int64_t)MAX(wanted_us / 4000, (uint64_t)1);
    }
    w->limit_ms = limit_ms;
    w->turn_ms = limit_ms / TURNS;
    w->on_hang = on_hang ? on_hang : end_process;
    w->arg = on_hang ? arg : w;
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->wake);
    return w;
}

void watchdog_add(void *watchdog, struct loop *loop)
{
    struct watchdog *w = watchdog;

    IN_STATE(!w->started && w->count < LOOPS_MAX);
    struct watched *l = &w->loops[w->count++];
    l->loop = loop;
    atomic_init(&l->taken, true);
}

bool watchdog_start(struct watchdog *w, struct err *err)
{
    IN_STATE(!w->started);
    w->looked_ms = clock_mono_ms();
    int rc = pthread_create(&w->thread, NULL, watch, w);
    if (rc != 0) {
        errno = rc;
        return err_errno(err, ERR_IO, "starting the watchdog's thread");
    }
    w->started = true;
    return true;
}

void watchdog_stop(struct watchdog *w)
{
    if (!w || !w->started)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void watchdog_free(struct watchdog *w)
{
    if (!w)
        return;
    IN_STATE(!w->started);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
