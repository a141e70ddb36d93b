/* connect.h - addresses that do not answer, and connections that have died without a word.
 *
 *     a socket is opened ──▶ an attempt: a moment later, does it still wait for the first answer?
 *                               ├ no: its address is well
 *                               └ yes: the socket is shut down, libcurl goes on with the next address, and for a minute
 *                                      this one is passed over
 *
 * libcurl asks one address after the other and gives the first one half of the time there is (5 s of 10), and the whole
 * of it to the last. A host of several addresses of which one is dead must not cost that. Where all of them have been
 * passed over or shut down, the transfer is made again, with more time for each (3 s), and then with all that is left:
 * a long way is not a dead address, and after a connection was made that way the address is left alone for a minute.
 *
 * A kept connection may have died (a firewall that forgot it, a host that was pulled): nobody says so, and what is sent
 * on it is repeated by the kernel for minutes. connect_is_unheard() asks the kernel whether the other side has
 * acknowledged what was sent; a slow server has.
 *
 * Belongs to one engine, on its loop.
 */
#ifndef ENTREPOT_UPSTREAM_CONNECT_H
#define ENTREPOT_UPSTREAM_CONNECT_H

#include "base/loop.h"

#include <stdbool.h>
#include <sys/socket.h>

enum {
    CONNECT_ROUNDS = 3,
    CONNECT_UNHEARD_MS = 1500, /* what is sent on a kept connection is acknowledged by then */
    CONNECT_ADDRESS_MAX = 64,
};

struct connect_table;

struct connect_table *connect_table_new(struct loop *loop);
void connect_table_free(struct connect_table *t);

/* Opens a socket for an address, or -1: it did not answer a while ago. `round` counts from 0; later ones pass nothing
 * over, and wait longer. `given_up` is called when it has been shut down, unless connect_forget(arg) came first. */
int connect_open(struct connect_table *t, int family, int type, int protocol, const struct sockaddr *address, int round,
                 void (*given_up)(void *arg, int fd), void *arg);
/* Closes a socket of connect_open(). */
void connect_close(struct connect_table *t, int fd);
/* A connection to this address, made in this round, is in use: it is well, if it takes its time. */
void connect_note(struct connect_table *t, const char *address, int port, int round);
void connect_forget(struct connect_table *t, const void *arg);
/* An address as the table calls it: "10.0.0.1 443". */
void connect_name(char out[CONNECT_ADDRESS_MAX], const char *address, int port);
/* Whether what was sent on the connection from this local port to this address (connect_name()) has been repeated and
 * is still not acknowledged. */
bool connect_is_unheard(struct connect_table *t, int own_port, const char *peer);
/* Whether it is not acknowledged, and was not repeated yet: after a long way, or a pause, that takes longer. */
bool connect_is_unsure(struct connect_table *t, int own_port, const char *peer);
/* Ends that connection: one of HTTP/2 would be kept for the next request. */
void connect_shut(struct connect_table *t, int own_port, const char *peer);

#endif
