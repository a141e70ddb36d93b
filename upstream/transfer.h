/* transfer.h - one HTTP request, on libcurl's multi interface driven by libevent.
 *
 *     libevent: socket is ready ──▶ curl_multi_socket_action ──▶ on_head, on_data, on_done
 *     libcurl: watch this socket, wake me in n ms ──▶ events of the loop
 *
 * An engine belongs to one fetch loop; everything here is called, and calls back, on that loop. Connections, DNS
 * answers and TLS sessions are kept and reused inside an engine; HTTP/2 is used where the server supports it. Redirects
 * are followed (at most 5), never from https to http, and Authorization is never sent to another host, port or scheme.
 * Addresses that are not public are for hosts that the configuration names (reach.h). Proxies come from the environment
 * (base/env_proxy.h), for each hop of a redirect; a proxy decides itself what can be reached, and its refusal (407, any
 * failure of a CONNECT) is ERR_UNREACHABLE with its name.
 */
#ifndef ENTREPOT_UPSTREAM_TRANSFER_H
#define ENTREPOT_UPSTREAM_TRANSFER_H

#include "base/digest.h"
#include "base/loop.h"
#include "upstream/challenge.h"

#include <stdatomic.h>

enum {
    TRANSFER_REDIRECTS_MAX = 5,
    TRANSFER_RATE_MIN = 512,          /* bytes a second, a modem's: a slower server keeps a client waiting on purpose */
    TRANSFER_HEADER_BYTES = 64 << 10, /* of an answer, including trailers */
    TRANSFER_TRAILER_BYTES = 63 << 10, /* of a request; libcurl takes 64 KiB */
    TRANSFER_EXPECT_MS = 1000,         /* Go's and curl's clients wait so long */
    TRANSFER_HEADERS_MAX = 100,
    TRANSFER_MESSAGE_MAX = 1023,
    TRANSFER_TRIED_MAX = 1023,
    TRANSFER_IDS_MAX = 191,
    TRANSFER_PEER_MAX = 319,
    TRANSFER_PROOF_MAX = 159,
    TRANSFER_SOURCE_MAX = 399, /* as ERR_SOURCE_MAX */
};

/* The head of the final answer, after redirects. */
struct transfer_response {
    int status;
    int64_t content_length;                       /* bytes; -1 absent */
    bool chunked, two_lengths;                    /* Transfer-Encoding; lengths that differ: it is refused */
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
    bool challenge_too_long;                      /* it was longer than that */
    char *next_page; /* by its Link header (link_header.h); NULL none; the transfer's own, good until on_done returns */
    bool next_page_named;  /* it has rel="next" */
    char oci_filters[128]; /* OCI-Filters-Applied */
    int socket;            /* of a request with connect_only: connected, non-blocking, the callee's to close; -1 none */
    const char *moved_to; /* 200 and 206: the URL at another host that redirects have led to; NULL: none did. Good until
                            * on_head returns; may be signed: never logged */
    char request_ids[TRANSFER_IDS_MAX + 1]; /* what the other side calls this request: "x-request-id: …, cf-ray: …" */
    /* "https://registry/v2/… answered 503 at cdn.example, x-request-id: …": set when the request has ended */
    char source[TRANSFER_SOURCE_MAX + 1];
    int64_t age;                        /* Age: seconds; -1 absent */
    char proof[TRANSFER_PROOF_MAX + 1]; /* Entrepot-Proof, of the same; "" absent */
    char peer[TRANSFER_PEER_MAX + 1];   /* Entrepot-Peer, of another node of the cluster; "" absent */
    bool is_entrepot;                   /* another cache of our kind answers */
    bool fwd_status;                    /* ... that passes on a registry's answer */
    bool was_connected;                 /* the request was sent, even if there is no answer */
    bool asks_for_proxy;                /* Proxy-Authenticate is present: a proxy answers */
    bool multiplexed;                   /* it came over HTTP/2 */
    bool content_encoded;               /* some Content-Encoding other than identity */
    /* of a verbatim request: the head's lines, "Name: value", NULL-terminated, and, for on_done, the trailers; good
     * until on_done returns */
    const char *const *lines, *const *trailers;
    /* set by registry.h only, if the request failed; else "" */
    char message[TRANSFER_MESSAGE_MAX + 1]; /* the registry's message */
    char code[32];                          /* and code: "NAME_UNKNOWN" */
    char tried[TRANSFER_TRIED_MAX + 1];     /* what went wrong at each of several endpoints */
};

/* A client's request that is passed on as it is. Only its `headers` are sent, beside Host, if they have none, and what
 * frames the body, which they must not have; ranges, authorization, body, decode and unshared have no effect. No
 * redirect is followed, nothing is decoded. It is not sent again once it may have been acted upon, unless its method
 * says that this makes no difference. */
enum { TRANSFER_WAIT = -1 };
struct transfer_verbatim {
    bool has_body;
    bool expects;  /* the body begins when the server says 100 Continue, or nothing for TRANSFER_EXPECT_MS */
    int64_t size;  /* bytes of it; -1: it is sent in chunks */
    size_t buffer; /* bytes of it to be sent at a time; 16 KiB at least */
    /* Fills `out` with at most `cap` bytes of the body: how many, 0 behind the last one, or TRANSFER_WAIT: there are
     * none now, transfer_send_more() says when there are. After an answer of 300 or more it may not be called again. */
    long (*on_send)(void *arg, char *out, size_t cap);
    /* NULL, or called behind the last byte of a body in chunks, once: its trailers, as headers, which are copied, or
     * NULL. More than TRANSFER_TRAILER_BYTES of them fail. */
    const char *const *(*on_trailers)(void *arg);
    /* NULL, or called for each interim answer but 101, with its lines; not after on_head. */
    void (*on_interim)(void *arg, int status, const char *const *lines);
};

struct transfer_request {
    const char *method; /* GET, HEAD, POST; of a verbatim request any */
    const char *url;
    const char *const *headers; /* NULL-terminated "Name: value" lines, or NULL; copied */
    const char *authorization;  /* value of Authorization, or NULL; copied */
    const char *body;           /* of a POST; copied */
    size_t body_len;
    int64_t range_first, range_last; /* bytes, inclusive; first -1: whole; last -1: to the end */
    int64_t range_suffix;            /* first -1: the last so many bytes; 0: whole */
    const char *ranges;              /* in place of these: "bytes=0-1,5-9"; NULL: none; copied */
    const char *if_range;
    bool decode; /* decode a Content-Encoding that was not requested: for text, whose digest is checked after that */
    /* Over HTTP/1.1, on a connection of its own: streams of one HTTP/2 connection share its rate, and for a paused one
     * libcurl buffers up to its window, 32 MiB. */
    bool unshared;
    bool bulk;                 /* much may come: it is read in larger steps, for 128 KiB of memory */
    const struct trust *trust; /* trust.h, or NULL; borrowed for the transfer's life */
    /* origins and hosts that may see the client certificate (trust.h); borrowed for the transfer's life */
    const char *const *shown_to;
    /* Connects alone, to the URL's host and port, through a proxy by CONNECT: nothing is sent, not even for TLS. */
    bool connect_only;
    bool anywhere; /* at any address: for a client of this machine, which could go there itself */
    const struct transfer_verbatim *verbatim; /* NULL: it is no such request; copied */
    bool internal; /* to a machine of our own: at any address, through no proxy, and no redirect is followed */
    bool isolated; /* shares no connection and no TLS session with others, follows no redirect */
    bool insecure; /* plain http allowed, certificates not verified */
    /* hosts that may be at addresses that are not public (reach.h); borrowed for the transfer's life */
    const char *const *named;
    /* 0: none. A body stalls when it is slower than TRANSFER_RATE_MIN for so long. */
    int64_t connect_timeout_ms, stall_timeout_ms, total_timeout_ms;
    /* Incremented while anything of the transfer, possibly cancelled, still uses what is borrowed; NULL: what is
     * borrowed outlives it. */
    atomic_int *users;
    /* Once, for the final answer, before its body; false cancels the transfer. */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    /* Once, unless cancelled. err is NULL when the exchange was complete, whatever the status; else ERR_UNREACHABLE,
     * ERR_TIMEOUT, ERR_UPSTREAM (cut short, redirect loop, not HTTP) or ERR_CANCELLED (a callback returned false). */
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

struct transfer_engine;
struct transfer;

/* Before the loop starts. Errors: ERR_IO. */
struct transfer_engine *transfer_engine_new(struct loop *loop, struct err *err);
/* After the loop has ended: transfers under way fail with ERR_CANCELLED, so that their owners are told. */
void transfer_engine_end(struct transfer_engine *e);
/* After that; transfers started since are dropped without callbacks. */
void transfer_engine_free(struct transfer_engine *e);

struct transfer *transfer_start(struct transfer_engine *e, const struct transfer_request *req);
/* Ends it without further callbacks; also from inside its callbacks. */
void transfer_cancel(struct transfer *t);
/* Pauses reading the body (from on_head: before its first byte), or resumes; the stall timeout does not run meanwhile.
 */
void transfer_pause(struct transfer *t, bool pause);
/* There is more of the body to send, or its end. */
void transfer_send_more(struct transfer *t);
/* Body bytes so far. */
int64_t transfer_received(const struct transfer *t);

#endif
