#include "proxy/http/bounds.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/http/private.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum {
    SERVERS_MAX = 64,
    BUCKETS = 1024,
    ADDRESS = 8,         /* bytes of the key: an IPv4 address, or what names an IPv6 network */
    FRESH_MS = 1000,     /* who has just come is not idle: its first request is on its way */
    LOOK_AT_MOST = 1024, /* idle connections, for one of this client */
    SETTLE_MS = 50,
    RETRY_AFTER_S = 1,
};

struct http_peer {
    LIST_ENTRY(http_peer) entry;
    uint8_t address[ADDRESS];
    int count;
};

struct http_bounds {
    /* set once */
    const char *name;
    int connections, per_client, over;
    struct http_server *servers[SERVERS_MAX];
    int server_count;
    bool closed; /* by the thread that runs what the loops have left */
    /* shared, under `lock` */
    pthread_mutex_t lock;
    LIST_HEAD(, http_peer) peers[BUCKETS];
    struct http_bounds_stats stats;
    int over_count;
};

struct http_bounds *http_bounds_new(const char *name, int connections, int per_client, int over)
{
    struct http_bounds *b = xcalloc(1, sizeof(*b));

    b->name = name;
    b->connections = connections;
    b->per_client = per_client;
    b->over = over;
    pthread_mutex_init(&b->lock, NULL);
    return b;
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
    if (b->server_count < SERVERS_MAX)
        b->servers[b->server_count++] = s;
}

void http_bounds_get_stats(struct http_bounds *b, struct http_bounds_stats *out)
{
    pthread_mutex_lock(&b->lock);
    *out = b->stats;
    pthread_mutex_unlock(&b->lock);
}

/* ---- seats ---- */

/* False: it is not counted by address. */
static bool address_of(const struct sockaddr *peer, uint8_t out[ADDRESS])
{
    memset(out, 0, ADDRESS);
    if (peer && peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)peer;
        memcpy(out, &in->sin_addr, 4);
        return out[0] != 127;
    }
    if (!peer || peer->sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a)) {
        memcpy(out, a->s6_addr + 12, 4);
        return out[0] != 127;
    }
    memcpy(out, a->s6_addr, ADDRESS);
    return !IN6_IS_ADDR_LOOPBACK(a);
}

static struct http_peer *find_peer(struct http_bounds *b, const uint8_t address[ADDRESS])
{
    uint32_t hash = 2166136261u;
    struct http_peer *p;

    for (int i = 0; i < ADDRESS; i++)
        hash = (hash ^ address[i]) * 16777619u;
    LIST_FOREACH(p, &b->peers[hash % BUCKETS], entry)
        if (memcmp(p->address, address, ADDRESS) == 0)
            return p;
    p = xcalloc(1, sizeof(*p));
    memcpy(p->address, address, ADDRESS);
    LIST_INSERT_HEAD(&b->peers[hash % BUCKETS], p, entry);
    b->stats.clients++;
    return p;
}

static void drop_peer(struct http_bounds *b, struct http_peer *p)
{
    if (!p || p->count > 0)
        return;
    LIST_REMOVE(p, entry);
    b->stats.clients--;
    free(p);
}

/* Takes a seat for this client, or says why there is none. */
static enum http_over take_seat(struct http_bounds *b, const struct http_seat *wanted, struct http_seat *out)
{
    enum http_over over = HTTP_SEATED;

    pthread_mutex_lock(&b->lock);
    struct http_peer *p = wanted->counted ? find_peer(b, wanted->address) : NULL;
    if (p && b->per_client > 0 && p->count >= b->per_client)
        over = HTTP_OVER_CLIENT;
    else if (b->stats.connections >= b->connections)
        over = HTTP_OVER_ALL;
    if (over == HTTP_SEATED) {
        *out = *wanted;
        out->bounds = b;
        out->peer = p;
        out->over = HTTP_SEATED;
        b->stats.connections++;
        if (p)
            p->count++;
    }
    drop_peer(b, p);
    pthread_mutex_unlock(&b->lock);
    return over;
}

void http_seat_leave(struct http_seat *seat)
{
    struct http_bounds *b = seat->bounds;

    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    if (seat->over) {
        b->over_count--;
    } else {
        b->stats.connections--;
        if (seat->peer)
            seat->peer->count--;
        drop_peer(b, seat->peer);
    }
    pthread_mutex_unlock(&b->lock);
    seat->bounds = NULL;
}

/* ---- making room ---- */

/* One that has been idle for longest; of this client alone, if it is said. */
static bool close_idle(struct http_server *s, struct http_bounds *b, const struct http_seat *of)
{
    int64_t now = clock_mono_ms();
    int looked = 0;
    struct http_conn *c;

    TAILQ_FOREACH(c, &s->idle, idle_entry) {
        if (++looked > LOOK_AT_MOST)
            break;
        bool fresh = !c->served && now - c->since_ms < FRESH_MS;
        bool is_of = !of || (c->seat.counted && memcmp(c->seat.address, of->address, ADDRESS) == 0);
        if (fresh || !is_of || c->seat.bounds != b || c->seat.over) /* (one without a seat frees none) */
            continue;
        http_conn_close(c);
        pthread_mutex_lock(&b->lock);
        b->stats.idle_closed++;
        pthread_mutex_unlock(&b->lock);
        return true;
    }
    return false;
}

struct plea {
    struct http_server *server;
    struct http_bounds *bounds;
    bool for_client;
    struct http_seat of;
};

static void hear_plea(void *arg)
{
    struct plea *p = arg;

    if (!p->bounds->closed)
        close_idle(p->server, p->bounds, p->for_client ? &p->of : NULL);
    free(p);
}

static void plead(struct http_bounds *b, struct http_server *with, const struct http_seat *of)
{
    struct plea *p = xcalloc(1, sizeof(*p));

    p->server = with;
    p->bounds = b;
    p->for_client = of != NULL;
    if (of)
        p->of = *of;
    loop_post(with->loop, hear_plea, p);
}

/* Which loop has one of this client is not known; of all, the one that has most is the one to ask. */
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

static void note_refused(struct http_bounds *b, enum http_over over)
{
    pthread_mutex_lock(&b->lock);
    if (over == HTTP_OVER_CLIENT)
        b->stats.refused_client++;
    else
        b->stats.refused_full++;
    pthread_mutex_unlock(&b->lock);
    if (over == HTTP_OVER_CLIENT)
        log_limited(LOG_LEVEL_WARN, "per_client", "a client has %d connections: more are refused (limits.per_client)",
                    b->per_client);
    else
        log_limited(LOG_LEVEL_WARN, b->name, "%d connections are open: more are refused (%s)", b->connections, b->name);
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

/* Those that wait for their refusal, or for an idle one to go. */
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

void http_bounds_accept(struct http_bounds *b, struct http_server *s, int fd, const void *listener,
                        const struct sockaddr *peer)
{
    struct http_seat wanted = {0}, seat;

    wanted.counted = b->per_client > 0 && address_of(peer, wanted.address);
    enum http_over over = take_seat(b, &wanted, &seat);
    if (over != HTTP_SEATED && close_idle(s, b, over == HTTP_OVER_CLIENT ? &wanted : NULL))
        over = take_seat(b, &wanted, &seat);
    if (over != HTTP_SEATED) {
        ask_other_loops(b, s, over == HTTP_OVER_CLIENT ? &wanted : NULL);
        if (!take_over_seat(b, &wanted, over, &seat)) {
            note_refused(b, over);
            reset(fd);
            return;
        }
    }
    http_conn_seat(s, fd, listener, &seat, over != HTTP_SEATED ? SETTLE_MS : 0);
}

void http_seat_settle(struct http_seat *seat)
{
    struct http_seat taken;

    if (take_seat(seat->bounds, seat, &taken) != HTTP_SEATED)
        return;
    http_seat_leave(seat);
    *seat = taken;
}

void http_seat_refuse(const struct http_seat *seat, struct http_request *req)
{
    note_refused(seat->bounds, seat->over);
    http_reply_header(req, "Retry-After", "%d", (int)RETRY_AFTER_S);
}
