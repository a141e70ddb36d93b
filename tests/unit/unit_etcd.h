/* unit_etcd.h - an etcd that answers what a test says, for what a real one never does. */
#ifndef ENTREPOT_TESTS_UNIT_ETCD_H
#define ENTREPOT_TESTS_UNIT_ETCD_H

#include "tests/unit/unit.h"

#include "base/buf.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is sent for a path: a status line's status and the body. A body of NULL: nothing, while the client waits. */
struct toy_etcd_answer {
    const char *path; /* "/v3/kv/range"; NULL ends the list */
    int status;       /* 0: the connection is closed */
    const char *body;
    bool stays; /* the answer does not end */
};

struct toy_etcd {
    const struct toy_etcd_answer *answers; /* under the lock */
    int listener, port;
    char url[64];
    atomic_int alive, requests;
    pthread_t thread;
    pthread_mutex_t lock;
    struct buf seen; /* under the lock: "PATH BODY\n" of each request */
};

struct toy_etcd_connection {
    struct toy_etcd *etcd;
    int fd;
};

/* A request's path and body; false: the connection has ended. */
static inline bool toy_etcd_read(int fd, char *head, size_t cap, char **body)
{
    size_t have = 0;
    char *end = NULL;

    while (!end && have < cap - 1) {
        ssize_t n = recv(fd, head + have, cap - 1 - have, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
        head[have] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    const char *length = end ? strcasestr(head, "\r\ncontent-length:") : NULL;
    size_t want = (size_t)(length ? atoi(length + 17) : 0);
    while (end && have < (size_t)(end + 4 - head) + want && have < cap - 1) {
        ssize_t n = recv(fd, head + have, cap - 1 - have, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
        head[have] = '\0';
    }
    *body = end ? end + 4 : head;
    return end != NULL;
}

/* False: the connection ends. */
static inline bool toy_etcd_answer(int fd, const struct toy_etcd_answer *a)
{
    char rest[256];
    size_t len = a->body ? strlen(a->body) : 0;

    if (a->status == 0)
        return false;
    if (a->body) {
        _cleanup_free_ char *head =
            a->stays ? xasprintf("HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", a->status, len)
                     : xasprintf("HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", a->status, len);
        (void)!send(fd, head, strlen(head), MSG_NOSIGNAL);
        for (size_t sent = 0; sent < len;) {
            ssize_t n = send(fd, a->body + sent, len - sent, MSG_NOSIGNAL);
            if (n <= 0)
                return false;
            sent += (size_t)n;
        }
        if (a->stays)
            (void)!send(fd, "\r\n", 2, MSG_NOSIGNAL);
    }
    while (a->stays || !a->body)
        if (recv(fd, rest, sizeof(rest), 0) <= 0)
            return false;
    return true;
}

static inline void *toy_etcd_serve(void *arg)
{
    static const struct toy_etcd_answer none = {"", 404, "{}", false};
    struct toy_etcd_connection *c = arg;
    struct toy_etcd *e = c->etcd;
    char head[16384], *body;
    bool goes_on = true;

    while (goes_on && toy_etcd_read(c->fd, head, sizeof(head), &body)) {
        const char *path = strchr(head, ' ') + 1;
        int len = (int)strcspn(path, " ");
        pthread_mutex_lock(&e->lock);
        const struct toy_etcd_answer *a = e->answers;
        buf_addf(&e->seen, "%.*s %s\n", len, path, body);
        pthread_mutex_unlock(&e->lock);
        atomic_fetch_add(&e->requests, 1);
        while (a->path && (strncmp(a->path, path, (size_t)len) != 0 || a->path[len]))
            a++;
        goes_on = toy_etcd_answer(c->fd, a->path ? a : &none);
    }
    close(c->fd);
    free(c);
    atomic_fetch_sub(&e->alive, 1);
    return NULL;
}

static inline void *toy_etcd_run(void *arg)
{
    struct toy_etcd *e = arg;
    pthread_t thread;
    int fd;

    while ((fd = accept(e->listener, NULL, NULL)) >= 0) {
        struct toy_etcd_connection *c = xcalloc(1, sizeof(*c));
        *c = (struct toy_etcd_connection){e, fd};
        atomic_fetch_add(&e->alive, 1);
        assert_int_equal(pthread_create(&thread, NULL, toy_etcd_serve, c), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static inline void toy_etcd_start(struct toy_etcd *e, const struct toy_etcd_answer *answers)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    *e = (struct toy_etcd){.answers = answers, .lock = PTHREAD_MUTEX_INITIALIZER};
    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(e->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(e->listener, 64), 0);
    assert_int_equal(getsockname(e->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(e->url, sizeof(e->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    assert_int_equal(pthread_create(&e->thread, NULL, toy_etcd_run, e), 0);
}

/* After its clients have ended. */
static inline void toy_etcd_stop(struct toy_etcd *e)
{
    shutdown(e->listener, SHUT_RDWR);
    pthread_join(e->thread, NULL);
    close(e->listener);
    for (int i = 0; i < 2000 && atomic_load(&e->alive) > 0; i++)
        usleep(5000);
    assert_int_equal(atomic_load(&e->alive), 0);
    buf_free(&e->seen);
}

/* How often a text is in what was requested. */
static inline int toy_etcd_saw(struct toy_etcd *e, const char *text)
{
    int count = 0;

    pthread_mutex_lock(&e->lock);
    for (const char *p = e->seen.data; p && (p = strstr(p, text)); p++)
        count++;
    pthread_mutex_unlock(&e->lock);
    return count;
}

#endif
