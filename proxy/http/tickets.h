/* tickets.h - session tickets (RFC 5077, RFC 8446 §4.6.1): their keys, which are made here and are never stored. */
#ifndef ENTREPOT_PROXY_HTTP_TICKETS_H
#define ENTREPOT_PROXY_HTTP_TICKETS_H

struct ssl_ctx_st;

/* Gives a context keys of its own, which it frees. Any thread. */
void http_tickets_add(struct ssl_ctx_st *ctx);

#endif
