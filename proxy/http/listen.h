/* listen.h - where clients come in: TCP addresses with SO_REUSEPORT (one socket a serve loop, so that the kernel
 * spreads connections), unix sockets, and sockets handed over by systemd (sd_listen_fds(3)), which the loops share.
 *
 * Made and freed by the main thread; accepting happens on the loops.
 */
#ifndef ENTREPOT_PROXY_HTTP_LISTEN_H
#define ENTREPOT_PROXY_HTTP_LISTEN_H

#include "proxy/http/http.h"
#include "proxy/http/bounds.h"

#include <sys/types.h>

struct listener;

/* `address` is "ADDR:PORT", "[v6]:PORT" or "unix:/path" (made with `mode`). Checks that it can be bound. Errors:
 * ERR_INVALID (not an address), ERR_IO (in use, not ours). */
struct listener *listener_open(const char *address, mode_t mode, struct err *err);
/* The same; `beside`: a listener of ours has this port now, perhaps for another address, and is about to leave it. */
struct listener *listener_open_beside(const char *address, mode_t mode, bool beside, struct err *err);
/* Wraps a listening socket that was handed over (systemd); owns it from now on. */
struct listener *listener_from_fd(int fd);
/* The sockets of a TCP listener at `address`, one or more, that were kept while the daemon restarted. It owns them from
 * now on; connections wait in their queues. */
struct listener *listener_from_kept(const char *address, const int *fds, int count);
/* The sockets that can be kept so, borrowed: none if they are shared. Not while a loop may stop it. */
int listener_sockets(const struct listener *l, int *fds, int max);
/* What a socket is bound to, in the form of `listen`; the caller frees it. */
char *socket_address(int fd);
bool socket_is_at(int fd, const char *address);
const char *listener_address(const struct listener *l);
/* The address that its socket is bound to; false if it has none. */
bool listener_bound(const struct listener *l, struct sockaddr_storage *out);
/* Whether its socket, which may have been handed over, is bound to this address. */
bool listener_is_at(const struct listener *l, const char *address);
/* Whether it is a TCP socket that only this node can reach. */
bool listener_is_loopback(const struct listener *l);
/* A text that the folders above give it, and find again with each request: the registry it is for, say. NULL at first;
 * copied. Before the loops start. */
void listener_set_label(struct listener *l, const char *label);
const char *listener_label(const struct listener *l);
/* Its connections speak TLS. Borrowed until the servers are freed. Before the loops start. */
void listener_set_tls(struct listener *l, struct http_tls *tls);
/* It is for a forward proxy (http_arrival.forward). Before the loops start. */
void listener_set_forward(struct listener *l, bool forward);
/* How many connections it may have, together with others of the same bounds. Borrowed. Before the loops start; later,
 * the same again changes nothing. */
void listener_set_bounds(struct listener *l, struct http_bounds *b);
/* Has sockets for so many loops, or more: then some loops have several. Errors: ERR_IO. */
bool listener_bind(struct listener *l, int count, struct err *err);
/* Accepts on this loop, the nth of those, for this server. On the loop, or before it starts. */
void listener_enter(struct listener *l, int nth, struct loop *loop, struct http_server *server);
/* Both, for one more loop, before it starts. */
bool listener_add(struct listener *l, struct loop *loop, struct http_server *server, struct err *err);
/* Another listener on the same sockets: no connection is lost between the two. Errors: ERR_IO. */
struct listener *listener_renew(const struct listener *old, struct err *err);
/* That has succeeded: a unix socket's file is the new one's from now on. */
void listener_take_over(struct listener *l, struct listener *old);
/* A unix socket is not to be found any more: another one can take its place. */
void listener_remove_file(struct listener *l);
/* Stops accepting on that loop; on the loop. */
void listener_stop(struct listener *l, struct loop *loop);
/* The same, once what has connected is accepted. */
void listener_leave(struct listener *l, struct loop *loop);
/* After the loops have ended, or left it, and all of its connections. Removes a unix socket's file. */
void listener_free(struct listener *l);

#endif
