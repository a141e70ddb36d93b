/* access.h - may this client read this repository? (For the rules see grant.h.) Handlers of manifests and blobs first
 * answer public content that is cached, without this; all else of a repository goes through access_enter().
 *
 *   enter ─┬ the repository is public       ─▶ serve ─ upstream refuses the cache ─┐
 *          ├ private, and the client has a grant ─▶ serve                           │ (if the client has an identity)
 *          └ private, no grant ─▶ ask upstream about the client ◀───────────────────┘
 *                                   ├ 200 ─▶ grant ─▶ serve
 *                                   └ else: the client gets the refusal, with upstream's challenge
 *
 * On the serve loop of the request.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_ACCESS_H
#define ENTREPOT_PROXY_REGISTRY_ACCESS_H

#include "proxy/registry/note.h"
#include "proxy/registry/registry.h"
#include "proxy/registry/route.h"

/* A request on its way through its handler. Owned by its handler, which frees it with visitor_free(). */
struct visitor {
    struct registry *registry;
    struct loop *loop;
    struct http_request *req; /* NULL: the client is gone */
    struct route route;
    enum note_kind kind;
    struct client *client;
    struct fetch_waiter *wait; /* the fetch it waits for; NULL: none */
    bool by_grant;             /* admitted by a grant: content is fetched with its identity, and stored as private */
    bool asked;                /* upstream was asked about the client */
    void (*serve)(struct visitor *v);
};

/* Calls `serve`, now or later, if the client may read the route's repository; answers the request if not. */
void access_enter(struct registry *reg, struct http_request *req, const struct route *r, enum note_kind kind,
                  void (*serve)(struct visitor *v));
/* Upstream refused the cache's own identity. True: the visitor is taken over, and `serve` may be called again, with the
 * client's identity. */
bool access_retry(struct visitor *v, const struct fetch_result *res);
/* The request in the form for the fetch loops. */
struct fetch_want visitor_want(const struct visitor *v, enum fetch_kind kind);
/* Fetches it; `done` gets the visitor. If the client goes before that, v->req becomes NULL and fetch_leave() is
 * called. */
void visitor_fetch(struct visitor *v, const struct fetch_want *want,
                   void (*done)(void *arg, struct fetch_result *result));
/* The same for a page of the registry's tags/list or referrers, with the request's query but for `ns`, which is for the
 * cache. */
void visitor_fetch_page(struct visitor *v, const char *path, void (*done)(void *arg, struct fetch_result *result));
/* In `done`: the request to be answered. NULL: the client has gone, and the visitor has been freed. */
struct http_request *visitor_return(struct visitor *v);
void visitor_free(struct visitor *v);

#endif
