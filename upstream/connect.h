/* connect.h - addresses that do not answer, and connections that died silently.
 *
 *     a socket is opened ──▶ an attempt: after a moment, is it still connecting?
 *                               ├ no: the address is alive
 *                               └ yes: the socket is shut down, libcurl tries the next address, and this one is skipped
 *                                      for a minute
 *
 * libcurl tries one address after the other and gives the first one half of the time there is (5 s of 10), and all of
 * it to the last. A dead address of several must not cost that. Where all of them were skipped or shut down, the
 * transfer is repeated with more time for each (3 s), and then with all that is left: a distant address is not a dead
 * one, and after a connection in a later round the address is given that time for a minute.
 *
 * A kept connection may have died (a firewall that forgot it, an unplugged host): nothing reports that, and the kernel
 * retransmits for minutes. connect_is_unheard() asks the kernel whether the other side has acknowledged what was sent;
 * a slow server has.
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
    CONNECT_UNHEARD_MS = 1500, /* data on a reused connection is acknowledged by then */
    CONNECT_ADDRESS_MAX = 64,
};

struct connect_table;

struct connect_table *connect_table_new(struct loop *loop);
void connect_table_free(struct connect_table *t);

/* Opens a socket for an address, or -1: it did not answer recently. `round` counts from 0; later rounds skip no
 * address, and wait longer. `given_up` is called when the socket has been shut down, unless connect_forget(arg) came
 * first. */
int connect_open(struct connect_table *t, int family, int type, int protocol, const struct sockaddr *address, int round,
                 void (*given_up)(void *arg, int fd), void *arg);
/* Closes a socket of connect_open(). */
void connect_close(struct connect_table *t, int fd);
/* A connection to this address, made in this round, is in use: the address is alive, if slow. */
void connect_note(struct connect_table *t, const char *address, int port, int round);
/* The transfer is over: of its sockets, only those that connections have kept stay. */
void connect_forget(struct connect_table *t, const void *arg);
/* How many sockets it knows, for tests. */
size_t connect_count(const struct connect_table *t);
/* The name of an address in the table: "10.0.0.1 443". */
void connect_name(char out[CONNECT_ADDRESS_MAX], const char *address, int port);
/* Whether data sent on the connection from this local port to this address (connect_name()) was retransmitted and is
 * still not acknowledged. */
bool connect_is_unheard(struct connect_table *t, int own_port, const char *peer);
/* Whether it is not acknowledged, and not retransmitted yet: distance, or a pause, takes longer. */
bool connect_is_unsure(struct connect_table *t, int own_port, const char *peer);
/* Ends that connection: libcurl would reuse one of HTTP/2 for the next request. */
void connect_shut(struct connect_table *t, int own_port, const char *peer);

#endif
