/* The engine of transfers: libcurl's multi interface on a loop, from its start to its end. */
#include "upstream/transfer_private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <event2/event.h>
#include <pthread.h>

enum { CONNECTIONS_KEPT = 32 };

/* ---- curl asks libevent ---- */

/* Cancelled transfers are freed on the next turn of the loop. Not by activating the timer: that would cancel it. */
static void turn_soon(struct transfer_engine *e)
{
    event_active(e->turn, EV_TIMEOUT, 0);
}

static void engine_reap(struct transfer_engine *e)
{
    CURLMsg *msg;
    int left;

    if (e->depth > 0)
        return;
    while (!LIST_EMPTY(&e->buried)) {
        struct transfer *t = LIST_FIRST(&e->buried);
        LIST_REMOVE(t, entry);
        curl_multi_remove_handle(e->multi, t->easy);
        transfer_free(t);
    }
    while ((msg = curl_multi_info_read(e->multi, &left))) {
        struct transfer *t = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        e->depth++; /* callbacks may cancel transfers: those are freed later, not while they are in use */
        transfer_finish(t, code);
        e->depth--;
    }
    if (!LIST_EMPTY(&e->buried))
        turn_soon(e);
}

static void engine_add_begun(struct transfer_engine *e)
{
    struct transfer *t;

    LIST_FOREACH(t, &e->active, entry) {
        if (!t->unadded)
            continue;
        t->unadded = false;
        curl_multi_add_handle(e->multi, t->easy);
    }
}

static void on_turn(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    engine_add_begun(arg);
    engine_reap(arg);
}

static void engine_act(struct transfer_engine *e, curl_socket_t fd, int what)
{
    int running;

    ON_LOOP(e->loop);
    e->depth++;
    curl_multi_socket_action(e->multi, fd, what, &running);
    e->depth--;
    engine_reap(e);
}

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
    engine_act(arg, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

/* libevent counts from the beginning of its turn, with a coarse clock: its timers may fire early. libcurl would then
 * find nothing to do and not set the timer again: the end of the wait for an address would be lost. */
static void on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct transfer_engine *e = arg;
    int64_t left = e->due_us - clock_mono_us();
    const struct timeval rest = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};

    if (left > 0)
        event_add(e->timer, &rest);
    else
        engine_act(e, CURL_SOCKET_TIMEOUT, 0);
}

/* What is to be removed may be closed already, and its number another loop's (connect.c): the kernel answers that it is
 * not in this loop's epoll. */
static int watch_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg, void *known)
{
    struct transfer_engine *e = arg;
    struct event *before = known, *ev = NULL;

    if (what != CURL_POLL_REMOVE) {
        short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
        ev = event_new(loop_base(e->loop), fd, (short)(events | EV_PERSIST), on_socket_event, e);
        event_add(ev, NULL);
    }
    if (before) /* not first: the kernel would be told twice */
        event_free(before);
    curl_multi_assign(e->multi, fd, ev);
    return 0;
}

static int watch_timer(CURLM *multi UNUSED, long ms, void *arg)
{
    struct transfer_engine *e = arg;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    e->due_us = clock_mono_us() + (int64_t)ms * 1000;
    if (ms < 0)
        event_del(e->timer);
    else
        event_add(e->timer, &tv); /* 0 fires on the next turn: curl must not be entered from here */
    return 0;
}

void transfer_cancel(struct transfer *t)
{
    struct transfer_engine *e = t->engine;

    ON_LOOP(e->loop);
    if (t->cancelled)
        return;
    t->cancelled = true;
    if (t->clock_probe)
        transfer_cancel(t->clock_probe);
    LIST_REMOVE(t, entry);
    LIST_INSERT_HEAD(&e->buried, t, entry);
    turn_soon(e);
}

/* ---- its life ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct transfer_engine *transfer_engine_new(struct loop *loop, struct err *err)
{
    struct transfer_engine *e = xcalloc(1, sizeof(*e));

    pthread_once(&curl_once, init_curl);
    e->loop = loop;
    e->act = engine_act;
    LIST_INIT(&e->active);
    LIST_INIT(&e->buried);
    e->timer = event_new(loop_base(loop), -1, 0, on_timer, e);
    e->turn = event_new(loop_base(loop), -1, 0, on_turn, e);
    e->multi = curl_multi_init();
    e->connects = connect_table_new(loop);
    if (!e->timer || !e->turn || !e->multi) {
        err_set(err, ERR_IO, "libcurl could not be started");
        transfer_engine_free(e);
        return NULL;
    }
    curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e);
    curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, watch_timer);
    curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e);
    curl_multi_setopt(e->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    return e;
}

void transfer_engine_end(struct transfer_engine *e)
{
    struct transfer *t;

    ON_LOOP(e->loop);
    e->depth++;
    while ((t = LIST_FIRST(&e->active))) {
        struct err err = {0};
        if (t->clock_probe)
            transfer_cancel(t->clock_probe);
        LIST_REMOVE(t, entry);
        curl_multi_remove_handle(e->multi, t->easy);
        err_set(&err, ERR_CANCELLED, "the cache is being stopped");
        t->on_done(t->arg, &t->response, &err);
        transfer_free(t);
    }
    e->depth--;
}

void transfer_engine_free(struct transfer_engine *e)
{
    if (!e)
        return;
    while (!LIST_EMPTY(&e->active))
        transfer_cancel(LIST_FIRST(&e->active));
    if (e->multi) {
        e->depth = 0;
        engine_reap(e);
        curl_multi_cleanup(e->multi);
    }
    connect_table_free(e->connects);
    if (e->timer)
        event_free(e->timer);
    if (e->turn)
        event_free(e->turn);
    free(e);
}
