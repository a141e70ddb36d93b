/* pass.h - requests that are passed on to the real registry: everything but pulls, in connections that were opened.
 *
 *     client ─ http_body_stream ─▶ a piece ─ on_send ─▶ the registry    not taken: the client is not read from
 *     client ◀─ http_stream_data ─────────── on_data ─ the registry     the client takes no more: nor is that read from
 *
 * The client's headers, trailers and login go to the registry, and its answer comes back as they are, interim answers
 * and trailers too, but for what is for one connection alone, and what is no trailer (hop.h). A client that waits for
 * 100 Continue gets it when the registry gives it, or says nothing for a second. Nothing is stored and nothing retried.
 * Of a body one piece waits here, and one in libcurl. A client that leaves
 * cancels its request to the registry. Before the answer's head a failure is a 502 or 504 that names the cause
 * (but see ping.h); after it the connection is cut.
 *
 * What was pushed is told to the cache (pushed.h) before the client gets its answer, which waits for PASS_NOTE_MS at
 * most: passing on must not fail because the cache does.
 *
 * A passer belongs to one serve loop.
 */
#ifndef ENTREPOT_PROXY_INTERCEPT_PASS_H
#define ENTREPOT_PROXY_INTERCEPT_PASS_H

#include "proxy/fetch/fetch.h"
#include "proxy/http/http.h"

enum {
    PASS_OUT_MAX = 128 << 10, /* bytes of an answer that the client has not taken */
    PASS_IDLE_MS = 600000,    /* without a byte either way: a registry may take minutes to commit an upload */
    PASS_NOTE_MS = 2000,
    PASS_BODY_LEAST = 16 << 10, /* bytes of a body: a piece of http's */
    PASS_BODY_MAX = 64 << 10,
    PASS_BODIES_MAX = 2 << 20, /* of all bodies of a loop */
};

struct passer;

struct passer_options {
    struct loop *loop; /* a serve loop; borrowed, as all others */
    struct cache *cache;
    struct fetchers *fetchers; /* NULL: the cache is told nothing, and none is needed */
    int64_t idle_ms;           /* 0: PASS_IDLE_MS */
};

/* Before the loop starts. Errors: ERR_IO. */
struct passer *passer_new(const struct passer_options *o, struct err *err);
/* Answers what is under way with an error. On the loop, or after it has ended. */
void passer_end(struct passer *p);
/* After that, and after the loop has been settled. */
void passer_free(struct passer *p);

/* Whether a request in an opened connection is a pull, to be answered by the cache. HEAD of a blob is none: pushing
 * clients send it to learn what they need not upload, and only the registry knows what it has in that repository. */
bool pass_is_pull(const struct http_request *req);
/* Whether the registry might take a request for a pull that pass_is_pull() does not see, or that cannot be parsed. */
bool pass_may_be_pull(const struct http_request *req);
/* Whether the body of a request is taken piece by piece: for http_server_set_streams(). */
bool pass_wants_stream(void *arg, struct http_request *req);
/* Passes the request on to `host` (http_opened_host()), a host of the site's registry. The site is held until the
 * request is complete. On the loop. */
void pass_through(struct passer *p, struct http_request *req, const char *host, const struct site *site);
/* How many there are at present. Any thread. */
int passer_under_way(const struct passer *p);

/* ---- figures ---- */

enum pass_method { PASS_GET, PASS_HEAD, PASS_POST, PASS_PUT, PASS_PATCH, PASS_DELETE, PASS_OTHER, PASS_METHODS };
/* "GET", …, "other" */
const char *pass_method_name(enum pass_method m);
enum pass_method pass_method_of(const struct http_request *req);
/* Requests passed on, by the site's group (sites.h) and method. Any thread. */
uint64_t passer_count(const struct passer *p, int group, enum pass_method m);
/* Requests that came in opened connections, pulls included; noted on the loop. The figure: any thread. */
void passer_note_intercepted(struct passer *p, const struct site *site);
uint64_t passer_intercepted(const struct passer *p, int group);

#endif
