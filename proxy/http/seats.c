#include "proxy/http/seats.h"

#include "base/assert.h"
#include "base/log.h"

#include <netinet/in.h>
#include <string.h>

/* False: it is not counted by address. */
bool http_seat_address(const struct sockaddr *peer, uint8_t out[HTTP_ADDRESS_LEN])
{
    memset(out, 0, HTTP_ADDRESS_LEN);
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
    memcpy(out, a->s6_addr, HTTP_ADDRESS_LEN);
    return !IN6_IS_ADDR_LOOPBACK(a);
}

static struct http_peer *find_peer(struct http_bounds *b, const uint8_t address[HTTP_ADDRESS_LEN])
{
    uint32_t hash = 2166136261u;
    struct http_peer *p;

    HOLDS(&b->lock);
    for (int i = 0; i < HTTP_ADDRESS_LEN; i++)
        hash = (hash ^ address[i]) * 16777619u;
    LIST_FOREACH(p, &b->peers[hash % HTTP_PEER_BUCKETS], entry)
        if (memcmp(p->address, address, HTTP_ADDRESS_LEN) == 0)
            return p;
    p = xcalloc(1, sizeof(*p));
    memcpy(p->address, address, HTTP_ADDRESS_LEN);
    LIST_INSERT_HEAD(&b->peers[hash % HTTP_PEER_BUCKETS], p, entry);
    b->stats.clients++;
    return p;
}

static void drop_peer(struct http_bounds *b, struct http_peer *p)
{
    HOLDS(&b->lock);
    if (!p || p->count > 0)
        return;
    LIST_REMOVE(p, entry);
    b->stats.clients--;
    free(p);
}

/* Takes a seat for this client, or returns why there is none. */
enum http_over http_seat_take(struct http_bounds *b, const struct http_seat *wanted, struct http_seat *out)
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

void http_seat_note_refused(struct http_bounds *b, enum http_over over)
{
    pthread_mutex_lock(&b->lock);
    if (over == HTTP_OVER_CLIENT)
        b->stats.refused_client++;
    else
        b->stats.refused_full++;
    pthread_mutex_unlock(&b->lock);
    if (over == HTTP_OVER_CLIENT)
        log_limited(LOG_LEVEL_WARN, "per_client", "a client has %d connections: more are refused (limits.per_client)",
                    atomic_load(&b->per_client));
    else
        log_limited(LOG_LEVEL_WARN, b->name, "%d connections are open: more are refused (%s)",
                    atomic_load(&b->connections), b->name);
}

void http_seat_retry(struct http_seat *seat)
{
    struct http_seat taken;

    if (http_seat_take(seat->bounds, seat, &taken) != HTTP_SEATED)
        return;
    http_seat_leave(seat);
    *seat = taken;
}

void http_seat_refuse(const struct http_seat *seat)
{
    http_seat_note_refused(seat->bounds, seat->over);
}
