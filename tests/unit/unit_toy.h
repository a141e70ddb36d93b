/* unit_toy.h - a registry that does what the path of a request says, for the tests of what is passed on to it. */
#ifndef ENTREPOT_TESTS_UNIT_TOY_H
#define ENTREPOT_TESTS_UNIT_TOY_H

#include "tests/unit/unit.h"

#include "base/digest.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOY_DIGEST "sha256:2222222222222222222222222222222222222222222222222222222222222222"

enum { TOY_BIG = 24 << 20 };

struct toy_connection;

struct toy {
    int listener, port;
    bool (*serve)(struct toy_connection *c);  /* NULL: by the path; false: the connection ends */
    atomic_int connections, requests, closed; /* `closed` by the client, while it had no answer */
    atomic_int alive;                         /* threads of connections */
    atomic_bool go_on;                        /* /stall reads on */
    atomic_llong early;                       /* bytes of the body before /go-on has answered */
    atomic_llong body, sent;                  /* bytes of the last request's body; of /big's answer */
};

struct toy_connection {
    struct toy *toy;
    int fd;
    char trailers[4096]; /* behind the body */
    char head[65536];    /* of the request, with what follows it */
    size_t have, head_len;
};

static inline void toy_say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static inline bool toy_read_head(struct toy_connection *c)
{
    char *end;

    while (!(c->head[c->have] = '\0', end = strstr(c->head, "\r\n\r\n"))) {
        ssize_t n = recv(c->fd, c->head + c->have, sizeof(c->head) - 1 - c->have, 0);
        if (n <= 0)
            return false;
        c->have += (size_t)n;
    }
    c->head_len = (size_t)(end + 4 - c->head);
    return true;
}

/* One byte of the body, buffered; -1: the end of the connection. */
static inline int toy_byte(struct toy_connection *c, char *buf, size_t cap, size_t *at, size_t *len)
{
    if (*at == *len) {
        ssize_t n = recv(c->fd, buf, cap, 0);
        if (n <= 0)
            return -1;
        *at = 0;
        *len = (size_t)n;
    }
    return (unsigned char)buf[(*at)++];
}

/* Reads what is behind the last chunk. */
static inline bool toy_read_trailers(struct toy_connection *c, char *buf, size_t cap, size_t *at, size_t *len)
{
    size_t n = 0;

    while (n < sizeof(c->trailers) - 1 && !(n == 2 && c->trailers[0] == '\r') &&
           !(n >= 4 && memcmp(c->trailers + n - 4, "\r\n\r\n", 4) == 0)) {
        int b = toy_byte(c, buf, cap, at, len);
        if (b < 0)
            return false;
        c->trailers[n++] = (char)b;
    }
    c->trailers[n] = '\0';
    return true;
}

/* Reads the body, up to `most` bytes: counts it, and returns the sum of its bytes; -1: the client has gone. */
static inline long long toy_read_body(struct toy_connection *c, long long most)
{
    static _Thread_local char buf[65536];
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    bool chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked");
    size_t len = c->have - c->head_len, at = 0;
    long long left = length ? atoll(length + 17) : 0, sum = 0, total = 0;

    memcpy(buf, c->head + c->head_len, len);
    while (total < most) {
        if (left == 0 && chunked) {
            char line[64] = "";
            for (size_t n = 0; n < sizeof(line) - 1 && !strchr(line, '\n'); n++) {
                int b = toy_byte(c, buf, sizeof(buf), &at, &len);
                if (b < 0)
                    return -1;
                line[n] = (char)b;
            }
            if (line[0] == '\r') /* behind a chunk */
                continue;
            left = strtoll(line, NULL, 16);
            chunked = left > 0;
            if (!chunked && !toy_read_trailers(c, buf, sizeof(buf), &at, &len))
                return -1;
        }
        if (left == 0)
            break;
        int b = toy_byte(c, buf, sizeof(buf), &at, &len);
        if (b < 0)
            return -1;
        sum += b;
        left--;
        atomic_store(&c->toy->body, ++total);
    }
    return sum;
}

static inline void toy_answer(int fd, const char *status, const char *headers, const char *body)
{
    _cleanup_free_ char *text =
        xasprintf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);

    toy_say(fd, text);
}

static inline void toy_big(struct toy_connection *c)
{
    static const char piece[65536];
    ssize_t n = 1;
    _cleanup_free_ char *head = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", (int)TOY_BIG);

    toy_say(c->fd, head);
    for (long long sent = 0; n > 0 && sent < TOY_BIG; sent += n) {
        n = send(c->fd, piece, sizeof(piece), MSG_NOSIGNAL);
        atomic_fetch_add(&c->toy->sent, MAX(n, (ssize_t)0));
    }
}

/* Interim answers, or trailers, without end. */
static inline void toy_flood(struct toy_connection *c)
{
    static const char interim[] = "HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\n",
                      trailer[] = "X-Late: abcdefghijklmnop\r\n";
    const char *text = strstr(c->head, "/flood-interim") ? interim : trailer;

    if (text == trailer)
        toy_say(c->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n");
    while (send(c->fd, text, strlen(text), MSG_NOSIGNAL) > 0)
        ;
}

/* The answer repeats the request's head and trailers, and the sum of its body. */
static inline void toy_echo(struct toy_connection *c)
{
    long long sum = toy_read_body(c, INT64_MAX);
    _cleanup_free_ char *body = xasprintf("%.*s%ssum=%lld\n", (int)c->head_len, c->head, c->trailers, sum);

    if (sum >= 0)
        toy_answer(c->fd, "200 Fine",
                   "X-Toy: a\r\nConnection: x-own\r\nX-Own: no\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                   "Location: /v2/next?_state=x%2Fy\r\nProxy-Note: no\r\nServer: toy\r\n",
                   body);
}

/* False: the connection ends. */
static inline bool toy_serve(struct toy_connection *c)
{
#define TOY_IS(word) (strncmp(strchr(c->head, ' ') + 1, word, strlen(word)) == 0)
    if (TOY_IS("/early")) {
        toy_read_body(c, 100000);
        toy_answer(c->fd, "413 No", "Connection: close\r\n", TOY_IS("/early-empty") ? "" : "too large");
        shutdown(c->fd, SHUT_WR);
        usleep(200000); /* a reset would take the answer along */
        return false;
    } else if (TOY_IS("/stall")) {
        toy_read_body(c, 1);
        while (!atomic_load(&c->toy->go_on))
            usleep(10000);
        toy_answer(c->fd, "201 Made", "", "");
        return false;
    } else if (TOY_IS("/never")) {
        if (toy_read_body(c, INT64_MAX) < 0 || recv(c->fd, c->head, 1, 0) <= 0)
            atomic_fetch_add(&c->toy->closed, 1);
        return false;
    } else if (TOY_IS("/interim")) {
        toy_say(c->fd, "HTTP/1.1 103 Early\r\nX-Early: 1\r\nConnection: x-own\r\nX-Own: no\r\n\r\n"
                       "HTTP/1.1 102 Wait\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
                       "5\r\nhello\r\n0\r\nX-Late: 1\r\nContent-Length: 77\r\nSet-Cookie: x\r\n\r\n");
    } else if (TOY_IS("/flood-")) {
        toy_flood(c);
        return false;
    } else if (TOY_IS("/go-on")) { /* it lets the body begin, or refuses it */
        bool refuses = TOY_IS("/go-on/no");
        usleep(100000);
        atomic_store(&c->toy->early, c->have - c->head_len);
        toy_say(c->fd, refuses ? "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 100 Continue\r\n\r\n");
        if (refuses)
            return false;
        toy_echo(c);
    } else if (TOY_IS("/417")) { /* it knows no expectation */
        toy_answer(c->fd, "417 No", "", "");
    } else if (TOY_IS("/204")) {
        toy_say(c->fd, "HTTP/1.1 204 None\r\nX-Toy: b\r\n\r\n");
    } else if (TOY_IS("/304")) {
        toy_say(c->fd, "HTTP/1.1 304 Same\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n");
    } else if (TOY_IS("/head")) {
        toy_say(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: a/b\r\n\r\n");
    } else if (TOY_IS("/206")) {
        toy_answer(c->fd, "206 Part", "Content-Range: bytes 2-5/10\r\nContent-Encoding: gzip\r\n", "abcd");
    } else if (TOY_IS("/307")) {
        toy_answer(c->fd, "307 There", "Location: http://127.0.0.1:1/else\r\n", "");
    } else if (TOY_IS("/101")) {
        toy_say(c->fd, "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n");
        return false;
    } else if (TOY_IS("/cut")) {
        toy_say(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
    } else if (TOY_IS("/drop")) { /* without an answer */
        return false;
    } else if (TOY_IS("/big")) {
        toy_big(c);
    } else if (TOY_IS("/v2/org/app/manifests/")) {
        toy_read_body(c, INT64_MAX);
        if (strncmp(c->head, "DELETE", 6) == 0)
            toy_answer(c->fd, "202 Gone", "", "");
        else
            toy_answer(c->fd, "201 Made", "Docker-Content-Digest: " TOY_DIGEST "\r\n", "");
    } else {
        toy_echo(c);
    }
#undef TOY_IS
    return true;
}

static inline void *toy_connection_run(void *arg)
{
    struct toy_connection *c = arg;
    struct toy *t = c->toy;

    atomic_fetch_add(&t->connections, 1);
    for (c->have = 0; toy_read_head(c); c->have = 0) {
        c->trailers[0] = '\0';
        atomic_fetch_add(&t->requests, 1);
        if (!(t->serve ? t->serve(c) : toy_serve(c)))
            break;
    }
    close(c->fd);
    free(c);
    atomic_fetch_sub(&t->alive, 1);
    return NULL;
}

static inline void *toy_run(void *arg)
{
    struct toy *t = arg;
    int fd, small = 65536;
    pthread_t thread;

    while ((fd = accept(t->listener, NULL, NULL)) >= 0) {
        struct toy_connection *c = xcalloc(1, sizeof(*c));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        c->toy = t;
        c->fd = fd;
        atomic_fetch_add(&t->alive, 1);
        assert_int_equal(pthread_create(&thread, NULL, toy_connection_run, c), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static inline pthread_t toy_start(struct toy *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int small = 65536;
    pthread_t thread;

    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(t->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(bind(t->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(t->listener, 64), 0);
    assert_int_equal(getsockname(t->listener, (struct sockaddr *)&a, &len), 0);
    t->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&thread, NULL, toy_run, t), 0);
    return thread;
}

/* After its clients have closed their connections. */
static inline void toy_stop(struct toy *t, pthread_t thread)
{
    shutdown(t->listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(t->listener);
    for (int i = 0; i < 2000 && atomic_load(&t->alive) > 0; i++)
        usleep(5000);
    assert_int_equal(atomic_load(&t->alive), 0);
}

#endif
