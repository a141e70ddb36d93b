/* transfer.h - one HTTP request to somewhere else, on libcurl's multi interface driven by libevent.
 *
 *     libevent: socket is ready ──▶ curl_multi_socket_action ──▶ on_head, on_data, on_done
 *     libcurl: watch this socket, wake me in n ms ──▶ events of the loop
 *
 * An engine belongs to one fetch loop; everything here is called, and calls back, on that loop. Connections, DNS
 * answers and TLS sessions are kept and reused inside an engine; HTTP/2 is used where the other side has it. Redirects
 * are followed (at most 5), never from https to http, and Authorization is never carried to another host, port or
 * scheme. Addresses that are not public are for hosts that the configuration names (reach.h). Proxies come from the
 * environment (proxy.h), for each hop of a redirect; where there is one, it decides what can be reached, and its own
 * refusal (407, any of a CONNECT) is ERR_UNREACHABLE with its name.
 */
#ifndef ENTREPOT_UPSTREAM_TRANSFER_H
#define ENTREPOT_UPSTREAM_TRANSFER_H

#include "base/digest.h"
#include "base/loop.h"
#include "upstream/challenge.h"

#include <stdatomic.h>

enum {
    TRANSFER_REDIRECTS_MAX = 5,
    TRANSFER_RATE_MIN = 512,          /* bytes a second: a modem's; who brings less keeps a client waiting on purpose */
    TRANSFER_HEADER_BYTES = 64 << 10, /* of an answer, with its trailers, which are dropped */
    TRANSFER_HEADERS_MAX = 100,
    TRANSFER_SAID_MAX = 1023,
    TRANSFER_TRIED_MAX = 1023,
};

/* What the final answer (after redirects) said. */
struct transfer_response {
    int status;
    int64_t content_length;                       /* bytes; -1 not said */
    int64_t range_first, range_last, range_total; /* Content-Range; -1 absent or malformed */
    char content_type[128];                       /* lower case, without parameters */
    char etag[256];
    struct digest digest;                         /* Docker-Content-Digest; DIGEST_NONE if absent or malformed */
    int retry_after;                              /* seconds; 0 absent */
    int64_t date, retry_at;                       /* Date, and Retry-After that is one: seconds since 1970; 0 absent */
    int64_t ratelimit_limit, ratelimit_remaining; /* -1 absent */
    int64_t ratelimit_window;                     /* seconds; -1 absent */
    char ratelimit_source[64];                    /* Docker-Ratelimit-Source; "" absent */
    char challenge[CHALLENGE_MAX];                /* WWW-Authenticate, several joined by commas; "" absent */
    bool challenge_too_long;                      /* ... or there was none that this has room for */
    char *link;            /* the next page (link.h); NULL none; the transfer's own, good until on_done returns */
    bool link_named;       /* ... it is said to be that */
    char oci_filters[128]; /* OCI-Filters-Applied */
    bool is_entrepot;      /* another cache of our kind answers */
    bool fwd_status;       /* ... with what a registry has answered it */
    bool was_connected;    /* the request was sent, if not answered */
    bool asks_for_proxy;   /* Proxy-Authenticate is there: a proxy answers */
    bool multiplexed;      /* it came over HTTP/2 */
    bool content_encoded;  /* some Content-Encoding other than identity */
    /* from registry.h alone, of a request that failed; "" else */
    char said[TRANSFER_SAID_MAX + 1];   /* the registry's own text about it */
    char code[32];                      /* and its code for it: "NAME_UNKNOWN" */
    char tried[TRANSFER_TRIED_MAX + 1]; /* of several endpoints, what went wrong with each */
};

struct transfer_request {
    const char *method; /* GET, HEAD, POST */
    const char *url;
    const char *const *headers; /* NULL-terminated "Name: value" lines, or NULL; copied */
    const char *authorization;  /* value of Authorization, or NULL; copied */
    const char *body;           /* of a POST; copied */
    size_t body_len;
    int64_t range_first, range_last; /* bytes, inclusive; first -1: whole; last -1: to the end */
    const char *if_range;
    bool decode; /* take a Content-Encoding off that was not asked for: for text, whose bytes are checked after that */
    /* Over HTTP/1.1: of a stream of HTTP/2 that is paused libcurl holds up to its window, 32 MiB. */
    bool unshared;
    const struct trust *trust;   /* trust.h, or NULL; borrowed for the transfer's life */
    const char *const *shown_to; /* who may see its client certificate (trust.h); borrowed for the transfer's life */
    bool isolated;               /* shares no connection and no TLS session with others, follows no redirect */
    bool insecure;               /* plain http allowed, certificates not verified */
    const char *const
        *named; /* hosts that may be at addresses that are not public (reach.h); borrowed for the transfer's life */
    /* 0: none. A body stalls when it brings less than TRANSFER_RATE_MIN for so long. */
    int64_t connect_timeout_ms, stall_timeout_ms, total_timeout_ms;
    /* Counted up while there is something of the transfer left that looks at what is borrowed, which a cancelled one
     * does for a while; NULL: what is borrowed stays. */
    atomic_int *users;
    /* Once, for the final answer, before its body; false gives the transfer up. */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    /* Once, unless cancelled. err is NULL when the exchange was complete, whatever the status; else ERR_UNREACHABLE,
     * ERR_TIMEOUT, ERR_UPSTREAM (cut short, redirect loop, not HTTP) or ERR_CANCELLED (a callback said false). */
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

struct transfer_engine;
struct transfer;

/* Before the loop starts. Errors: ERR_IO. */
struct transfer_engine *transfer_engine_new(struct loop *loop, struct err *err);
/* After the loop has ended: what is still under way fails with ERR_CANCELLED, so that who waits for it hears of it. */
void transfer_engine_end(struct transfer_engine *e);
/* After that; what was begun since is dropped without a word. */
void transfer_engine_free(struct transfer_engine *e);

struct transfer *transfer_start(struct transfer_engine *e, const struct transfer_request *req);
/* Ends it without further callbacks; also from inside its callbacks. */
void transfer_cancel(struct transfer *t);
/* Stops reading the body (from on_head: before its first byte), or goes on; the stall timeout does not run then. */
void transfer_pause(struct transfer *t, bool pause);
/* Body bytes so far. */
int64_t transfer_received(const struct transfer *t);

#endif
