/* link_tls.h - the kind of link that speaks TLS, as a server. On the connection's loop. */
#ifndef ENTREPOT_PROXY_HTTP_LINK_TLS_H
#define ENTREPOT_PROXY_HTTP_LINK_TLS_H

#include <stdbool.h>

struct evbuffer;
struct http_link;
struct ssl_st;

enum { HTTP_SUBJECT_MAX = 512 /* bytes of the name in a client's certificate */ };

/* Puts TLS on the socket of a plain link, on which everything was sent. Owns `ssl`, a session without a socket; which
 * certificate it shows is its context's decision (SSL_CTX_set_client_hello_cb(3) where the client's server name
 * decides). What `early` holds (NULL: nothing) was read from the socket before, and is taken out of it. False: out of
 * memory; the link is as it was. */
bool http_link_open_tls(struct http_link *l, struct ssl_st *ssl, struct evbuffer *early);
/* Goes on with the handshake: 1 when it is over; 0 when it waits for the client to send or, with l->wants_write, to
 * read; -1 if it has failed, with *why a literal, or NULL if the client has gone. */
int http_link_greet(struct http_link *l, const char **why);
bool http_link_is_tls(const struct http_link *l);
/* What follows is much: it is read a record at a time, and between two of them nothing is held. */
void http_link_read_little(struct http_link *l);
/* The name in the client's certificate (RFC 2253); NULL: it has shown none. The caller frees it. */
char *http_link_subject(const struct http_link *l);

#endif
