/* bounds.h - how many connections clients may have, all together and each address.
 *
 * One for a set of listeners, shared by the servers of all loops. A connection takes a seat when it is accepted and
 * gives it back when it is closed. Where there is none, the connection that has been idle for longest is closed to
 * free a seat: at once if it is of this loop, else another loop has SEAT_WAIT_MS to close one. If no seat is free then,
 * the client's request is answered 503 with Retry-After; beyond OVER connections that wait for that answer, new ones
 * are reset.
 *
 * Addresses: all of an IPv6 /64 are one client. Loopback and unix sockets are not counted by address, since all engines
 * of a node are one client there. Any thread; the servers must be told before their loops start.
 */
#ifndef ENTREPOT_PROXY_HTTP_BOUNDS_H
#define ENTREPOT_PROXY_HTTP_BOUNDS_H

#include "proxy/http/http.h"

#include <sys/socket.h>

struct http_bounds;

struct http_bounds_stats {
    int connections, clients;              /* now; clients: addresses that are counted */
    uint64_t refused_full, refused_client; /* 503 or reset: no seat at all, none for this address */
    uint64_t idle_closed;                  /* to free a seat */
};

/* `name` is the limit in the log ("limits.connections"); a literal. per_client 0: no such limit. */
struct http_bounds *http_bounds_new(const char *name, int connections, int per_client, int over);
/* Other numbers for new connections; those that are there stay. Addresses are counted from the first connection that
 * comes while per_client is set. Any thread. */
void http_bounds_set(struct http_bounds *b, int connections, int per_client);
/* Closes no more idle connections. After the loops have ended, before the servers are freed. */
void http_bounds_close(struct http_bounds *b);
/* After the servers, and the loops. */
void http_bounds_free(struct http_bounds *b);
void http_bounds_add_server(struct http_bounds *b, struct http_server *s);
void http_bounds_get_stats(struct http_bounds *b, struct http_bounds_stats *out);

/* As http_server_accept(), if there is a seat. */
void http_bounds_accept(struct http_bounds *b, struct http_server *s, const struct http_arrival *arrival,
                        const struct sockaddr *peer);

#endif
