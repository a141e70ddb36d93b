/* access.h - may this client read this repository? Asked before a handler looks at anything (grant.h says what the
 * rules are).
 *
 *   enter ─┬ the repository is for everybody ─▶ serve ─ upstream refuses the cache ─┐
 *          ├ private, and the client has a grant ─▶ serve                           │ (if the client has an identity)
 *          └ private, no grant ─▶ ask upstream about the client ◀───────────────────┘
 *                                   ├ 200 ─▶ grant ─▶ serve
 *                                   └ else: the refusal, with upstream's challenge, is the client's
 *
 * On the serve loop of the request.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_ACCESS_H
#define ENTREPOT_PROXY_REGISTRY_ACCESS_H

#include "proxy/registry/note.h"
#include "proxy/registry/registry.h"
#include "proxy/registry/route.h"

/* A request on its way through its handler. Owned by whoever serves it: visitor_free() at the end. */
struct visitor {
    struct registry *registry;
    struct loop *loop;
    struct http_request *req; /* NULL: the client is gone */
    struct route route;
    enum note_kind kind;
    struct client *client;
    struct fetch_waiter *wait; /* what is being fetched for him; NULL: nothing */
    bool is_private; /* let in by a grant: what is fetched for him is fetched under his identity, and kept as private */
    bool asked;      /* upstream was asked about him */
    void (*serve)(struct visitor *v);
};

/* Calls `serve`, now or later, if the client may read the route's repository; answers the request if not. */
void access_enter(struct registry *reg, struct http_request *req, const struct route *r, enum note_kind kind,
                  void (*serve)(struct visitor *v));
/* What was fetched under the cache's own identity was refused. True: the visitor is taken over, `serve` may be called
 * again. */
bool access_retry(struct visitor *v, const struct fetch_result *res);
/* The request as the fetch loops want it. */
struct fetch_want visitor_want(const struct visitor *v, enum fetch_kind kind);
/* Fetches it for him; `done` gets the visitor. Should the client go meanwhile, v->req becomes NULL and the fetch is
 * left. */
void visitor_fetch(struct visitor *v, const struct fetch_want *want,
                   void (*done)(void *arg, struct fetch_result *result));
/* The same for a page of the registry's, tags/list or referrers, with the request's query; `ns` is for us. */
void visitor_fetch_page(struct visitor *v, const char *path, void (*done)(void *arg, struct fetch_result *result));
/* In `done`: the request, to be answered. NULL: the client is gone, and so is the visitor now. */
struct http_request *visitor_return(struct visitor *v);
void visitor_free(struct visitor *v);

#endif
