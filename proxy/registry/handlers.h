/* handlers.h - the pages of the registry API. Each gets a routed request on its serve loop and gives it exactly one
 * answer, now or later. */
#ifndef ENTREPOT_PROXY_REGISTRY_HANDLERS_H
#define ENTREPOT_PROXY_REGISTRY_HANDLERS_H

#include "proxy/registry/note.h"
#include "proxy/registry/registry.h"
#include "proxy/registry/route.h"

void handle_manifest(struct registry *reg, struct http_request *req, const struct route *r);
void handle_blob(struct registry *reg, struct http_request *req, const struct route *r);
void handle_tags(struct registry *reg, struct http_request *req, const struct route *r);
void handle_referrers(struct registry *reg, struct http_request *req, const struct route *r);
/* The API version check, which tells some engines where to log in, and our token service. */
void handle_base(struct registry *reg, struct http_request *req, const struct route *r);
void handle_token(struct registry *reg, struct http_request *req, const struct route *r);
void handle_catalog(struct registry *reg, struct http_request *req, const struct route *r);

/* ---- shared by the handlers (reply.c) ---- */

/* Notes how a request was answered, for metrics, and sets Cache-Status (RFC 9211). */
void reply_note(struct http_request *req, const struct route *r, enum note_kind kind);
void reply_status(struct http_request *req, const struct fetch_result *result);
void reply_hit(struct http_request *req);
/* Why a client's login was not used, for its error message; "": it was, or there is none. */
const char *reply_unused_login(enum client_unused unused);
/* The cache's own challenge: the client should log in at /token of this listener, to read the repository of this name
 * (`name_len` bytes; 0: any). */
void reply_challenge(struct http_request *req, const char *name, size_t name_len);
/* For http_server_set_errors(): the JSON of distribution-spec, "Error Codes". */
const char *reply_format_error(struct buf *out, const char *code, const char *message, const char *id);
/* Turns a failed fetch into the registry API's error. */
void reply_failure(struct http_request *req, const struct fetch_result *result, enum note_kind kind);

#endif
