/* trust.h - the configuration of TLS with an upstream: the authorities that are trusted, and the client certificate.
 * Files are named here and read again for every connection (upstream/trust.c), so that a change needs no reload. */
#ifndef ENTREPOT_CONFIG_TRUST_H
#define ENTREPOT_CONFIG_TRUST_H

#include "base/err.h"

#include <stdbool.h>

struct trust {
    char *ca;          /* certificates (PEM) beside the system's; NULL: the system's alone */
    bool ca_only;      /* in place of the system's */
    char *client_cert; /* sent to servers that request one (mutual TLS); NULL: none */
    char *client_key;  /* NULL: in the same file */
};

void trust_copy(struct trust *to, const struct trust *from);
void trust_clear(struct trust *t);
/* Whether the files can be used, and the key is the certificate's. Errors: ERR_IO, with *key the name of what is wrong:
 * "ca", "client_cert", "client_key". Blocks. */
bool trust_check(const struct trust *t, const char **key, struct err *err);

#endif
