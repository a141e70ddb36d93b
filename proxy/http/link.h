/* link.h - what is below a connection: how its bytes come from its client and get there. A connection has one link at a
 * time. There are two kinds: a plain socket (link.c), and TLS on one (link_tls.c).
 *
 *     http_conn:  in ◀── read ──┐           ┌── write ◀── out: data, then a piece of a file
 *                               │  link     │
 *                               └─ socket ──┘
 *
 * A link never blocks and never calls back; the connection owns the events of the socket and waits for the one that a
 * call needs. All functions return as the system calls do, with errno: EAGAIN means the socket's event, ECONNRESET
 * whatever ends the connection. A connection that must go on in another way below (TLS behind an answered CONNECT, a
 * tunnel) closes nothing: it takes another kind for the same socket, http_link_open() or http_link_open_tls(), once
 * `out` is empty.
 *
 * On the connection's loop.
 */
#ifndef ENTREPOT_PROXY_HTTP_LINK_H
#define ENTREPOT_PROXY_HTTP_LINK_H

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http_link_kind;
struct ssl_st;

struct http_link {
    const struct http_link_kind *kind;
    int fd;
    char *scratch; /* HTTP_SCRATCH bytes of the server's, for the time of a call */
    /* TLS (link_tls.c) */
    struct ssl_st *ssl;
    bool wants_write; /* what failed with EAGAIN, a read too, waits until the socket takes more */
    bool broken;      /* nothing more can be read or sent */
    bool early;       /* what was read before TLS began comes first; the socket is not read yet */
    bool stuck;       /* the next write would fail with EAGAIN */
    bool more;        /* what is written now may wait for what comes next: more output, or the end of the connection */
    bool ktls;        /* the kernel encrypts what is sent */
    char *kept;       /* data that the kernel has taken a part of */
    size_t kept_len;
};

/* What is to go out. Nothing is put behind a piece of a file but more of the same file. */
struct http_out {
    struct evbuffer *data;
    int fd; /* [at, end) of it is in memory */
    int64_t at, end;
};

struct http_link_kind {
    /* 0 at the end of what the client sends. */
    ssize_t (*read)(struct http_link *l, void *to, size_t cap);
    /* Whether there may be input that the socket does not report. */
    bool (*has_input)(const struct http_link *l);
    /* Data before which nothing waits. What of it is not sent becomes the beginning of the next write. */
    ssize_t (*send)(struct http_link *l, const void *data, size_t len);
    /* Sends up to `most` bytes of `out`, which is not empty, and removes them from it. EIO: the file cannot be read. */
    ssize_t (*write)(struct http_link *l, struct http_out *out, size_t most);
    /* Tells the client that nothing more will come. It may go on sending. */
    void (*end_output)(struct http_link *l);
    /* `whole`: no answer is cut. */
    void (*close)(struct http_link *l, bool whole);
};

enum { HTTP_SCRATCH = 64 << 10 };

static inline size_t http_out_len(const struct http_out *o)
{
    return evbuffer_get_length(o->data) + (size_t)(o->end - o->at);
}

/* A plain socket, which it owns. */
void http_link_open(struct http_link *l, int fd, char *scratch);

#endif
