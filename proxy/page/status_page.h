/* status_page.h - the status page: `/`, `/status.json` and `/events` (server-sent events, WHATWG HTML §9.2).
 *
 *     serve loops ── GET /status.json ─▶ waits ┐
 *                                              ├─▶ one admin worker makes the text ─▶ posted to each loop that waits
 *     main, each second, while pages are open ─┘
 *
 * The text is made once for all who ask at the same time, its list of images once in ten seconds. An event has the
 * members that have changed since the last one; the first one that a page gets has all but the images. Nothing
 * on it is secret from who may send requests to its listener: private repositories are counted, not named, and of
 * registries there is no identity. Bounded: PAGE_EVENTS_MAX pages that listen, PAGE_WAITS_MAX requests that wait, and a
 * page that does not read gets no further events, and all once it reads again.
 */
#ifndef ENTREPOT_PROXY_PAGE_STATUS_PAGE_H
#define ENTREPOT_PROXY_PAGE_STATUS_PAGE_H

#include "proxy/admin/admin.h"
#include "proxy/http/http.h"
#include "proxy/seen/pulls.h"

struct status_page;

enum {
    PAGE_EVENTS_MAX = 32,
    PAGE_WAITS_MAX = 64,
    PAGE_IMAGES_MAX = 5000,
    PAGE_RECENT = 50,
    PAGE_PEERS_MAX = 256,
    PAGE_LOOPS_MAX = 8
};

/* What the page shows; borrowed. */
struct page_view {
    struct admin *admin;
    struct pulls *pulls;
};

/* On the main loop, whose clock it uses. Before the serve loops start. */
struct status_page *status_page_new(const struct page_view *view, struct loop *main);
/* One more serve loop. */
void status_page_add_loop(struct status_page *p, struct loop *loop);
/* Begins nothing more: the clock ends. On the main loop's thread. */
void status_page_stop(struct status_page *p);
/* After the serve loops and workers have ended. */
void status_page_free(struct status_page *p);

/* Answer a request, on its loop: the page itself, the figures, and their changes. */
void status_page_answer(struct status_page *p, struct http_request *req);
void status_page_answer_json(struct status_page *p, struct http_request *req);
void status_page_answer_events(struct status_page *p, struct http_request *req);
/* Ends the events that go to clients of this loop, on it: it drains. */
void status_page_end_events(struct status_page *p, struct loop *loop);
/* The same for clients of one listener, which is closed. */
void status_page_end_events_of(struct status_page *p, struct loop *loop, const void *listener);
/* How many pages listen. Any thread. */
int status_page_listeners(const struct status_page *p);

#endif
