/* transfer_private.h - shared by the files that make up transfer.h. Each calls those to its left only:
 *
 *     transfer_verbatim.c (a client's own request), transfer_connect.c (where it may connect, and when it reconnects),
 *         transfer_clock.c (certificates and clocks)
 *         ◀ transfer.c (one request from start to end) ◀ transfer_engine.c (libcurl's multi interface on a loop)
 *
 * The other way leads engine->act(). Everything runs on the engine's loop.
 */
#ifndef ENTREPOT_UPSTREAM_TRANSFER_PRIVATE_H
#define ENTREPOT_UPSTREAM_TRANSFER_PRIVATE_H

#include "upstream/connect.h"
#include "upstream/transfer.h"

#include <curl/curl.h>
#include <sys/queue.h>

struct transfer {
    struct transfer_engine *engine;
    LIST_ENTRY(transfer) entry;
    CURL *easy;
    struct curl_slist *headers, *proxy_headers;
    char *url, *body;
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
    struct transfer_response response;
    size_t header_bytes;
    int header_count, answers;
    bool in_trailer; /* the head of the current answer has ended */
    int64_t received;
    bool head_passed; /* on_head has been called */
    bool refused;     /* a callback returned false */
    bool flooded;     /* headers exceed the limits */
    bool forbidden;   /* it led to an address that is not public */
    bool circular;    /* it led to ourselves */
    int by_proxy;     /* status of a proxy's own refusal; 0: none */
    const char *const *named, *const *shown_to;
    const struct trust *trust;
    atomic_int *users; /* in use: named, shown_to, trust; NULL: not counted */
    bool connect_only, anywhere, internal;
    bool shows;    /* the client certificate is shown to the current hop */
    bool followed; /* a Location header of this answer has been read: the first one counts */
    bool cancelled;
    bool unadded; /* begun inside a callback of curl: it is added on the next turn */
    bool paused;
    const char *proxy; /* the proxy of the current hop (base/env_proxy.h); NULL: none */
    /* connecting (connect.h) */
    int64_t connect_timeout_ms, started_ms; /* monotonic */
    bool hurried;                           /* an address was skipped in this round */
    int round;
    bool connected;        /* a request has gone out */
    bool opened;           /* it has opened a connection since the last request was sent */
    struct event *unheard; /* timer: a request was sent on a reused connection, and nothing has been received */
    int own_port;          /* local port of that connection */
    char peer[CONNECT_ADDRESS_MAX];
    bool renewed; /* that connection was dead: the request is repeated on a new one */
    int64_t stall_timeout_ms;
    /* a client's own request (transfer_verbatim.c) */
    bool verbatim;
    bool unrepeatable; /* its connection has ended, and it must not be sent again */
    char *method;
    char **lines; /* of the answer's head, and of its trailers */
    int line_count;
    int trailers_at; /* in `lines` */
    int answered;    /* the status of the final answer, whose head is here; 0: none yet */
    struct transfer_verbatim calls;
    int64_t given; /* bytes of its body */
    bool starved;  /* on_send had none: sending is paused */
    /* an expired or not yet valid certificate (transfer_clock.c) */
    struct transfer *clock_probe; /* reads the Date of the other side */
    bool clock_probed;
    long verify_result; /* OpenSSL's X509_V_ERR_... */
    char detail[CURL_ERROR_SIZE];
};

struct transfer_engine {
    struct loop *loop;
    CURLM *multi;
    /* Tells libcurl that something has happened to a socket; transfers may have ended when it returns. */
    void (*act)(struct transfer_engine *e, curl_socket_t fd, int what);
    struct event *timer;
    int64_t due_us; /* when the timer is due; monotonic */
    struct event *turn;
    struct connect_table *connects;
    LIST_HEAD(, transfer) active;
    LIST_HEAD(, transfer) buried; /* cancelled inside curl, to be freed outside */
    int depth;                    /* > 0: inside curl */
};

/* ---- transfer.c ---- */

/* Tells its owner the outcome, and frees it. */
void transfer_finish(struct transfer *t, CURLcode code);
/* Frees it without callbacks; it is in no list and not in curl any more. */
void transfer_free(struct transfer *t);

/* ---- transfer_verbatim.c ---- */

void transfer_set_verbatim(struct transfer *t, const struct transfer_request *req);
void transfer_clear_verbatim(struct transfer *t);
/* Tells libcurl what is paused. */
void transfer_apply_pause(struct transfer *t);
/* Whether it may be sent again although it may have been received. */
bool transfer_may_repeat(const struct transfer *t);
/* A line of the answer's head, or a trailer; all of another answer's are dropped before. */
void transfer_take_line(struct transfer *t, const char *line, size_t len);
void transfer_drop_lines(struct transfer *t);
/* The head of an answer has ended: an interim one is passed on. */
void transfer_end_head(struct transfer *t);
/* Where the response finds the trailers, if there are any. */
void transfer_note_trailers(struct transfer *t);
/* Whether what failed does not matter: the answer is complete. */
bool transfer_is_answered(const struct transfer *t, CURLcode code);

/* ---- transfer_connect.c ---- */

/* Installs the callbacks that watch its connections. */
void transfer_watch_connections(struct transfer *t, const struct transfer_request *req);
/* Its answer has begun: the connection is alive. */
void transfer_heard(struct transfer *t);
/* It could not connect. True: it is retried, with more time for each address. */
bool transfer_is_worth_patience(struct transfer *t, CURLcode code);
/* It is about to be freed. */
void transfer_forget_connections(struct transfer *t);
/* A header line of a redirect: the next hop has its own proxy and certificate. */
void transfer_follow(struct transfer *t, const char *line, size_t len);
/* Whether a redirect has led to another host, port or scheme. */
bool transfer_is_elsewhere(struct transfer *t);
/* Whether a proxy, not the server, has refused it. */
bool transfer_is_refused_by_proxy(struct transfer *t);
/* Copies status and version of the final answer from libcurl. */
void transfer_note_answer(struct transfer *t);

/* ---- transfer_clock.c ---- */

/* It failed with `code`. The URL whose Date tells whether this node's clock is wrong; NULL: that is not the cause, or
 * it was requested before. Once. The caller frees. */
char *transfer_clock_url(struct transfer *t, CURLcode code);
/* What is wrong with the certificate's time, for the message; response.date is the other side's time (0: unknown). */
void transfer_describe_time(const struct transfer *t, char *out, size_t cap);

#endif
