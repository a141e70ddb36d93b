/* trust.h - whom TLS with an upstream trusts, and what it shows of itself. Files are read again for every connection,
 * so that a change needs no reload. */
#ifndef ENTREPOT_UPSTREAM_TRUST_H
#define ENTREPOT_UPSTREAM_TRUST_H

#include "base/err.h"

#include <stdbool.h>

struct trust {
    char *ca;          /* certificates (PEM) beside the system's; NULL: the system's alone */
    bool ca_only;      /* in place of the system's */
    char *client_cert; /* shown to those who may see it and ask (mutual TLS); NULL: nothing is */
    char *client_key;  /* NULL: in the same file */
};

void trust_copy(struct trust *to, const struct trust *from);
void trust_clear(struct trust *t);
/* Whether the files can be used, and the key is the certificate's. Errors: ERR_IO, with *key the name of what is wrong:
 * "ca", "client_cert", "client_key". Blocks. */
bool trust_check(const struct trust *t, const char **key, struct err *err);
/* For a transfer (a CURL *); `t` may be NULL, and must live as long as the transfer. Nothing is shown yet. */
void trust_apply(void *easy, const struct trust *t);
/* Whether whoever is at the URL may see the client's certificate: `shown_to` are origins ("https://host:port") and
 * patterns of hosts, NULL-terminated; NULL: nobody. */
bool trust_may_show(const struct trust *t, const char *const *shown_to, const char *url);
/* From the next connection of the transfer on. */
void trust_show(void *easy, const struct trust *t, bool show);

#endif
