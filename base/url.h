/* url.h - what is needed of URLs: hiding secrets, escapes, and a few of their parts. Any thread. */
#ifndef ENTREPOT_BASE_URL_H
#define ENTREPOT_BASE_URL_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends scheme, host and path, without user, password, query and fragment, which may hold secrets that must not be
 * logged. */
void url_redact(struct buf *out, const char *url);
/* Appends text with everything but unreserved characters (RFC 3986 §2.3) percent-encoded. */
void url_encode(struct buf *out, const char *text);
/* Appends "name=value", the value percent-encoded, behind a "&" unless it is the first: a body of type
 * application/x-www-form-urlencoded. */
void url_add_param(struct buf *out, const char *name, const char *value);
/* Undoes percent-encoding, and what forms make of a space if `plus_is_space`. False if an escape is malformed, a
 * character is a control character, or `cap` is too small. */
bool url_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t cap);
/* The length of "https://host:port" at the beginning of a URL. */
size_t url_origin_len(const char *url);
/* Appends a query without the parameters of this name. */
void url_query_without(struct buf *out, const char *query, const char *name);
bool url_is_https(const char *url);
/* Where a repository's name begins in a registry's URL: after its first path component "v2", if it has one
 * ("https://host/v2/hub"), else at its end. *base_len: what comes before /v2/, without a trailing slash. Borrowed. */
const char *url_split_v2(const char *url, size_t *base_len);
/* The host without brackets and port. False if there is none, or it does not fit. */
bool url_host(const char *url, char *out, size_t cap);
/* The URL that a reference (of a Location header, say) leads to from there (RFC 3986 §5). The caller frees; NULL: none.
 */
char *url_resolve(const char *url, const char *reference);
/* The host in lower case, with brackets if it has them, and its port unless that is the scheme's default: the form in
 * which a registry is named. False if there is none, or it does not fit. */
bool url_authority(const char *url, char *out, size_t cap);

#endif
