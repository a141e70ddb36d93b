/* relay PORT UPSTREAM_PORT RTT_MS CONNECTION_RATE LINK_RATE: a network between 127.0.0.1:PORT and
 * 127.0.0.1:UPSTREAM_PORT, where the kernel has no netem. Each direction takes half of the round trip, a new
 * connection one round trip more (its handshake). Of what the upstream sends, each connection carries at most
 * CONNECTION_RATE bytes a second, all of them together LINK_RATE; 0: no limit. Runs until it is ended.
 *
 *     upstream ──read at the rates──▶ ring, each read stamped with when it is due ──▶ client
 *
 * Rates are kept by virtual time: a read of n bytes occupies its connection and the link for n / rate seconds; what
 * is to be read next waits while either is occupied for more than QUEUE_MS ahead, as in a router's queue. Memory is
 * bounded: so many connections, and a ring for each direction. One thread, no locks. */
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

enum {
    CONNECTIONS = 256,
    DOWN_RING = 4 << 20, /* 30 ms of a Gbit are 3.75 MB */
    UP_RING = 256 << 10,
    READ_MAX = 64 << 10,
    STAMPS = 1024,
    QUEUE_MS = 20,
    UPSTREAM_BUFFER = 128 << 10, /* so that an upstream is not far ahead of a client that leaves */
};

static const int64_t MS = 1000000, SECOND = 1000000000, FOREVER = INT64_MAX;

struct stamp {
    uint64_t end; /* of the bytes, counted from the flow's beginning */
    int64_t due;
};

/* One direction of a connection. */
struct flow {
    int from, to;
    bool readable, writable, ended, shut;
    char *ring;
    size_t size;
    uint64_t in, out; /* bytes read and written since the beginning */
    struct stamp stamps[STAMPS];
    unsigned first, count;
    int64_t opens;       /* nothing arrives before: the handshake */
    int64_t rate, until; /* bytes a second; occupied until then */
    bool limited;        /* by the link too */
};

struct conn;

struct end { /* what epoll knows */
    struct conn *conn;
    int fd;
};

struct conn {
    struct end client, upstream;
    bool dead;
    struct flow up, down;
    TAILQ_ENTRY(conn) entry;
};

static TAILQ_HEAD(conn_list, conn) conns = TAILQ_HEAD_INITIALIZER(conns);
static int conn_count, poller;
static int64_t rtt, conn_rate, link_rate, link_until, wake;

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void wake_at(int64_t when)
{
    wake = MIN(wake, when);
}

/* Occupies what goes at `rate` for n bytes; the end of that. */
static int64_t occupy(int64_t *until, int64_t rate, size_t n, int64_t now)
{
    if (rate == 0)
        return now;
    *until = MAX(*until, now) + (int64_t)n * SECOND / rate;
    return *until;
}

static bool may_read(const struct flow *f, int64_t now)
{
    int64_t busy = MAX(f->until, f->limited ? link_until : 0) - QUEUE_MS * MS;

    if (!f->readable || f->ended || f->count == STAMPS || f->in - f->out == f->size)
        return false;
    if (busy > now)
        wake_at(busy);
    return busy <= now;
}

static void stamp(struct flow *f, size_t n, int64_t now)
{
    int64_t sent = occupy(&f->until, f->rate, n, now),
            linked = f->limited ? occupy(&link_until, link_rate, n, now) : now;
    int64_t due = MAX(MAX(sent, linked), f->opens);

    f->in += n;
    f->stamps[(f->first + f->count++) % STAMPS] = (struct stamp){f->in, due + rtt / 2};
}

/* One read, so that connections take turns. False if the connection is broken. */
static bool flow_read(struct flow *f, int64_t now, bool *did)
{
    size_t at = f->in % f->size, room = f->size - (f->in - f->out);
    ssize_t n;

    if (!may_read(f, now))
        return true;
    n = read(f->from, f->ring + at, MIN(MIN(room, f->size - at), (size_t)READ_MAX));
    if (n < 0) {
        f->readable = false;
        return errno == EAGAIN || errno == EINTR;
    }
    f->ended = n == 0;
    stamp(f, (size_t)n, now);
    *did = true;
    return true;
}

/* Writes what is due. False if the connection is broken. */
static bool flow_write(struct flow *f, int64_t now, bool *did)
{
    while (f->count > 0 && f->writable && f->stamps[f->first].due <= now) {
        const struct stamp *s = &f->stamps[f->first];
        size_t at = f->out % f->size, len = MIN((size_t)(s->end - f->out), f->size - at);
        ssize_t n = len > 0 ? send(f->to, f->ring + at, len, MSG_NOSIGNAL) : 0;

        if (n < 0) {
            f->writable = false;
            return errno == EAGAIN || errno == EINTR;
        }
        f->out += (size_t)n;
        if (f->out == s->end) {
            f->first = (f->first + 1) % STAMPS;
            f->count--;
        }
        *did = true;
    }
    if (f->count > 0 && f->writable)
        wake_at(f->stamps[f->first].due);
    if (f->ended && f->count == 0 && !f->shut) {
        shutdown(f->to, SHUT_WR);
        f->shut = true;
    }
    return true;
}

static void conn_pump(struct conn *c, int64_t now, bool *did)
{
    if (!flow_write(&c->up, now, did) || !flow_write(&c->down, now, did) || !flow_read(&c->up, now, did) ||
        !flow_read(&c->down, now, did) || (c->up.shut && c->down.shut))
        c->dead = true;
}

static void conn_free(struct conn *c)
{
    TAILQ_REMOVE(&conns, c, entry);
    conn_count--;
    close(c->client.fd);
    close(c->upstream.fd);
    free(c->up.ring);
    free(c->down.ring);
    free(c);
}

/* Until nothing moves at this moment. */
static void pump_all(void)
{
    struct conn *c, *next;
    bool did = true;

    while (did) {
        int64_t now = now_ns();
        did = false;
        wake = FOREVER;
        for (c = TAILQ_FIRST(&conns); c; c = next) {
            next = TAILQ_NEXT(c, entry);
            conn_pump(c, now, &did);
            if (c->dead)
                conn_free(c);
        }
        if ((c = TAILQ_FIRST(&conns))) { /* another one is the first next time */
            TAILQ_REMOVE(&conns, c, entry);
            TAILQ_INSERT_TAIL(&conns, c, entry);
        }
    }
}

static struct sockaddr_in address(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int connect_upstream(int port)
{
    struct sockaddr_in to = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = UPSTREAM_BUFFER;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void watch(int fd, struct end *end)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end};
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0)
        fail("epoll_ctl");
}

static void flow_begin(struct flow *f, int from, int to, size_t ring)
{
    *f = (struct flow){.from = from, .to = to, .size = ring, .ring = xmalloc(ring)};
}

static void conn_begin(int client, int upstream)
{
    struct conn *c = xcalloc(1, sizeof(*c));

    c->client = (struct end){c, client};
    c->upstream = (struct end){c, upstream};
    flow_begin(&c->up, client, upstream, UP_RING);
    flow_begin(&c->down, upstream, client, DOWN_RING);
    c->up.opens = now_ns() + rtt;
    c->down.rate = conn_rate;
    c->down.limited = true;
    TAILQ_INSERT_TAIL(&conns, c, entry);
    conn_count++;
    watch(client, &c->client);
    watch(upstream, &c->upstream);
}

static void accept_all(int listener, int upstream_port)
{
    int client;

    while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int upstream = conn_count < CONNECTIONS ? connect_upstream(upstream_port) : -1;

        if (upstream >= 0)
            conn_begin(client, upstream);
        else
            close(client);
    }
}

static void on_event(const struct epoll_event *e)
{
    struct end *end = e->data.ptr;
    struct conn *c = end->conn;
    bool is_client = end == &c->client;
    struct flow *from = is_client ? &c->up : &c->down, *to = is_client ? &c->down : &c->up;

    if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        from->readable = true;
    if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        to->writable = true;
}

static int listen_on(int port)
{
    struct sockaddr_in on = address(port);
    struct epoll_event e = {.events = EPOLLIN};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        bind(fd, (struct sockaddr *)&on, sizeof(on)) != 0 || listen(fd, CONNECTIONS) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0)
        fail("listen");
    return fd;
}

static struct timespec *until_wake(struct timespec *t)
{
    int64_t wait = MAX(wake - now_ns(), 0);

    if (wake == FOREVER)
        return NULL;
    *t = (struct timespec){wait / SECOND, wait % SECOND};
    return t;
}

int main(int argc, char **argv)
{
    struct epoll_event events[64];
    struct timespec t;
    int listener, upstream_port;

    if (argc != 6) {
        fprintf(stderr, "relay PORT UPSTREAM_PORT RTT_MS CONNECTION_RATE LINK_RATE\n");
        return 2;
    }
    upstream_port = atoi(argv[2]);
    rtt = (int64_t)(atof(argv[3]) * (double)MS);
    conn_rate = atoll(argv[4]);
    link_rate = atoll(argv[5]);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(EPOLL_CLOEXEC);
    listener = listen_on(atoi(argv[1]));
    wake = FOREVER;
    while (true) {
        int n = epoll_pwait2(poller, events, ARRAY_LEN(events), until_wake(&t), NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_event(&events[i]);
            else
                accept_all(listener, upstream_port);
        }
        pump_all();
    }
}
