/* tls.h - TLS of a listener: its certificate, key and client authorities, which are loaded again when their files
 * change. Connections that are open keep what they began with; a pair that cannot be used leaves the last one in place.
 *
 * TLS 1.2 and 1.3, forward secrecy and authenticated ciphers alone; no renegotiation, no compression, no early data;
 * ALPN http/1.1. Sessions are resumed by tickets (tickets.c): the server keeps none. Kernel TLS where there is one.
 *
 * Made and looked after by the main thread; http_tls_open() from any.
 */
#ifndef ENTREPOT_PROXY_HTTP_TLS_H
#define ENTREPOT_PROXY_HTTP_TLS_H

#include "base/tls_files.h"

struct ssl_ctx_st;
struct ssl_st;
struct http_tls;

/* `name` is the listener's, for the log. Errors: ERR_IO, a file cannot be used. */
struct http_tls *http_tls_new(const char *name, const struct tls_files *files, struct err *err);
/* The same for a listener without a certificate of its own: `choose` returns the context, with a reference for the
 * caller, that has the certificate for the host in the client's server name extension (RFC 6066 §3), or NULL: the
 * handshake ends with unrecognized_name, as without such a name. `host` is a DNS name in lower case, no address. It is
 * called on any loop; `arg` is borrowed. The context is one of http_tls_context(). */
struct http_tls *http_tls_new_by_name(const char *name, struct ssl_ctx_st *(*choose)(void *arg, const char *host),
                                      void *arg);
/* The host that the client has named; NULL: none, or the certificate does not depend on it. */
const char *http_tls_host(const struct ssl_st *ssl);
/* Loads the files again if they have changed and are no longer being written: once a second or so, or with `now`
 * (SIGHUP) at once. Blocks on the disk. */
void http_tls_look(struct http_tls *t, bool now);
/* Since when (seconds since 1970) its changed files cannot be used, and *why, which is borrowed; 0: they can. */
int64_t http_tls_failed_s(const struct http_tls *t, const char **why);
/* Seconds since 1970 at which the certificate in use ends; 0: there is none of its own. Any thread. */
int64_t http_tls_expires_s(struct http_tls *t);
/* The listener's, as it was given. */
const char *http_tls_name(const struct http_tls *t);
/* How clients' handshakes have ended in this process: what encrypts since, or that they failed. Any thread. */
struct http_greetings {
    uint64_t kernel, process, failed;
};
struct http_greetings http_greetings(void);
/* A server's end of a new connection, under what is loaded now. NULL: out of memory. Any thread. */
struct ssl_st *http_tls_open(struct http_tls *t);
/* A server's context under the settings above, without a certificate. The reference is the caller's. Any thread. */
struct ssl_ctx_st *http_tls_context(void);
/* After all connections. */
void http_tls_free(struct http_tls *t);

#endif
