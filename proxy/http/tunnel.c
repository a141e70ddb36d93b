/* A connection behind CONNECT that passes bytes.
 *
 *     client ── link ──▶ scratch ──▶ fd        what fd does not take waits in `up`
 *     client ◀── link ── scratch ◀── fd        what the client does not take waits in conn->out
 *
 * A side is read only while nothing waits for the other one: a direction holds one read, HTTP_TUNNEL_MAX bytes, at
 * most. The end of a side's input is passed on; a tunnel that ends in another way is reset on both sides, so that
 * neither takes what it has received for the whole. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 8 /* a turn: other connections wait */ };

struct http_tunnel {
    int fd;
    struct evbuffer *up;
    struct event *readable, *writable;
    bool client_ended, far_ended;
    int64_t moved_ms; /* the last byte, monotonic */
};

enum moved { MOVED, WAITS, BROKEN };

static atomic_int tunnels;

_Static_assert((int)HTTP_READ_MAX <= (int)HTTP_TUNNEL_MAX, "one read");

int http_tunnels(void)
{
    return atomic_load(&tunnels);
}

static struct event *tunnel_event(const struct http_conn *c, short what, event_callback_fn wake)
{
    struct event *e = event_new(loop_base(c->server->loop), c->tunnel->fd, what | EV_PERSIST, wake, (void *)c);

    if (!e)
        abort(); /* as without memory anywhere */
    return e;
}

void http_tunnel_begin(struct http_conn *c, event_callback_fn wake)
{
    struct http_tunnel *t = xcalloc(1, sizeof(*t));

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_TUNNEL && !c->tunnel);
    c->tunnel = t;
    t->fd = c->next_fd;
    t->up = evbuffer_new();
    t->readable = tunnel_event(c, EV_READ, wake);
    t->writable = tunnel_event(c, EV_WRITE, wake);
    t->moved_ms = clock_mono_ms();
    if (!t->up || evbuffer_add_buffer(t->up, c->in) != 0) /* what came right behind the head */
        abort();
    atomic_fetch_add(&tunnels, 1);
}

static enum moved tunnel_result(ssize_t n)
{
    if (n > 0)
        return MOVED;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? WAITS : BROKEN;
}

/* Sent: what was, of `len` bytes at the server's scratch; -1 with errno. The rest is kept in `rest`. */
static enum moved keep_rest(const struct http_conn *c, ssize_t sent, size_t len, struct evbuffer *rest)
{
    if (tunnel_result(sent) == BROKEN)
        return BROKEN;
    size_t n = (size_t)MAX(sent, (ssize_t)0);
    if (n < len)
        evbuffer_add(rest, c->server->scratch + n, len - n);
    return MOVED;
}

/* A far side that takes no more may have given its reason before: that still goes to the client. */
static enum moved far_result(struct http_tunnel *t, enum moved result)
{
    if (result != BROKEN)
        return result;
    t->client_ended = true;
    evbuffer_drain(t->up, SIZE_MAX);
    return MOVED;
}

static enum moved pass_up(struct http_conn *c, struct http_tunnel *t)
{
    char *scratch = c->server->scratch;

    if (evbuffer_get_length(t->up) > 0)
        return far_result(t, tunnel_result(evbuffer_write(t->up, t->fd)));
    if (t->client_ended)
        return WAITS;
    ssize_t n = c->link.kind->read(&c->link, scratch, HTTP_READ_MAX);
    if (n > 0)
        return far_result(t, keep_rest(c, send(t->fd, scratch, (size_t)n, MSG_NOSIGNAL), (size_t)n, t->up));
    if (n < 0)
        return tunnel_result(n);
    t->client_ended = true;
    shutdown(t->fd, SHUT_WR);
    return MOVED;
}

static enum moved pass_down(struct http_conn *c, struct http_tunnel *t)
{
    char *scratch = c->server->scratch;

    if (evbuffer_get_length(c->out.data) > 0) {
        size_t before = evbuffer_get_length(c->out.data);
        ssize_t sent = c->link.kind->write(&c->link, &c->out, HTTP_TUNNEL_MAX);
        c->req.sent += (int64_t)(before - evbuffer_get_length(c->out.data));
        return tunnel_result(sent);
    }
    if (t->far_ended)
        return WAITS;
    ssize_t n = recv(t->fd, scratch, HTTP_READ_MAX, 0);
    if (n > 0) {
        ssize_t sent = c->link.kind->send(&c->link, scratch, (size_t)n);
        c->req.sent += MAX(sent, (ssize_t)0);
        return keep_rest(c, sent, (size_t)n, c->out.data);
    }
    if (n < 0)
        return tunnel_result(n);
    t->far_ended = true;
    c->link.kind->end_output(&c->link);
    return MOVED;
}

static void wait_for(struct event *e, short what, bool wanted)
{
    bool pending = event_pending(e, what, NULL) != 0;

    if (wanted && !pending)
        event_add(e, NULL);
    else if (!wanted && pending)
        event_del(e);
}

static bool is_over(const struct http_conn *c, const struct http_tunnel *t)
{
    return t->client_ended && t->far_ended && evbuffer_get_length(t->up) == 0 && evbuffer_get_length(c->out.data) == 0;
}

bool http_tunnel_pass(struct http_conn *c)
{
    struct http_tunnel *t = c->tunnel;
    enum moved up = MOVED, down = MOVED;
    int rounds = 0;

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_TUNNEL);
    c->link.wants_write = false;
    for (; rounds < ROUNDS && (up == MOVED || down == MOVED); rounds++) {
        up = pass_up(c, t);
        down = up == BROKEN ? BROKEN : pass_down(c, t);
        if (up == BROKEN || down == BROKEN || is_over(c, t))
            return false;
    }
    if (rounds > 1)
        t->moved_ms = clock_mono_ms();
    bool up_waits = evbuffer_get_length(t->up) > 0, down_waits = evbuffer_get_length(c->out.data) > 0;
    wait_for(c->readable, EV_READ, !t->client_ended && !up_waits);
    wait_for(t->writable, EV_WRITE, up_waits);
    wait_for(t->readable, EV_READ, !t->far_ended && !down_waits);
    wait_for(c->writable, EV_WRITE, down_waits || c->link.wants_write);
    if (rounds == ROUNDS) /* TLS may hold more, of which the socket says nothing */
        event_add(c->turn, &(struct timeval){0});
    return true;
}

bool http_tunnel_is_idle(const struct http_conn *c, int64_t now)
{
    const struct http_limits *l = &c->server->limits;
    const struct http_tunnel *t = c->tunnel;
    bool half = (t->client_ended || t->far_ended) && l->tunnel_half_ms > 0;

    return now - t->moved_ms > (half ? l->tunnel_half_ms : l->tunnel_idle_ms);
}

void http_tunnel_end(struct http_conn *c)
{
    struct http_tunnel *t = c->tunnel;
    const struct linger reset = {.l_onoff = 1};

    ON_LOOP(c->server->loop);
    if (!t->client_ended || !t->far_ended) {
        setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        setsockopt(c->link.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    event_free(t->readable);
    event_free(t->writable);
    evbuffer_free(t->up);
    close(t->fd);
    free(t);
    c->tunnel = NULL;
    atomic_fetch_sub(&tunnels, 1);
}
