/* ca.h - the authority under whose certificates intercepted connections are answered (base/authority.h), and the
 * certificates that it has issued.
 *
 * It speaks for the registries of the configuration alone, each by its exact name, whatever a client says in CONNECT or
 * SNI: a host that is not among them, or that the authority's own name constraints do not permit, gets no certificate
 * and is never opened. The names of Docker Hub (registry-1.docker.io, index.docker.io) are docker.io's.
 *
 * A certificate is made on the spot when the first connection needs it, lives for a week and is replaced a day before
 * its end; the last CA_CONTEXTS_MAX that were used are kept. They share one key, which is never stored.
 *
 * Opened and reloaded by the main thread (blocks); what else there is: any thread.
 */
#ifndef ENTREPOT_PROXY_INTERCEPT_CA_H
#define ENTREPOT_PROXY_INTERCEPT_CA_H

#include "base/authority.h"

enum { CA_CONTEXTS_MAX = 256 };

struct ca;
struct ssl_ctx_st;

/* Makes the authority if its files are not there. `hosts`: of config_intercept_hosts(); copied. The log has what is
 * made or loaded, and hosts that it cannot speak for since it was made without them. Errors: those of
 * authority_ensure() and authority_load(); ERR_INVALID: servers cannot use what it signs. */
struct ca *ca_open(const struct authority_files *files, const char *const *hosts, struct err *err);
/* Reads the files again (SIGHUP): after `entrepot ca --rotate` what is issued from now on is the new one's. On an
 * error the last one stays in use. */
bool ca_reload(struct ca *ca, struct err *err);
/* Other hosts. Main thread. */
void ca_set_hosts(struct ca *ca, const char *const *hosts);
/* Seconds since 1970 at which its certificate ends. */
int64_t ca_ends_s(struct ca *ca);
bool ca_speaks_for(struct ca *ca, const char *host);
/* A server's context (proxy/http/tls.h) with a certificate for exactly this host; the reference is the caller's. NULL:
 * it does not speak for it. */
struct ssl_ctx_st *ca_context(struct ca *ca, const char *host);
/* Frees one that nobody has used yet, and removes its files if ca_open() has made them. NULL is allowed. */
void ca_drop(struct ca *ca);
/* After all connections. NULL is allowed. */
void ca_free(struct ca *ca);

#endif
