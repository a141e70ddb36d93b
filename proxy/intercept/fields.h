/* fields.h - headers and trailers that are passed on, as lines "Name: value", but for what is for one connection
 * alone (hop.h). On the request's loop. */
#ifndef ENTREPOT_PROXY_INTERCEPT_FIELDS_H
#define ENTREPOT_PROXY_INTERCEPT_FIELDS_H

#include "proxy/http/http.h"

/* What libcurl is given, which takes "Name:" for a wish not to send one. NULL-terminated; hop_free_lines() frees it.
 * `loses_tls`: the client speaks TLS and the endpoint does not: the URLs in its answers have to be for the client. */
char **fields_of_request(const struct http_request *req, bool loses_tls);
/* The trailers of a body that has ended; as above. NULL: none. More than FIELDS_TRAILER_BYTES of them are dropped, as
 * any recipient may do (RFC 9110 §6.5). */
enum { FIELDS_TRAILER_BYTES = 60 << 10 };
char **fields_of_trailers(const struct http_request *req);
/* Gives the headers of an answer, with or without the names of its trailers, to http_reply_header(). */
void fields_reply(struct http_request *req, const char *const *lines, bool names_trailers);
/* Gives it the trailers of one that goes out in chunks. NULL: none. */
void fields_reply_trailers(struct http_request *req, const char *const *lines);
/* A copy; hop_free_lines() frees it. NULL of NULL. */
char **fields_copy(const char *const *lines);

#endif
