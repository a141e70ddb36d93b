#include "upstream/connect.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

enum {
    NOTES = 64,      /* known addresses; the oldest is replaced */
    NOTE_MS = 60000, /* how long */
};

/* Milliseconds for an address in each round; 0: as long as the transfer has. The first ends before the kernel
 * retransmits its first packet. */
static const int WAIT_MS[CONNECT_ROUNDS] = {900, 3000, 0};

enum note_kind { NOTE_DEAD = 1, NOTE_SLOW };

struct address_note {
    char address[CONNECT_ADDRESS_MAX]; /* "10.0.0.1 443" */
    enum note_kind kind;
    int64_t until_ms; /* monotonic */
};

/* A socket, from its opening to its end. */
struct connect_attempt {
    LIST_ENTRY(connect_attempt) entry;
    struct connect_table *table;
    int fd;
    ino_t socket; /* the descriptor may be another's by now */
    char address[CONNECT_ADDRESS_MAX];
    void (*given_up)(void *arg, int fd); /* NULL: not wanted */
    void *arg;
    struct event *timer; /* NULL: no limit, or it is over */
};

struct connect_table {
    struct loop *loop;
    LIST_HEAD(, connect_attempt) attempts;
    struct address_note notes[NOTES];
    int next; /* the oldest */
};

/* ---- what is known of addresses ---- */

void connect_name(char out[CONNECT_ADDRESS_MAX], const char *address, int port)
{
    snprintf(out, CONNECT_ADDRESS_MAX, "%s %d", address, port);
}

static void name_address(char out[CONNECT_ADDRESS_MAX], const struct sockaddr *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    int port = 0;

    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        port = ntohs(in->sin_port);
    } else if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)a;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        port = ntohs(in->sin6_port);
    }
    connect_name(out, host, port);
}

static struct address_note *find_note(struct connect_table *t, const char *address)
{
    int64_t now = clock_mono_ms();

    for (int i = 0; i < NOTES; i++)
        if (t->notes[i].until_ms > now && strcmp(t->notes[i].address, address) == 0)
            return &t->notes[i];
    return NULL;
}

static void put_note(struct connect_table *t, const char *address, enum note_kind kind)
{
    struct address_note *n = find_note(t, address);

    if (!n) {
        n = &t->notes[t->next];
        t->next = (t->next + 1) % NOTES;
        snprintf(n->address, sizeof(n->address), "%s", address);
    }
    n->kind = kind;
    n->until_ms = clock_mono_ms() + NOTE_MS;
}

void connect_note(struct connect_table *t, const char *host, int port, int round)
{
    char address[CONNECT_ADDRESS_MAX];

    ON_LOOP(t->loop);
    connect_name(address, host, port);
    struct address_note *n = find_note(t, address);
    if (n && round > 0)
        put_note(t, address, NOTE_SLOW);
    else if (n && n->kind == NOTE_DEAD)
        n->until_ms = 0;
}

/* ---- attempts ---- */

static void attempt_free(struct connect_attempt *a)
{
    LIST_REMOVE(a, entry);
    if (a->timer)
        event_free(a->timer);
    free(a);
}

static ino_t socket_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* libcurl (7.88) closes a socket that has not connected without close_socket(), where its time is over, its transfer is
 * cancelled, or another address was faster. The number is free then, for any loop. */
static bool is_open(const struct connect_attempt *a)
{
    return socket_of(a->fd) == a->socket;
}

static bool is_waiting(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_SYN_SENT;
}

static void look_at_attempt(evutil_socket_t none UNUSED, short what UNUSED, void *arg)
{
    struct connect_attempt *a = arg;

    event_free(a->timer);
    a->timer = NULL;
    if (!is_open(a) || !is_waiting(a->fd))
        return;
    log_debug("%s does not answer: skipped for a while", a->address);
    put_note(a->table, a->address, NOTE_DEAD);
    shutdown(a->fd, SHUT_RDWR);
    if (a->given_up)
        a->given_up(a->arg, a->fd); /* the attempt may be gone */
}

int connect_open(struct connect_table *t, int family, int type, int protocol, const struct sockaddr *address, int round,
                 void (*given_up)(void *arg, int fd), void *arg)
{
    const struct timeval wait = {.tv_sec = WAIT_MS[round] / 1000, .tv_usec = WAIT_MS[round] % 1000 * 1000};
    char name[CONNECT_ADDRESS_MAX];

    ON_LOOP(t->loop);
    name_address(name, address);
    const struct address_note *n = find_note(t, name);
    if (round == 0 && n && n->kind == NOTE_DEAD)
        return -1;
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return fd;
    struct connect_attempt *a = xcalloc(1, sizeof(*a));
    a->table = t;
    a->fd = fd;
    a->socket = socket_of(fd);
    a->given_up = given_up;
    a->arg = arg;
    memcpy(a->address, name, sizeof(name));
    if (WAIT_MS[round] > 0 && (round > 0 || !n)) {
        a->timer = event_new(loop_base(t->loop), -1, 0, look_at_attempt, a);
        event_add(a->timer, &wait);
    }
    LIST_INSERT_HEAD(&t->attempts, a, entry);
    return fd;
}

void connect_close(struct connect_table *t, int fd)
{
    struct connect_attempt *a;

    ON_LOOP(t->loop);
    LIST_FOREACH(a, &t->attempts, entry)
        if (a->fd == fd) {
            attempt_free(a);
            break;
        }
    close(fd);
}

void connect_forget(struct connect_table *t, const void *arg)
{
    struct connect_attempt *a, *next;

    ON_LOOP(t->loop);
    for (a = LIST_FIRST(&t->attempts); a; a = next) {
        next = LIST_NEXT(a, entry);
        if (a->arg != arg)
            continue;
        a->given_up = NULL;
        if (!is_open(a))
            attempt_free(a);
    }
}

size_t connect_count(const struct connect_table *t)
{
    const struct connect_attempt *a;
    size_t n = 0;

    LIST_FOREACH(a, &t->attempts, entry)
        n++;
    return n;
}

static int port_of(int fd)
{
    struct sockaddr_in6 own = {0}; /* a sockaddr_in has its port at the same place */
    socklen_t len = sizeof(own);

    return getsockname(fd, (struct sockaddr *)&own, &len) == 0 ? ntohs(own.sin6_port) : -1;
}

/* Two connections may have the same local port, to different addresses. */
static struct connect_attempt *find_attempt(struct connect_table *t, int own_port, const char *peer)
{
    struct connect_attempt *a;

    LIST_FOREACH(a, &t->attempts, entry)
        if (strcmp(a->address, peer) == 0 && port_of(a->fd) == own_port)
            break;
    return a;
}

static bool has_unacknowledged(struct connect_table *t, int own_port, const char *peer, bool repeated)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    const struct connect_attempt *a = find_attempt(t, own_port, peer);

    return a && getsockopt(a->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_unacked > 0 &&
           (info.tcpi_retransmits > 0) == repeated;
}

bool connect_is_unheard(struct connect_table *t, int own_port, const char *peer)
{
    return has_unacknowledged(t, own_port, peer, true);
}

bool connect_is_unsure(struct connect_table *t, int own_port, const char *peer)
{
    return has_unacknowledged(t, own_port, peer, false);
}

void connect_shut(struct connect_table *t, int own_port, const char *peer)
{
    const struct connect_attempt *a = find_attempt(t, own_port, peer);

    ON_LOOP(t->loop);
    if (a)
        shutdown(a->fd, SHUT_RDWR);
}

/* ---- the table ---- */

struct connect_table *connect_table_new(struct loop *loop)
{
    struct connect_table *t = xcalloc(1, sizeof(*t));

    t->loop = loop;
    LIST_INIT(&t->attempts);
    return t;
}

void connect_table_free(struct connect_table *t)
{
    if (!t)
        return;
    while (!LIST_EMPTY(&t->attempts))
        attempt_free(LIST_FIRST(&t->attempts));
    free(t);
}
