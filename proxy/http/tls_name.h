/* tls_name.h - certificates by the server name in a client's hello (RFC 6066 §3). Internal to this folder; any thread.
 */
#ifndef ENTREPOT_PROXY_HTTP_TLS_NAME_H
#define ENTREPOT_PROXY_HTTP_TLS_NAME_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st;

enum { TLS_NAME_MAX = 253 /* RFC 1035 §2.3.4, as text */ };

struct tls_chooser {
    struct ssl_ctx_st *(*choose)(void *arg, const char *host); /* http_tls_new_by_name() */
    void *arg;
};

/* Sessions of this context go on under the one that is chosen. Borrows the chooser. */
void tls_name_decides(struct ssl_ctx_st *ctx, struct tls_chooser *chooser);
/* The host in the data of a server_name extension, in lower case. False: there is none, or it is no DNS name: labels of
 * letters, digits and hyphens, the last one not a number. */
bool tls_name_read(const unsigned char *ext, size_t len, char host[TLS_NAME_MAX + 1]);

#endif
