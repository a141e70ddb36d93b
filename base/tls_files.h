/* tls_files.h - what a TLS server has in files: its certificate with the chain behind it, the certificate's key, and
 * the authorities whose clients it lets in. PEM. Any thread; blocks on the disk. */
#ifndef ENTREPOT_BASE_TLS_FILES_H
#define ENTREPOT_BASE_TLS_FILES_H

#include "base/err.h"

#include <stdint.h>

struct ssl_ctx_st;

struct tls_files {
    const char *cert, *key;
    const char *client_ca; /* NULL: clients need no certificate */
};

/* Puts them into a context. Errors: ERR_IO, with *fault the name of what is wrong: "cert", "key", "client_ca". */
bool tls_files_load(const struct tls_files *f, struct ssl_ctx_st *ctx, const char **fault, struct err *err);
/* Whether they could be. */
bool tls_files_check(const struct tls_files *f, const char **fault, struct err *err);
/* Whether others that trust `client_ca` alone accept the certificate: of a server at the address `ip`, and of a client;
 * whatever its dates are. Errors: ERR_INVALID, and those above. */
bool tls_files_verify(const struct tls_files *f, const char *ip, struct err *err);
/* A number that changes whenever one of the files does. */
uint64_t tls_files_stamp(const struct tls_files *f);
/* Whether users who are neither the key's owner nor in its group can read it. */
bool tls_files_key_is_open(const struct tls_files *f);

#endif
