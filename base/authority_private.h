/* authority_private.h - between the files of authority.h. */
#ifndef ENTREPOT_BASE_AUTHORITY_PRIVATE_H
#define ENTREPOT_BASE_AUTHORITY_PRIVATE_H

#include "base/authority.h"
#include "base/buf.h"

#include <openssl/x509.h>
#include <stdatomic.h>

#define AUTHORITY_NAME  "entrepot interception CA"
#define AUTHORITY_FRESH ".new" /* behind the name of a file that is being replaced */

struct authority {
    atomic_int refs;
    STACK_OF(X509) * certs; /* at least one */
    EVP_PKEY *key;          /* NULL: only the certificates were read */
};

/* ---- authority_issue.c ---- */

/* A root with these name constraints. */
X509 *authority_make_root(EVP_PKEY *key, const char *const *hosts);

/* ---- authority.c ---- */

/* As authority_load() without a look at the clock. */
struct authority *authority_read(const struct authority_files *f, struct err *err);
/* Whether certificate `nth` of the file was replaced by the one before it and need not stay. */
bool authority_is_past(const struct authority *a, int nth);

#endif
