/* private.h - shared by the files of this folder: link.c, tls_socket.c, link_tls.c, request.c, parse.c, seats.c,
 * readahead.c, tunnel.c, print.c ◀ life.c, head.c ◀ send.c, greet.c ◀ body.c, connect.c ◀ conn.c ◀ bounds.c ◀ listen.c,
 * each of which uses those before it. */
#ifndef ENTREPOT_PROXY_HTTP_PRIVATE_H
#define ENTREPOT_PROXY_HTTP_PRIVATE_H

#include "base/buf.h"
#include "proxy/http/http.h"
#include "proxy/http/link.h"
#include "proxy/http/link_tls.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <llhttp.h>
#include <stddef.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct http_tls;

enum conn_state {
    CONN_GREETING,  /* to a TLS listener; the handshake is not over */
    CONN_READING,   /* a head, or waiting for one */
    CONN_HANDLING,  /* the handler has the request */
    CONN_SENDING,   /* the answer is given, not all of it is out */
    CONN_OPENING,   /* CONNECT was answered, what is asked for begins on the next turn */
    CONN_TUNNEL,    /* passes bytes (tunnel.c) */
    CONN_LINGERING, /* refused; what the client still sends is read and dropped */
    CONN_CLOSED,    /* waits to be freed */
};

/* Where a header's name and value lie in the arena. */
struct http_field {
    uint32_t name, value;
};

struct http_request {
    struct http_conn *conn;
    _Alignas(max_align_t) char user[HTTP_USER_MAX];
    enum http_method method;
    uint8_t method_code; /* llhttp's */
    bool keep_alive;
    bool http10;
    bool whole; /* its answer went out to its last byte */
    char id[HTTP_ID_MAX + 1];
    bool absolute;              /* the target was a URL */
    uint32_t path, query, host; /* in the arena */
    int field_count;
    struct http_field fields[HTTP_HEADERS_MAX];
    struct buf body;
    /* the body, if the handler takes it piece by piece */
    bool streamed; /* the handler has the request without it; `body` is what was parsed and not yet given */
    bool expects;  /* a 100 Continue that was not sent */
    bool paused, end_given;
    struct buf *piece;   /* inside on_data: what it was given */
    struct buf trailers; /* "name\0value\0", … */
    int trailer_texts;
    bool dropping;    /* the answer is out, what is left of the body is not wanted */
    int64_t body_len; /* -1: not known */
    int64_t dropped;
    void (*on_data)(void *arg, const void *data, size_t len);
    void (*on_end)(void *arg);
    void *body_arg;
    /* the answer */
    bool bare;
    int status;
    struct buf headers; /* further header lines */
    size_t trailers_at; /* of a stream: what follows there is sent behind the body */
    int64_t begun_us, first_us, sent, promised;
    int64_t ended_us; /* when it was complete; monotonic; 0: it is not */
    void (*on_gone)(void *arg);
    void *gone_arg;
    void (*more)(void *arg);
    void *more_arg;
    void (*done)(void *arg);
    void *done_arg;
    bool ended; /* nothing more will be given */
    bool read_failed, chunked;
    /* a file on its way out: what conn->out does not have yet */
    int file_fd;
    int64_t file_at, file_end;
    struct http_read *read; /* what it needs of the disk; NULL: not asked yet */
};

enum http_over { HTTP_SEATED, HTTP_OVER_ALL, HTTP_OVER_CLIENT };

/* Bytes of a read whose data may have to wait: libevent's memory comes in powers of two, with a header. */
enum { HTTP_READ_MAX = HTTP_SCRATCH - 1024 };
enum { HTTP_BODY_PIECE = 16 << 10 /* bytes: a record of TLS */ };

enum { HTTP_DROP_MAX = 256 << 10 /* bytes of a body behind an answer; Go's servers have the same */ };

enum { HTTP_RETRY_AFTER_S = 1 /* of a refusal because no seat is free */ };

/* What a connection holds of an http_bounds. */
struct http_seat {
    struct http_bounds *bounds; /* NULL: it is not counted */
    struct http_peer *peer;     /* NULL: not by address */
    enum http_over over;        /* there was no seat: it is to be refused */
    bool counted;
    uint8_t address[8];
};

/* Of a connection in CONN_GREETING: whether it has one of the bounded number of handshakes. */
enum http_greet { GREET_NONE, GREET_QUEUED, GREET_PLACED };

/* What becomes of a connection whose CONNECT is answered with 200. */
enum http_opening { OPENS_NOTHING, OPENS_TLS, OPENS_TUNNEL };

struct http_conn {
    TAILQ_ENTRY(http_conn) entry, idle_entry, greet_entry;
    struct http_seat seat;
    struct event *seat_retry; /* of one without a seat: tries again to take one */
    bool is_idle;             /* in the server's list of those */
    bool served;              /* a request of it has been answered */
    struct http_server *server;
    struct http_link link;
    struct http_tls *tls; /* of a TLS listener */
    enum http_greet greet;
    int64_t greeting_ms; /* since when it has its place; monotonic */
    enum http_opening opens;
    struct ssl_ctx_st *next_tls; /* OPENS_TLS, until it is begun */
    char *next_host;
    int next_fd;                      /* OPENS_TUNNEL */
    struct http_tunnel *tunnel;       /* in CONN_TUNNEL */
    char *opened_host;                /* what it was opened for; NULL: an ordinary one */
    bool forward;                     /* CONNECT is let in */
    bool plain_on_tls;                /* the client speaks no TLS there: it is to be told */
    char *subject;                    /* of the client's certificate; NULL: none */
    char client[HTTP_CLIENT_MAX + 1]; /* its address, once it was asked for */
    struct evbuffer *in;              /* what the client has sent; of later requests, too */
    struct http_out out;
    struct event *readable, *writable;
    struct event *turn; /* goes on with this connection on the next turn of the loop */
    bool armed;         /* `writable` is pending */
    bool blocked;       /* the socket takes nothing until then */
    const void *listener;
    enum conn_state state;
    bool eof;         /* the client will send no more */
    int64_t eof_ms;   /* since when; monotonic */
    bool dispatching; /* inside the handler: what it calls must not recurse */
    bool closing;     /* after the answer */
    bool reading;     /* inside read_requests() */
    bool lost;        /* found broken inside a callback */
    bool cut;         /* the answer ends before its length */
    bool short_queue; /* TCP_NOTSENT_LOWAT is set */
    int refuse;       /* status of a refusal found while parsing; 0 none */
    const char *refuse_why;
    /* the head being parsed */
    llhttp_t parser;
    struct buf arena;
    bool in_value;
    bool head_done;
    bool complete;
    bool saw_cr, fold_possible;
    size_t line_len, head_len;
    size_t framing_len; /* bytes behind the head that are not the body's; of a streamed one, since its last piece */
    size_t body_seen;   /* bytes of the body in this call of the parser */
    int64_t body_ms;    /* when bytes of a streamed body came, or began to be wanted; monotonic */
    bool any_line;
    int64_t since_ms;          /* when this state of waiting began (monotonic) */
    int64_t taken, taken_seen; /* bytes of output that the socket took; at the last look, to see progress */
    struct http_request req;
};

struct http_server {
    struct loop *loop;
    struct http_limits limits;
    void (*on_request)(void *arg, struct http_request *req);
    void (*on_complete)(void *arg, struct http_request *req);
    const char *(*format_error)(struct buf *out, const char *code, const char *message, const char *id);
    void (*landed)(struct http_conn *c, bool ok); /* the pages of a file that it waits for are there, or cannot be */
    bool (*wants_stream)(void *arg, struct http_request *req); /* NULL: none */
    void *arg;
    struct event *tick;
    TAILQ_HEAD(conns, http_conn) conns;
    TAILQ_HEAD(, http_conn) idle;                        /* between requests; the longest idle one first */
    TAILQ_HEAD(greet_queue, http_conn) greeting, queued; /* TLS handshakes; those that wait to begin */
    int greeting_count;
    atomic_int count, idle_count;
    struct pool *readers; /* read workers; NULL: the loop waits for the disk itself */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    char *scratch;   /* where reads land */
    struct buf head; /* where heads are written; kept for its memory */
    char date[40];   /* "Date: ...\r\n", made again each second */
    int64_t date_s;
    uint64_t ids; /* what the next request's id is made of */
};

/* request.c */
const char *http_reason(int status);
/* Whether there is more of a streamed body to come. */
bool http_body_is_open(const struct http_conn *c);
/* Whether the handler does not take it now: it pauses, or has not begun. */
bool http_body_waits(const struct http_conn *c);
/* Whether that is more than is read and dropped behind an answer, or may not come at all. */
bool http_body_is_long(const struct http_conn *c);

/* parse.c */
void http_parse_reset(struct http_conn *c);
/* Parses what the input holds, up to the end of one request, or of its head if the body is streamed; then one piece of
 * that. Sets conn->complete, or conn->refuse. */
void http_parse(struct http_conn *c);
/* The same with bytes of a streamed body that are not in the input, HTTP_BODY_PIECE at most. Returns how many it has
 * used: less than `len` if they end the request. */
size_t http_parse_piece(struct http_conn *c, const char *data, size_t len);

/* Adds X-Request-Id to a head, unless it is a bare one that has it: then that is the request's id. */
void http_add_id(struct http_request *req, struct buf *head);

/* tunnel.c */
/* Passes bytes between the client and `next_fd` from now on. `wake`, with the
 * connection, calls for http_tunnel_pass(). */
void http_tunnel_begin(struct http_conn *c, event_callback_fn wake);
/* Passes what there is. False: the tunnel has ended. */
bool http_tunnel_pass(struct http_conn *c);
bool http_tunnel_is_idle(const struct http_conn *c, int64_t now);
/* With the connection's own socket still open. The request is told how many bytes the client was sent. */
void http_tunnel_end(struct http_conn *c);

/* head.c */
/* Adds the head of the answer to `out`: it decides whether the connection is kept. `len` -1: it has no length. */
void http_head_compose(struct http_request *req, struct buf *out, int status, const char *type, int64_t len);

/* send.c */
/* Gives the output what it can take, and notices the end of the answer. */
void http_pump(struct http_conn *c);
/* Hands the output to the socket, and waits for it to take more if there is more. Sets conn->lost. */
void http_write(struct http_conn *c);

/* How much of an answer the kernel queues for a client that does not read: little, or as much as usual. */
void http_shorten_queue(struct http_conn *c, bool shorten);

/* seats.c */
/* The connection is closed. */
void http_seat_leave(struct http_seat *seat);
/* There was no seat: takes one if one is free now. */
void http_seat_retry(struct http_seat *seat);
/* There is none: counts that. */
void http_seat_refuse(const struct http_seat *seat);
/* readahead.c */
/* Whether [at, to) of the answer's file can be sent without waiting for the disk. If not it is being read, and
 * the server's `landed` is called when it is there. What follows up to `end` may be read ahead. */
bool http_read_is_here(struct http_request *req, int fd, int64_t at, int64_t to, int64_t end);
/* Reads what can be read without waiting for the disk. False: not all of it can. */
bool http_read_now(int fd, void *to, size_t len, int64_t at);
/* The answer does not need its file any more. Before its descriptor is closed. */
void http_read_end(struct http_request *req);

/* body.c */
/* Gives the handler of a streamed body what there is of it; goes on with the answer. */
void http_body_feed(struct http_conn *c);
/* Bytes of a streamed body, just read; it takes what it can, and returns how much. */
size_t http_body_take(struct http_conn *c, const char *data, size_t len);
/* Whether a streamed body will not come to its end. */
bool http_body_is_lost(struct http_conn *c, int64_t now);

/* conn.c */
/* As http_server_accept(), with a seat; one without a seat is not read from for `wait_ms`. */
void http_conn_seat(struct http_server *s, const struct http_arrival *arrival, const struct http_seat *seat,
                    int wait_ms);
/* greet.c */
/* The connection goes on under TLS: of `next_tls`, or one of `tls`. Nothing of it waits to be sent; what waits in its
 * input is the beginning of the handshake. */
void http_greet_begin(struct http_conn *c, struct http_tls *tls);
/* Goes on with the handshake when the socket can be read or written. True: it is over, requests may be read. */
bool http_greet(struct http_conn *c);
/* Now and then: for the handshakes that wait for a place. */
void http_greet_tick(struct http_server *s);
/* life.c */
/* It begins to wait for its next request; it has got one. */
void http_conn_rest(struct http_conn *c);
void http_conn_wake(struct http_conn *c);
/* Reads from the client again, if it was paused. */
void http_conn_listen(struct http_conn *c);
/* The answer is out: completes the request and goes on with the next one. */
void http_conn_finish(struct http_conn *c);
/* It has left the handshakes, or those that wait for a place; the next one begins. */
void http_conn_greeted(struct http_conn *c);
void http_conn_next_greeting(struct http_server *s);
/* Sends no more; what the client still sends is read and dropped for a moment. */
void http_conn_linger(struct http_conn *c);
/* The client is gone, or must go. */
void http_conn_close(struct http_conn *c);

#endif
