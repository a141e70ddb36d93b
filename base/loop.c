#include "base/loop.h"

#include "base/assert.h"
#include "base/backtrace.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

struct letter {
    STAILQ_ENTRY(letter) entry;
    void (*fn)(void *);
    void *arg;
};

STAILQ_HEAD(letters, letter);

struct loop {
    /* set once */
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    char name[16];
    bool started;
    atomic_bool running;
    _Atomic(pthread_t) runner; /* the thread that runs it */
    pthread_t thread;          /* of loop_start() */
    /* written by its thread, read by any */
    _Atomic uint64_t beats;
    /* shared, under lock */
    pthread_mutex_t lock;
    struct letters mailbox;
};

static __thread const struct loop *current;

/* Returns whether there was anything. */
static bool loop_deliver(struct loop *loop)
{
    struct letters batch = STAILQ_HEAD_INITIALIZER(batch);

    pthread_mutex_lock(&loop->lock);
    STAILQ_CONCAT(&batch, &loop->mailbox);
    pthread_mutex_unlock(&loop->lock);
    bool any = !STAILQ_EMPTY(&batch);
    while (!STAILQ_EMPTY(&batch)) {
        struct letter *l = STAILQ_FIRST(&batch);
        STAILQ_REMOVE_HEAD(&batch, entry);
        l->fn(l->arg);
        free(l);
    }
    return any;
}

static void on_wake(evutil_socket_t fd, short what UNUSED, void *arg)
{
    uint64_t n;

    (void)!read(fd, &n, sizeof(n));
    loop_deliver(arg);
}

struct loop *loop_new(const char *name, struct err *err)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    struct event_config *cfg = event_config_new();

    snprintf(loop->name, sizeof(loop->name), "%s", name);
    pthread_mutex_init(&loop->lock, NULL);
    STAILQ_INIT(&loop->mailbox);
    /* All events of a loop belong to its thread: no locks in the base. */
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    /* No EPOLL_USE_CHANGELIST: it would call epoll_ctl for a descriptor after it was closed, when it may be another
     * loop's. */
    loop->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!loop->base || loop->wake_fd < 0) {
        err_errno(err, ERR_IO, "creating event loop %s", name);
        loop_free(loop);
        return NULL;
    }
    loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    event_add(loop->wake, NULL);
    return loop;
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

void loop_post(struct loop *loop, void (*fn)(void *), void *arg)
{
    struct letter *l = xmalloc(sizeof(*l));
    const uint64_t one = 1;

    l->fn = fn;
    l->arg = arg;
    pthread_mutex_lock(&loop->lock);
    bool was_empty = STAILQ_EMPTY(&loop->mailbox);
    STAILQ_INSERT_TAIL(&loop->mailbox, l, entry);
    pthread_mutex_unlock(&loop->lock);
    if (was_empty)
        (void)!write(loop->wake_fd, &one, sizeof(one));
}

void loop_run(struct loop *loop)
{
    IN_STATE(!atomic_load(&loop->running));
    current = loop;
    atomic_store(&loop->runner, pthread_self());
    atomic_store(&loop->running, true);
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    atomic_store(&loop->running, false);
    current = NULL;
}

static void *run_thread(void *arg)
{
    struct loop *loop = arg;

    pthread_setname_np(pthread_self(), loop->name);
    loop_run(loop);
    return NULL;
}

bool loop_start(struct loop *loop, struct err *err)
{
    IN_STATE(!loop->started);
    int rc = pthread_create(&loop->thread, NULL, run_thread, loop);
    if (rc != 0) {
        errno = rc;
        return err_errno(err, ERR_IO, "starting thread %s", loop->name);
    }
    loop->started = true;
    return true;
}

static void break_loop(void *arg)
{
    event_base_loopbreak(((struct loop *)arg)->base);
}

void loop_stop(struct loop *loop)
{
    loop_post(loop, break_loop, loop);
}

bool loop_settle(struct loop *loop)
{
    const struct loop *before = current;

    IN_STATE(!atomic_load(&loop->running));
    current = loop;
    bool any = loop_deliver(loop);
    current = before;
    return any;
}

void loop_join(struct loop *loop)
{
    IN_STATE(current != loop);
    if (loop->started)
        pthread_join(loop->thread, NULL);
    loop->started = false;
    loop_settle(loop);
}

bool loop_may_touch(const struct loop *loop)
{
    return current == loop || !atomic_load_explicit(&loop->running, memory_order_relaxed);
}

void loop_beat(struct loop *loop)
{
    atomic_store_explicit(&loop->beats, atomic_load_explicit(&loop->beats, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

uint64_t loop_beats(const struct loop *loop)
{
    return atomic_load_explicit(&loop->beats, memory_order_relaxed);
}

bool loop_backtrace(const struct loop *loop, int ms)
{
    IN_STATE(current != loop);
    return atomic_load(&loop->running) && backtrace_of(atomic_load(&loop->runner), ms);
}

bool loop_is_any(void)
{
    return current != NULL;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->wake)
        event_free(loop->wake);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    while (!STAILQ_EMPTY(&loop->mailbox)) {
        struct letter *l = STAILQ_FIRST(&loop->mailbox);
        STAILQ_REMOVE_HEAD(&loop->mailbox, entry);
        free(l);
    }
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
