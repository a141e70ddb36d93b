#include "proxy/page/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <event2/event.h>
#include <string.h>
#include <sys/queue.h>

enum {
    TICK_S = 1,
    IMAGES_FRESH_MS = 10000, /* the list of images */
    UNREAD_MAX = 512 << 10,  /* bytes that a page has not read: it gets no event more */
};

/* A request for the figures that waits for them. */
struct page_wait {
    STAILQ_ENTRY(page_wait) entry;
    struct loop *loop;
    struct http_request *req; /* the loop's; NULL: its client is gone */
};

STAILQ_HEAD(page_waits, page_wait);

/* A page that listens, of one loop. */
struct page_listener {
    TAILQ_ENTRY(page_listener) entry;
    struct status_page *page;
    struct http_request *req;
    bool is_behind; /* what it has is not what changes are told against: it is told all */
};

struct page_loop {
    struct status_page *page;
    struct loop *loop;
    bool over; /* no page may listen any more */
    TAILQ_HEAD(, page_listener) listeners;
};

struct status_page {
    /* set once */
    struct page_view view;
    struct loop *loop; /* main */
    struct event *tick;
    char *policy;
    struct page_loop loops[PAGE_LOOPS_MAX]; /* each is its loop's */
    int loop_count;
    /* a worker's, one at a time */
    json_t *images;
    int private_images;
    int64_t images_ms; /* monotonic */
    json_t *told;      /* what the listeners were told last */
    /* any thread */
    atomic_int listener_count;
    atomic_bool all_wanted; /* some listener is behind */
    /* shared, under lock */
    pthread_mutex_t lock;
    struct history history;
    struct page_waits waits;
    int wait_count;
    bool making; /* a worker makes the text */
    bool tell;   /* and tells the listeners */
};

/* ---- the text, on a worker ---- */

static struct body *text_of(json_t *j, const char *before, const char *behind)
{
    char *text = json_dumps(j, JSON_COMPACT);
    size_t head = strlen(before), len = strlen(text), tail = strlen(behind);
    struct body *b = body_new(head + len + tail);

    memcpy(b->data, before, head);
    memcpy(b->data + head, text, len);
    memcpy(b->data + head + len, behind, tail);
    free(text);
    return b;
}

static void page_look_at_images(struct status_page *p)
{
    if (p->images && clock_mono_ms() - p->images_ms < IMAGES_FRESH_MS)
        return;
    json_decref(p->images);
    p->images = figures_images(&p->view, &p->private_images);
    p->images_ms = clock_mono_ms();
}

/* A text on its way to one client, or to the listeners of one loop. */
struct page_delivery {
    struct page_loop *to;   /* or */
    struct page_wait *wait; /* one of the two */
    struct body *text;      /* to listeners: what has changed */
    struct body *all;       /* to those that are behind; NULL: not made */
};

static void delivery_free(struct page_delivery *d)
{
    body_unref(d->text);
    if (d->all)
        body_unref(d->all);
    free(d);
}

static void page_answer_wait(void *arg)
{
    struct page_delivery *d = arg;
    struct http_request *req = d->wait->req;

    ON_LOOP(d->wait->loop);
    if (req) {
        http_on_gone(req, NULL, NULL);
        http_reply_header(req, "Cache-Control", "no-store");
        http_reply(req, 200, "application/json", d->text->data, d->text->len);
    }
    free(d->wait);
    delivery_free(d);
}

/* Who cannot take more now has missed something; all is made for it when it can again. */
static void page_tell(struct page_listener *l, const struct page_delivery *d)
{
    const struct body *text = l->is_behind ? d->all : d->text;
    bool has_room = http_stream_waiting(l->req) < UNREAD_MAX;

    l->is_behind = !has_room || !text;
    if (has_room && !text)
        atomic_store(&l->page->all_wanted, true);
    if (!l->is_behind)
        http_stream_data(l->req, text->data, text->len); /* which may find that its client is gone */
}

static void page_tell_loop(void *arg)
{
    struct page_delivery *d = arg;
    struct page_listener *l, *next;

    ON_LOOP(d->to->loop);
    for (l = TAILQ_FIRST(&d->to->listeners); l; l = next) {
        next = TAILQ_NEXT(l, entry);
        page_tell(l, d);
    }
    delivery_free(d);
}

static void page_post(struct page_loop *to, struct page_wait *wait, struct body *text, struct body *all)
{
    struct page_delivery *d = xmalloc(sizeof(*d));

    *d = (struct page_delivery){to, wait, body_ref(text), all ? body_ref(all) : NULL};
    loop_post(wait ? wait->loop : to->loop, wait ? page_answer_wait : page_tell_loop, d);
}

static json_t *page_figures(struct status_page *p)
{
    struct history h;

    pthread_mutex_lock(&p->lock);
    h = p->history;
    pthread_mutex_unlock(&p->lock);
    return figures_json(&p->view, &h);
}

static void page_answer_waits(struct status_page *p, struct page_waits *waits)
{
    json_t *j = page_figures(p);

    page_look_at_images(p);
    json_object_set(j, "images", p->images);
    json_object_set_new(j, "private_images", json_integer(p->private_images));
    struct body *text = text_of(j, "", "\n");
    json_decref(j);
    while (!STAILQ_EMPTY(waits)) {
        struct page_wait *w = STAILQ_FIRST(waits);
        STAILQ_REMOVE_HEAD(waits, entry);
        page_post(NULL, w, text, NULL);
    }
    body_unref(text);
}

/* The members of `now` that are not as they were `before`: a new reference. Each is replaced as a whole. */
static json_t *page_changes(const json_t *before, json_t *now)
{
    json_t *changes = json_object(), *value;
    const char *key;

    json_object_foreach(now, key, value)
        if (!before || !json_equal(json_object_get(before, key), value))
            json_object_set(changes, key, value);
    return changes;
}

static void page_tell_listeners(struct status_page *p)
{
    bool is_all_wanted = atomic_exchange(&p->all_wanted, false);
    json_t *j = page_figures(p), *changes = page_changes(p->told, j);
    struct body *text = text_of(changes, "data: ", "\n\n"), *all = is_all_wanted ? text_of(j, "data: ", "\n\n") : NULL;

    json_decref(changes);
    json_decref(p->told);
    p->told = j;
    for (int i = 0; i < p->loop_count; i++)
        page_post(&p->loops[i], NULL, text, all);
    body_unref(text);
    if (all)
        body_unref(all);
}

/* For all who wait by now; those who come meanwhile are answered in a round of their own. */
static void page_make(void *arg)
{
    struct status_page *p = arg;
    struct page_waits waits = STAILQ_HEAD_INITIALIZER(waits);

    OFF_LOOPS;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        STAILQ_CONCAT(&waits, &p->waits);
        p->wait_count = 0;
        bool tell = p->tell;
        p->tell = false;
        p->making = !STAILQ_EMPTY(&waits) || tell;
        bool more = p->making;
        pthread_mutex_unlock(&p->lock);
        if (!more)
            return;
        if (!STAILQ_EMPTY(&waits))
            page_answer_waits(p, &waits);
        if (tell)
            page_tell_listeners(p);
    }
}

/* With the lock held: whether a worker has to be called. */
static bool page_begin_making(struct status_page *p)
{
    bool begin = !p->making;

    HOLDS(&p->lock);
    p->making = true;
    return begin;
}

/* ---- requests, on serve loops ---- */

static bool page_takes(struct http_request *req)
{
    if (http_method(req) == HTTP_METHOD_GET || http_method(req) == HTTP_METHOD_HEAD)
        return true;
    http_reply_header(req, "Allow", "GET, HEAD");
    http_error(req, 405, "UNSUPPORTED", "only GET and HEAD are supported here");
    return false;
}

void status_page_answer(struct status_page *p, struct http_request *req)
{
    if (!page_takes(req))
        return;
    http_reply_header(req, "Content-Security-Policy", "%s", p->policy);
    http_reply_header(req, "X-Content-Type-Options", "nosniff");
    http_reply_header(req, "Referrer-Policy", "no-referrer");
    http_reply_header(req, "Cache-Control", "no-cache");
    http_reply(req, 200, "text/html; charset=utf-8", page_html, (size_t)(page_html_end - page_html));
}

static void page_client_gone(void *arg)
{
    ((struct page_wait *)arg)->req = NULL;
}

static void page_refuse(struct http_request *req, const char *what)
{
    http_reply_header(req, "Retry-After", "5");
    http_error(req, 503, "TOOMANYREQUESTS", "%s", what);
}

void status_page_answer_json(struct status_page *p, struct http_request *req)
{
    if (!page_takes(req))
        return;
    struct page_wait *w = xcalloc(1, sizeof(*w));
    w->loop = http_loop(req);
    w->req = req;
    pthread_mutex_lock(&p->lock);
    bool taken = p->wait_count < PAGE_WAITS_MAX, begin = false;
    if (taken) {
        STAILQ_INSERT_TAIL(&p->waits, w, entry);
        p->wait_count++;
        http_on_gone(req, page_client_gone, w); /* before a worker can answer it: that is posted to this loop */
        begin = page_begin_making(p);
    }
    pthread_mutex_unlock(&p->lock);
    if (begin)
        pool_run(p->view.admin->admin_pool, page_make, p);
    if (taken)
        return;
    free(w);
    page_refuse(req, "too many requests for the figures wait already");
}

static void listener_remove(struct page_listener *l, struct page_loop *of)
{
    TAILQ_REMOVE(&of->listeners, l, entry);
    atomic_fetch_sub(&l->page->listener_count, 1);
    free(l);
}

static struct page_loop *page_loop_of(struct status_page *p, const struct loop *loop)
{
    for (int i = 0; i < p->loop_count; i++)
        if (p->loops[i].loop == loop)
            return &p->loops[i];
    return NULL;
}

static void listener_gone(void *arg)
{
    struct page_listener *l = arg;

    listener_remove(l, page_loop_of(l->page, http_loop(l->req)));
}

static void listener_can_take(void *arg UNUSED)
{
    /* It gets something each second. */
}

void status_page_answer_events(struct status_page *p, struct http_request *req)
{
    static const char first[] = "retry: 3000\n\n";
    struct page_loop *of = page_loop_of(p, http_loop(req));

    if (!page_takes(req))
        return;
    http_reply_header(req, "Cache-Control", "no-store");
    if (http_method(req) == HTTP_METHOD_HEAD) {
        http_reply_head(req, 200, "text/event-stream", -1);
        return;
    }
    if (of->over || atomic_fetch_add(&p->listener_count, 1) >= PAGE_EVENTS_MAX) {
        if (!of->over)
            atomic_fetch_sub(&p->listener_count, 1);
        page_refuse(req, "too many status pages are open already");
        return;
    }
    struct page_listener *l = xcalloc(1, sizeof(*l));
    *l = (struct page_listener){.page = p, .req = req, .is_behind = true};
    TAILQ_INSERT_TAIL(&of->listeners, l, entry);
    http_on_gone(req, listener_gone, l);
    http_stream(req, 200, "text/event-stream", -1, listener_can_take, l);
    http_stream_data(req, first, sizeof(first) - 1);
    atomic_store(&p->all_wanted, true);
}

void status_page_end_events_of(struct status_page *p, struct loop *loop, const void *listener)
{
    struct page_loop *of = page_loop_of(p, loop);
    struct page_listener *l, *next;

    ON_LOOP(loop);
    for (l = TAILQ_FIRST(&of->listeners); l; l = next) {
        struct http_request *req = l->req;
        next = TAILQ_NEXT(l, entry);
        if (listener && http_listener(req) != listener)
            continue;
        http_on_gone(req, NULL, NULL);
        listener_remove(l, of);
        http_stream_end(req, NULL, NULL);
    }
}

void status_page_end_events(struct status_page *p, struct loop *loop)
{
    page_loop_of(p, loop)->over = true;
    status_page_end_events_of(p, loop, NULL);
}

int status_page_listeners(const struct status_page *p)
{
    return atomic_load(&p->listener_count);
}

/* ---- the clock, on the main loop ---- */

static void page_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct status_page *p = arg;
    struct history_sums sums;
    bool begin = false;

    ON_LOOP(p->loop);
    figures_sums(&p->view, &sums);
    pthread_mutex_lock(&p->lock);
    history_note(&p->history, clock_mono_ms() / 1000, &sums);
    if (atomic_load(&p->listener_count) > 0) {
        p->tell = true;
        begin = page_begin_making(p);
    }
    pthread_mutex_unlock(&p->lock);
    if (begin)
        pool_run(p->view.admin->admin_pool, page_make, p);
}

/* ---- its life ---- */

struct status_page *status_page_new(const struct page_view *view, struct loop *loop)
{
    struct status_page *p = xcalloc(1, sizeof(*p));
    struct history_sums sums;

    p->view = *view;
    p->loop = loop;
    p->policy = page_policy();
    STAILQ_INIT(&p->waits);
    pthread_mutex_init(&p->lock, NULL);
    figures_sums(view, &sums);
    history_begin(&p->history, clock_mono_ms() / 1000, &sums);
    p->tick = event_new(loop_base(loop), -1, EV_PERSIST, page_tick, p);
    event_add(p->tick, &(struct timeval){.tv_sec = TICK_S});
    return p;
}

void status_page_add_loop(struct status_page *p, struct loop *loop)
{
    struct page_loop *l = &p->loops[p->loop_count++];

    IN_STATE(p->loop_count <= PAGE_LOOPS_MAX);
    *l = (struct page_loop){p, loop, false, TAILQ_HEAD_INITIALIZER(l->listeners)};
}

void status_page_stop(struct status_page *p)
{
    if (p && p->tick)
        event_free(p->tick);
    if (p)
        p->tick = NULL;
}

void status_page_free(struct status_page *p)
{
    if (!p)
        return;
    status_page_stop(p);
    json_decref(p->images);
    json_decref(p->told);
    pthread_mutex_destroy(&p->lock);
    free(p->policy);
    free(p);
}
