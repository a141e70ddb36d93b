/* seats.h - how many connections each client has: the table behind bounds.h. Internal to this folder; any thread. */
#ifndef ENTREPOT_PROXY_HTTP_SEATS_H
#define ENTREPOT_PROXY_HTTP_SEATS_H

#include "proxy/http/bounds.h"
#include "proxy/http/private.h"

#include <pthread.h>

enum {
    HTTP_SERVERS_MAX = 64,
    HTTP_PEER_BUCKETS = 1024,
    HTTP_ADDRESS_LEN = 8, /* bytes of the key: an IPv4 address, or what names an IPv6 network */
};

struct http_peer {
    LIST_ENTRY(http_peer) entry;
    uint8_t address[HTTP_ADDRESS_LEN];
    int count;
};

struct http_bounds {
    /* set once */
    const char *name;
    int over;
    atomic_int connections, per_client;
    struct http_server *servers[HTTP_SERVERS_MAX];
    int server_count;
    bool closed; /* by the main thread, after the loops have ended */
    /* shared, under `lock` */
    pthread_mutex_t lock;
    LIST_HEAD(, http_peer) peers[HTTP_PEER_BUCKETS];
    struct http_bounds_stats stats;
    int over_count;
};

/* The key of an address. False if its connections are not counted by address. */
bool http_seat_address(const struct sockaddr *peer, uint8_t out[HTTP_ADDRESS_LEN]);
/* A seat as `wanted`, if there is one; else why not. */
enum http_over http_seat_take(struct http_bounds *b, const struct http_seat *wanted, struct http_seat *seat);
void http_seat_note_refused(struct http_bounds *b, enum http_over over);

#endif
