/* etcd_json.h - etcd's messages: bytes are base64 there, 64-bit numbers are texts, what is 0, false or empty is left
 * out. Plain functions; any thread. */
#ifndef ENTREPOT_CLUSTER_ETCD_JSON_H
#define ENTREPOT_CLUSTER_ETCD_JSON_H

#include "cluster/etcd.h"

#include <jansson.h>

/* A new reference. */
json_t *etcd_json_bytes(const void *data, size_t len);
json_t *etcd_json_number(int64_t n);
/* The first key behind all that begin with the prefix. A new reference. */
json_t *etcd_json_end(const char *prefix);

/* The error in an answer: a text at its top, or, of a stream, an object. False: there is none. `status` is HTTP's. */
bool etcd_json_error(const json_t *doc, int status, struct err *err);
/* Whether this error means that the token is not valid (any more), or that one is needed. */
bool etcd_error_wants_login(const struct err *err);

/* Fills `out` from an answer without an error, or from a stream's "result". etcd_answer_clear(). */
void etcd_json_answer(const json_t *doc, struct etcd_answer *out);
void etcd_answer_clear(struct etcd_answer *a);

#endif
