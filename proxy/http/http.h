/* http.h - HTTP/1.1 towards clients (RFC 9110, RFC 9112), on libevent and llhttp.
 *
 * A server belongs to one serve loop and has any number of connections; a connection handles one request at a time,
 * later ones wait in its input (pipelining). A handler gets the request when its head, and its body if any, are
 * complete; it answers at once or later, always on the same loop. Exactly one answer is given: http_reply*() or
 * http_stream() … http_stream_end(), http_connect_*(), or http_abort().
 *
 *     reading ──head and body──▶ handling ──reply──▶ sending ──all sent──▶ reading | closed
 *
 * A request lives until its answer is complete or its client is gone; in the latter case, and only then, its on_gone
 * callback runs and the request must not be touched any more.
 *
 * The process must ignore SIGPIPE: sendfile(2) has no flag for it.
 *
 * What the parser refuses gets a 4xx (its body as http_server_set_errors() says) and the connection is closed: where
 * framing is in doubt (two lengths, length and chunks, a bare LF, a folded header) nothing that follows can be
 * trusted. A field that follows the body must not change how the request was read (RFC 9110 §6.5.1): trailers are
 * kept apart of requests whose body is taken piece by piece, and skipped of others.
 */
#ifndef ENTREPOT_PROXY_HTTP_HTTP_H
#define ENTREPOT_PROXY_HTTP_HTTP_H

#include "base/buf.h"
#include "base/loop.h"

#include <stdint.h>

struct pool;
struct http_server;
struct http_request;
struct http_tls;
struct ssl_ctx_st;

enum {
    HTTP_HEAD_MAX = 128 << 10, /* bytes of request line and headers: a Range of 4096 pieces of a large blob */
    HTTP_TARGET_MAX = 8 << 10, /* RFC 9112 §3: at least 8000 octets */
    HTTP_HEADERS_MAX = 100,
    HTTP_BODY_MAX = 1 << 20,
    HTTP_FRAMING_MAX = 64 << 10, /* bytes around a body: chunk sizes and extensions, trailers */
    HTTP_USER_MAX = 32,          /* bytes of a request for the folders above */
    HTTP_ID_MAX = 64,            /* bytes of a request's id */
    HTTP_CLIENT_MAX = 45,        /* bytes of an address as text */
    HTTP_COPY_MAX = 16 << 10,    /* bodies up to this size go out with the head in one write */
};

struct http_limits {
    int64_t head_timeout_ms;      /* from the first byte of a head to its last */
    int64_t idle_timeout_ms;      /* between requests */
    int64_t write_timeout_ms;     /* without a byte taken by the client */
    int64_t handshake_timeout_ms; /* of TLS, from the accepted connection on */
    int64_t tunnel_idle_ms;       /* without a byte either way */
    int64_t tunnel_half_ms;       /* the same once a side has ended its output; 0: as tunnel_idle_ms */
    int64_t gone_ms;              /* how long after a client's end of input, with nothing to send, it counts as gone */
};
#define HTTP_LIMITS_DEFAULT                                                                                            \
    ((struct http_limits){.head_timeout_ms = 10000,                                                                    \
                          .idle_timeout_ms = 75000,                                                                    \
                          .write_timeout_ms = 60000,                                                                   \
                          .handshake_timeout_ms = 10000,                                                               \
                          .tunnel_idle_ms = 600000,                                                                    \
                          .tunnel_half_ms = 60000,                                                                     \
                          .gone_ms = 2000})

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_POST, HTTP_METHOD_CONNECT, HTTP_METHOD_OTHER };

/* `on_request` gets each request; `on_complete` (may be NULL) each one that ended, with http_*() still usable: also
 * those that were refused before `on_request` (http_was_refused()), and a CONNECT with a tunnel when that has ended. */
struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    void (*on_request)(void *arg, struct http_request *req),
                                    void (*on_complete)(void *arg, struct http_request *req), void *arg);
/* Takes over a connected, non-blocking socket. */
struct http_arrival {
    int fd;
    const void *listener; /* what http_listener() returns */
    struct http_tls *tls; /* NULL: plain HTTP; borrowed, until the server is freed */
    bool forward;         /* it is for a forward proxy: CONNECT is let in */
};
void http_server_accept(struct http_server *s, const struct http_arrival *arrival);
/* Workers that read files which are not in memory, so that the loop need not wait for the disk. Before the loop starts;
 * `readers` is borrowed, and ends after the server and before the loop is freed. */
void http_server_set_readers(struct http_server *s, struct pool *readers);
/* Microseconds that answers have waited for them, of all loops. Any thread. */
uint64_t http_disk_waited_us(void);
/* How errors look: adds the body of one to `out` and returns its media type; `code` is what http_error() was given,
 * `id` the request's. Before the loop starts. */
void http_server_set_errors(struct http_server *s, const char *(*format)(struct buf *out, const char *code,
                                                                         const char *message, const char *id));
/* Which requests are given to the handler at the end of their head, without their body, which it takes piece by piece
 * (http_body_stream()) and which has no limit. Only those with a body are offered, of forward listeners and of opened
 * connections. `wants` may look at the request and no more. Before the loop starts. */
void http_server_set_streams(struct http_server *s, bool (*wants)(void *arg, struct http_request *req));
/* Closes idle connections and tunnels now, the others after their answer; then calls `done` on the loop. */
void http_server_drain(struct http_server *s, void (*done)(void *arg), void *arg);
/* The connections of a listener (http_arrival.listener) that is there no longer are closed after their next answer,
 * which says so; with `idle` those between two requests at once. Whether there was any; on the loop. */
bool http_server_part(struct http_server *s, const void *listener, bool idle);
/* Cuts what is left; the request handlers are told that their clients are gone. On the loop. */
void http_server_cut(struct http_server *s);
/* The same, and frees. After the loop has ended. */
void http_server_free(struct http_server *s);
/* Any thread. */
int http_server_connections(const struct http_server *s);
/* Adds lines of text: how many connections there are, and what the busy ones (256 at most) do. On the loop. */
void http_server_print(const struct http_server *s, struct buf *out);

/* The request. Text is NUL-terminated and lives as long as the request. */
enum http_method http_method(const struct http_request *req);
/* As sent, and the path without its query; "-" of what was refused before its head was read. */
const char *http_method_name(const struct http_request *req);
const char *http_path(const struct http_request *req);
const char *http_query(const struct http_request *req); /* without '?'; "" if none */
/* The decoded value of a query parameter. False if absent, over-long, badly escaped or holding control characters. */
bool http_query_get(const struct http_request *req, const char *name, char *out, size_t cap);
/* Whether there is such a parameter at all. */
bool http_query_has(const struct http_request *req, const char *name);
/* The first header of that name (lower case), or NULL. */
const char *http_header(const struct http_request *req, const char *name);
/* Whether any header of that name (lower case) has one of these texts in it (NULL-terminated list). */
bool http_header_has(const struct http_request *req, const char *name, const char *const *texts);
/* Whether If-None-Match has this entity tag (given without quotes), alone or in a list, weak or not, or is "*"
 * (RFC 9110 §13.1.2). */
bool http_is_known(const struct http_request *req, const char *etag);
const char *http_host(const struct http_request *req); /* lower case; "" if none */
/* All headers, in order: false behind the last one. Names are in lower case. */
bool http_header_at(const struct http_request *req, int i, const char **name, const char **value);
const char *http_body(const struct http_request *req, size_t *len); /* none if it is streamed */
/* The target of CONNECT, "host:port" in lower case (also its http_path() and http_host()); NULL: another method. */
const char *http_authority(const struct http_request *req);
bool http_is_absolute(const struct http_request *req); /* the target was a URL: http_host() is its host */
/* The host that a connection was opened for, in lower case and without port: what http_connect_tls() was given, or the
 * server name in the client's TLS handshake if the listener's certificate is chosen by it. NULL: an ordinary one. */
const char *http_opened_host(const struct http_request *req);
const void *http_listener(const struct http_request *req);
bool http_is_tls(const struct http_request *req);
bool http_is_forward(const struct http_request *req); /* its connection came to a forward proxy */
/* The addresses of the client and of its connection at this end. */
struct sockaddr_storage;
bool http_addresses(const struct http_request *req, struct sockaddr_storage *peer, struct sockaddr_storage *own);
/* The name in the client's certificate (RFC 2253); NULL: it has shown none. */
const char *http_client_subject(const struct http_request *req);
struct loop *http_loop(const struct http_request *req);
/* What names the request in logs and, as X-Request-Id, in its answer: the client's own X-Request-Id if that is at
 * most HTTP_ID_MAX letters, digits, '.', '_' and '-', else 16 random hexadecimal digits. Of an answer that was
 * passed on with such a header, what that says. */
const char *http_id(struct http_request *req);
/* The client's address, without port; "unix" of a unix socket, "-" if it is not known any more. */
const char *http_client(struct http_request *req);
/* It could not be read, or was not let in: method and path may be missing. */
bool http_was_refused(const struct http_request *req);
/* HTTP_USER_MAX bytes for the folders above, all zero at first, until the request is complete. */
void *http_user(struct http_request *req);
int http_status(const struct http_request *req);           /* 0: no answer yet */
int64_t http_sent(const struct http_request *req);         /* body bytes */
int64_t http_micros(const struct http_request *req);       /* since the request was complete to be answered */
int64_t http_now_us(const struct http_request *req);       /* clock_mono_us(); once it is complete: when that was */
int64_t http_first_micros(const struct http_request *req); /* until the answer's head; -1: none yet */
/* The value of a header that the answer was given by http_reply_header(), and its length; NULL: there is none. */
const char *http_given_header(const struct http_request *req, const char *name, size_t *len);
/* Of one that is complete: all of its answer went out. False: the client has gone before, or the answer was cut. */
bool http_is_whole(const struct http_request *req);
/* The answer was cut because the file could not be read. For `done` of http_reply_file() and http_stream_end(). */
bool http_read_failed(const struct http_request *req);
/* Called when the client is gone before the answer was complete. NULL: no callback any more. */
void http_on_gone(struct http_request *req, void (*fn)(void *arg), void *arg);

/* A body on its way in.
 *
 * http_body_stream() sends 100 Continue if that is expected, and calls `on_data` for each piece (16 KiB at most)
 * and `on_end` once behind the last one, later, until the answer is complete (http_reply*(), http_stream_end(),
 * http_stream_cut(), http_abort()): what comes of the body then is dropped, or the connection is closed behind the
 * answer if that is much. Until it is called, and while the body is paused, the connection holds no more than
 * HTTP_BODY_WAIT_MAX bytes, or what was read with the head (64 KiB), and reads no more. A body that cannot
 * be read to its end (the client has gone, sends no bytes for write_timeout_ms, or breaks the framing) ends the
 * request like any client that is gone: on_gone is called. Of a request whose body is complete or that has none,
 * `on_data` gets it in one piece. */
enum { HTTP_BODY_WAIT_MAX = 16 << 10 };
/* Bytes; -1: not known (chunked). Of any request. */
int64_t http_body_length(const struct http_request *req);
/* Whether its client waits for 100 Continue. */
bool http_body_is_expected(const struct http_request *req);
void http_body_stream(struct http_request *req, void (*on_data)(void *arg, const void *data, size_t len),
                      void (*on_end)(void *arg), void *arg);
/* Also inside `on_data`, and before http_body_stream(). */
void http_body_pause(struct http_request *req, bool pause);
/* Inside `on_data`: moves what it was given to `into`, which it replaces. */
void http_body_keep(struct http_request *req, struct buf *into);
/* The fields behind a body in chunks that was taken piece by piece, in order and as sent, from `on_end` on: false
 * behind the last one. */
bool http_trailer_at(const struct http_request *req, int i, const char **name, const char **value);

/* The answer to CONNECT, "200 Connection established"; any other refuses it.
 *
 * The connection goes on under TLS: `tls`, of which a reference is taken over, is a server's context
 * (http_tls_context()); nothing is made of it before the client's first byte. What the client has sent behind the head
 * is the beginning of it. Requests inside are handled as others, with `host` as http_opened_host(), but for CONNECT
 * (405). On a connection that is TLS already the answer is 501. */
void http_connect_tls(struct http_request *req, struct ssl_ctx_st *tls, const char *host);
/* Bytes are passed both ways between the client and `fd`, a connected, non-blocking socket, which is taken over;
 * ends of input, too. Each direction holds HTTP_TUNNEL_MAX bytes at most that its receiver has not taken. Ends
 * when both sides have ended, at an error, without a byte for tunnel_idle_ms (tunnel_half_ms once one side has ended),
 * and when the server drains. The client may be under TLS. */
enum { HTTP_TUNNEL_MAX = 64 << 10 };
void http_connect_tunnel(struct http_request *req, int fd);
/* How many there are in this process. Any thread. */
int http_tunnels(void);

/* The answer. A header, before the status; control characters in values are dropped. */
void http_reply_header(struct http_request *req, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* An interim answer (1xx) with the headers given so far, which are forgotten; clients get any number of them before the
 * answer. Not sent to HTTP/1.0 (RFC 9110 §15.2), nor to who has not taken HTTP_INTERIM_MAX bytes of others. */
enum { HTTP_INTERIM_MAX = 64 << 10 };
void http_interim(struct http_request *req, int status);
/* Forgets the headers given so far. */
void http_reply_reset(struct http_request *req);
/* The head says no more than http_reply_header() gives and what frames the body: no Server, no Date. */
void http_reply_bare(struct http_request *req);
/* A whole answer; the body is copied. To HEAD the same head goes out without the body. `type` may be NULL. */
void http_reply(struct http_request *req, int status, const char *type, const void *body, size_t len);
/* A whole answer whose body is borrowed until `release` is called. */
void http_reply_ref(struct http_request *req, int status, const char *type, const void *body, size_t len,
                    void (*release)(const void *body, size_t len, void *arg), void *arg);
/* The head of an answer to HEAD whose body would have `len` bytes (-1: not known). */
void http_reply_head(struct http_request *req, int status, const char *type, int64_t len);
/* [offset, offset+len) of a file; `fd` is borrowed until `done`, which is called when everything was handed to the
 * kernel or the client is gone. */
void http_reply_file(struct http_request *req, int status, const char *type, int fd, int64_t offset, int64_t len,
                     void (*done)(void *arg), void *arg);
/* The head of an answer of `len` bytes (-1: not known; sent in chunks) whose body comes piece by piece: `more` is
 * called whenever the connection can take more, until http_stream_end(). Headers given meanwhile are trailers; without
 * chunks there are none. */
void http_stream(struct http_request *req, int status, const char *type, int64_t len, void (*more)(void *arg),
                 void *arg);
bool http_stream_can_take(const struct http_request *req);
/* Pieces; the descriptor is borrowed until the answer is complete or the client is gone. In an answer with pieces of a
 * file each piece, also one of data, is given only when the connection can take more. */
void http_stream_file(struct http_request *req, int fd, int64_t offset, int64_t len);
void http_stream_data(struct http_request *req, const void *data, size_t len);
/* The same for a piece of a file up to HTTP_COPY_MAX bytes that is in memory: it is copied, so that many of them go out
 * in one write. False: it is not, http_stream_file() sends it. */
bool http_stream_small(struct http_request *req, int fd, int64_t offset, int64_t len);
/* The same for a piece of a file in memory, which is copied: the file may change behind it. From now on the kernel is
 * given little of this answer before the client takes it. */
void http_stream_copy(struct http_request *req, int fd, int64_t offset, size_t len);
/* Bytes that were given and that the kernel has not taken yet. */
size_t http_stream_waiting(const struct http_request *req);
/* There is something for a stream that had nothing: `more` is called if the connection can take it. */
void http_stream_more(struct http_request *req);
/* Everything was given; `done` (may be NULL) is called when it has gone out. */
void http_stream_end(struct http_request *req, void (*done)(void *arg), void *arg);
/* Nothing more will come: what was given goes out, and the connection is closed behind a body that is shorter than its
 * Content-Length, so that clients request the rest. `done` as above. */
void http_stream_cut(struct http_request *req, void (*done)(void *arg), void *arg);
/* Cuts the connection, so that the client sees that the answer is not whole. on_gone is not called. */
void http_abort(struct http_request *req);
/* An error; its body is made by what http_server_set_errors() was given, else it is the message as text. */
void http_error(struct http_request *req, int status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
