#include "proxy/http/bounds.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/seats.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum {
    FRESH_MS = 1000,     /* a new connection is not idle: its first request is on its way */
    LOOK_AT_MOST = 1024, /* idle connections, for one of this client */
    SEAT_WAIT_MS = 50,
};

struct http_bounds *http_bounds_new(const char *name, int connections, int per_client, int over)
{
    struct http_bounds *b = xcalloc(1, sizeof(*b));

    b->name = name;
    http_bounds_set(b, connections, per_client);
    b->over = over;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

void http_bounds_set(struct http_bounds *b, int connections, int per_client)
{
    atomic_store(&b->connections, connections);
    atomic_store(&b->per_client, per_client);
}

void http_bounds_free(struct http_bounds *b)
{
    if (!b)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void http_bounds_close(struct http_bounds *b)
{
    if (b)
        b->closed = true;
}

void http_bounds_add_server(struct http_bounds *b, struct http_server *s)
{
    if (b->server_count < HTTP_SERVERS_MAX)
        b->servers[b->server_count++] = s;
}

void http_bounds_get_stats(struct http_bounds *b, struct http_bounds_stats *out)
{
    pthread_mutex_lock(&b->lock);
    *out = b->stats;
    pthread_mutex_unlock(&b->lock);
}

/* ---- freeing a seat ---- */

/* Closes the connection that has been idle for longest; `of`: of this client alone. On the loop of the server. */
static bool close_idle(struct http_server *s, struct http_bounds *b, const struct http_seat *of)
{
    int64_t now = clock_mono_ms();
    int looked = 0;
    struct http_conn *c;

    ON_LOOP(s->loop);
    TAILQ_FOREACH(c, &s->idle, idle_entry) {
        if (c->seat.bounds != b)
            continue;
        if (++looked > LOOK_AT_MOST)
            break;
        bool fresh = !c->served && now - c->since_ms < FRESH_MS;
        bool is_of = !of || (c->seat.counted && memcmp(c->seat.address, of->address, HTTP_ADDRESS_LEN) == 0);
        if (fresh || !is_of || c->seat.over) /* (one without a seat frees none) */
            continue;
        http_conn_close(c);
        pthread_mutex_lock(&b->lock);
        b->stats.idle_closed++;
        pthread_mutex_unlock(&b->lock);
        return true;
    }
    return false;
}

struct bounds_plea {
    struct http_server *server;
    struct http_bounds *bounds;
    bool for_client;
    struct http_seat of;
};

static void hear_plea(void *arg)
{
    struct bounds_plea *p = arg;

    if (!p->bounds->closed)
        close_idle(p->server, p->bounds, p->for_client ? &p->of : NULL);
    free(p);
}

static void plead(struct http_bounds *b, struct http_server *with, const struct http_seat *of)
{
    struct bounds_plea *p = xcalloc(1, sizeof(*p));

    p->server = with;
    p->bounds = b;
    p->for_client = of != NULL;
    if (of)
        p->of = *of;
    loop_post(with->loop, hear_plea, p);
}

/* Every other loop may have one of this client; for one of any client, the loop with the most is asked. */
static void ask_other_loops(struct http_bounds *b, const struct http_server *but, const struct http_seat *of)
{
    struct http_server *best = NULL;
    int most = 0;

    for (int i = 0; i < b->server_count; i++) {
        struct http_server *s = b->servers[i];
        int idle = atomic_load_explicit(&s->idle_count, memory_order_relaxed);
        if (s == but || idle == 0)
            continue;
        if (of)
            plead(b, s, of);
        else if (idle > most)
            best = s;
        most = MAX(most, idle);
    }
    if (best)
        plead(b, best, NULL);
}

/* ---- accepting ---- */

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

/* A place among those that wait to be refused, or for an idle connection to be closed. */
static bool take_over_seat(struct http_bounds *b, const struct http_seat *wanted, enum http_over over,
                           struct http_seat *out)
{
    pthread_mutex_lock(&b->lock);
    bool ok = b->over_count < b->over;
    b->over_count += ok;
    pthread_mutex_unlock(&b->lock);
    *out = *wanted;
    out->bounds = b;
    out->over = over;
    return ok;
}

void http_bounds_accept(struct http_bounds *b, struct http_server *s, const struct http_arrival *arrival,
                        const struct sockaddr *peer)
{
    struct http_seat wanted = {0}, seat;

    ON_LOOP(s->loop);
    wanted.counted = b->per_client > 0 && http_seat_address(peer, wanted.address);
    enum http_over over = http_seat_take(b, &wanted, &seat);
    if (over != HTTP_SEATED && close_idle(s, b, over == HTTP_OVER_CLIENT ? &wanted : NULL))
        over = http_seat_take(b, &wanted, &seat);
    if (over != HTTP_SEATED) {
        ask_other_loops(b, s, over == HTTP_OVER_CLIENT ? &wanted : NULL);
        if (!take_over_seat(b, &wanted, over, &seat)) {
            http_seat_note_refused(b, over);
            reset(arrival->fd);
            return;
        }
    }
    http_conn_seat(s, arrival, &seat, over != HTTP_SEATED ? SEAT_WAIT_MS : 0);
}
