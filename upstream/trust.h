/* trust.h - TLS with an upstream, as config/trust.h has it, applied to transfers. On the loop of the transfer. */
#ifndef ENTREPOT_UPSTREAM_TRUST_H
#define ENTREPOT_UPSTREAM_TRUST_H

#include "config/trust.h"

/* For a transfer (a CURL *); `t` may be NULL, and must live as long as the transfer. Nothing is shown yet. */
void trust_apply(void *easy, const struct trust *t);
/* Whether whoever is at the URL may see the client's certificate: `shown_to` are origins ("https://host:port") and
 * patterns of hosts, NULL-terminated; NULL: nobody. */
bool trust_may_show(const struct trust *t, const char *const *shown_to, const char *url);
/* From the next connection of the transfer on. */
void trust_show(void *easy, const struct trust *t, bool show);

#endif
