/* tls_socket.h - the socket below OpenSSL, where it and not the kernel encrypts. On the connection's loop. */
#ifndef ENTREPOT_PROXY_HTTP_TLS_SOCKET_H
#define ENTREPOT_PROXY_HTTP_TLS_SOCKET_H

#include <stdbool.h>

struct http_link;
struct ssl_st;

/* Puts `ssl` on the link's socket, which stays the link's; the link must stay where it is. What is written while
 * l->more is set, and a ticket behind a handshake, waits in the kernel for what comes next: not for long if nothing
 * does. False: out of memory. */
bool tls_socket_set(struct ssl_st *ssl, struct http_link *l);

#endif
