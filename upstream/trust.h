/* trust.h - the TLS settings of an upstream (config/trust.h), applied to transfers. On the loop of the transfer. */
#ifndef ENTREPOT_UPSTREAM_TRUST_H
#define ENTREPOT_UPSTREAM_TRUST_H

#include "config/trust.h"

/* For a transfer (a CURL *); `t` may be NULL, and must outlive the transfer. The client certificate is not shown yet.
 */
void trust_apply(void *easy, const struct trust *t);
/* Whether the client certificate may be shown at this URL: `shown_to` are origins ("https://host:port") and patterns of
 * hosts, NULL-terminated; NULL: nowhere. */
bool trust_may_show(const struct trust *t, const char *const *shown_to, const char *url);
/* Shows it, or not, from the next connection of the transfer on. */
void trust_show(void *easy, const struct trust *t, bool show);

#endif
