/* authority.h - a certificate authority of our own, in two files: its certificate and its key, in PEM.
 *
 * It is trusted by clients for as long as they have its certificate, so it can speak for few hosts: name constraints
 * (RFC 5280 §4.2.1.10), critical, permit DNS names alone, and of these the ones that it was made for.
 *
 *     ca.crt   the authority's certificate; behind it those that it has replaced in the last month, which clients may
 *              still trust. An authority that somebody else has made may have its issuers there.
 *     ca.key   the key of the first, mode 0600
 *
 * Both files are replaced together: each is written and synced beside its place (.new), then the key is renamed, then
 * the certificate. A crash between the two is completed by the next authority_ensure(). Those who write take a lock on
 * the key's folder first.
 *
 * A struct authority is a plain value that does not change, with references: any thread. What reads or writes files
 * blocks.
 */
#ifndef ENTREPOT_BASE_AUTHORITY_H
#define ENTREPOT_BASE_AUTHORITY_H

#include "base/err.h"

#include <stdint.h>

enum {
    AUTHORITY_YEARS = 10,
    AUTHORITY_KEEP_S = 30 * 86400, /* how long one that was replaced stays in the file */
    AUTHORITY_LEAF_S = 7 * 86400,
    AUTHORITY_BACKDATE_S = 3600, /* clocks of clients may be behind */
    AUTHORITY_NAME_MAX = 256,
    AUTHORITY_PRINT_MAX = 96,
};

struct authority;
struct authority_files {
    const char *cert, *key;
};
struct evp_pkey_st;
struct x509_st;

/* ---- the files ---- */

/* Makes them if there are none (*made), for these hosts and patterns of hosts; completes what a crash has left, and
 * removes certificates that were replaced long ago. Errors: ERR_IO, ERR_INVALID (one is there without the other),
 * ERR_BUSY. */
bool authority_ensure(const struct authority_files *f, const char *const *hosts, bool *made, struct err *err);
/* Makes another one, behind whose certificate the present one stays. Owners and modes of the files stay, too. */
bool authority_rotate(const struct authority_files *f, const char *const *hosts, struct err *err);
/* NULL: a file cannot be read, is not a certificate or a key, the certificate is not an authority's or the key not the
 * certificate's (ERR_INVALID, ERR_IO); or it has expired or is not valid yet. The reference is the caller's. */
struct authority *authority_load(const struct authority_files *f, struct err *err);
/* The certificates alone, expired or not. */
struct authority *authority_load_certificates(const char *cert, struct err *err);
struct authority *authority_ref(struct authority *a);
void authority_unref(struct authority *a); /* may be NULL */

/* ---- what it says of itself ---- */

struct authority_about {
    char name[AUTHORITY_NAME_MAX];
    char fingerprint[AUTHORITY_PRINT_MAX]; /* of SHA-256: "AB:CD:..." */
    int64_t begins_s, ends_s;              /* since 1970 */
    int64_t replaced_s; /* when it was replaced by the one before it; 0: it was not, or is an issuer */
};
/* The nth certificate of the file; false: there are not as many. */
bool authority_describe(const struct authority *a, int nth, struct authority_about *out);
/* Whether its name constraints permit this DNS name, in lower case; for an authority without, all are. */
bool authority_permits(const struct authority *a, const char *host);
/* Those of these hosts and patterns that it does not permit: "ghcr.io, *.pkg.dev"; the caller frees. NULL: none. */
char *authority_unpermitted(const struct authority *a, const char *const *hosts);
bool authority_is_constrained(const struct authority *a);
/* The DNS name under which all hosts of a pattern are: "pkg.dev" of "*.pkg.dev"; of a host, the host. NULL: there is
 * none ("registry*"). Within `pattern`. */
const char *authority_subtree_of(const char *pattern);
/* A DNS name of letters, digits and dashes (RFC 1123 §2.1), which no address looks like. */
bool authority_is_dns_name(const char *host);

/* ---- certificates that it issues ---- */

/* A key for them. */
struct evp_pkey_st *authority_new_key(void);
/* For exactly this DNS name, with the public half of `key`; ends at *ends_s. NULL: the authority has expired,
 * or its key cannot sign. */
struct x509_st *authority_issue(const struct authority *a, struct evp_pkey_st *key, const char *host, int64_t *ends_s);
/* What servers send behind it: the authority and its issuers, if it is not a root. Borrowed; NULL: no more. */
struct x509_st *authority_chain(const struct authority *a, int nth);

#endif
