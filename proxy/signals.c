/* The events of the main loop: what stops the daemon, and what changes it while it runs. */
#include "proxy/limits.h"
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { DRAIN_S = 30, FLUSH_S = 5, LOOK_S = 1, SLOW_TASK_MS = 60000, SETTLE_MS = 3000 };

static const int STOPS[] = {SIGTERM, SIGINT};

static void all_drained(struct server *s)
{
    loop_stop(s->loop);
}

static void one_drained(void *arg)
{
    struct server *s = arg;

    ON_LOOP(s->loop);
    if (--s->draining == 0)
        all_drained(s);
}

static void serve_loop_drained(void *arg)
{
    struct serve_loop *sl = arg;
    struct server *s = (struct server *)((char *)sl->proxy - offsetof(struct server, proxy));

    loop_post(s->loop, one_drained, s);
}

static void drain_serve_loop(void *arg)
{
    struct serve_loop *sl = arg;

    ON_LOOP(sl->loop);
    for (int i = 0; i < sl->proxy->place_count; i++)
        listener_stop(sl->proxy->places[i].listener, sl->loop);
    status_page_end_events(sl->proxy->page, sl->loop);
    http_server_drain(sl->http, serve_loop_drained, sl);
}

static void begin_to_stop(struct server *s, const char *why);

/* Pulls go on without caching meanwhile; systemd starts the service again. */
static void stop_damaged(void *arg)
{
    struct server *s = arg;

    ON_LOOP(s->loop);
    s->damaged = true;
    begin_to_stop(s, "the index is damaged");
}

void server_on_damage(void *arg)
{
    struct server *s = arg;

    loop_post(s->loop, stop_damaged, s);
}

static void on_deadline(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    log_warn("some requests did not end within %d s and are cut off", (int)DRAIN_S);
    all_drained(arg);
}

static void on_stop(evutil_socket_t sig, short what UNUSED, void *arg)
{
    struct server *s = arg;

    if (s->stopping)
        all_drained(s); /* a second signal: at once */
    else
        begin_to_stop(s, strsignal((int)sig));
}

static void begin_to_stop(struct server *s, const char *why)
{
    if (s->stopping) /* damage may be found meanwhile, too */
        return;
    s->stopping = true;
    log_info("%s: draining", why);
    sd_notify(0, "STOPPING=1");
    atomic_store(&s->proxy.ready, false);
    /* A restart makes clients wait; a stop refuses them at once, so that engines with mirrors go on without us. The
     * loops still have their sockets. */
    if (!s->damaged && !keep_has_heir())
        listeners_give_up(&s->proxy);
    s->draining = s->proxy.serve_loop_count;
    for (int i = 0; i < s->proxy.serve_loop_count; i++)
        loop_post(s->proxy.serve_loops[i].loop, drain_serve_loop, &s->proxy.serve_loops[i]);
    event_add(s->deadline, &(struct timeval){.tv_sec = DRAIN_S});
}

static void on_reload(evutil_socket_t sig UNUSED, short what UNUSED, void *arg)
{
    reload_now(arg);
}

/* What hangs there (a disk, a file system on the network) holds up clients, and ends nothing: the log tells. Long
 * admin requests and helper programs may take their time. */
static void look_at_pools(const struct proxy *p)
{
    struct pool *const pools[] = {p->pool, p->read_pool, p->admin_pool};

    for (size_t i = 0; i < ARRAY_LEN(pools); i++)
        pool_look(pools[i], SLOW_TASK_MS);
}

static void on_dump(evutil_socket_t sig UNUSED, short what UNUSED, void *arg)
{
    dump_log(arg);
}

static void on_look(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct server *s = arg;

    reload_look(s);
    certificates_note(&s->proxy);
    look_at_pools(&s->proxy);
}

static void on_flush(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct server *s = arg;

    log_report_suppressed(false);
    limits_give_back_memory();
    sites_sweep(s->proxy.sites);
    cache_flush_touches(s->proxy.cache, NULL, NULL, NULL);
}

void server_add_events(struct server *s)
{
    struct event_base *base = loop_base(s->loop);
    int n = 0;

    ON_LOOP(s->loop);
    for (size_t i = 0; i < ARRAY_LEN(STOPS); i++) /* the first of them: server_take_no_stops() */
        s->signals[n++] = evsignal_new(base, STOPS[i], on_stop, s);
    s->signals[n++] = evsignal_new(base, SIGHUP, on_reload, s);
    s->signals[n++] = evsignal_new(base, SIGUSR1, on_dump, s);
    for (int i = 0; i < n; i++)
        event_add(s->signals[i], NULL);
    s->deadline = event_new(base, -1, 0, on_deadline, s);
    s->flush = event_new(base, -1, EV_PERSIST, on_flush, s);
    event_add(s->flush, &(struct timeval){.tv_sec = FLUSH_S});
    s->look = event_new(base, -1, EV_PERSIST, on_look, s);
    event_add(s->look, &(struct timeval){.tv_sec = LOOK_S});
}

static int64_t settling_since_ms;

/* In a signal: it may call what signal-safety(7) lists, and clock_mono_ms() calls clock_gettime(). */
static void end_if_late(int sig)
{
    if (clock_mono_ms() - settling_since_ms < SETTLE_MS)
        return;
    signal(sig, SIG_DFL);
    raise(sig);
}

/* What remains takes a moment, or hangs: after that, another signal ends the process at once, as it does by default. */
void server_take_no_stops(struct server *s)
{
    const struct sigaction late = {.sa_handler = end_if_late};

    settling_since_ms = clock_mono_ms();
    for (size_t i = 0; i < ARRAY_LEN(STOPS); i++) {
        event_del(s->signals[i]);
        sigaction(STOPS[i], &late, NULL);
    }
}

void server_free_events(struct server *s)
{
    struct event *const others[] = {s->deadline, s->flush, s->look};
    sigset_t stops;

    /* Without these events a signal would end the process as it does by default, in its last moment; there is no other
     * thread by now. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGHUP);
    sigaddset(&stops, SIGUSR1);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i])
            event_free(others[i]);
}
