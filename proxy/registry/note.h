/* note.h - what handlers note in a request until it is complete: how it was answered (counted by metrics.h), and where
 * its client should log in. In the request itself (http_user()); on its loop. */
#ifndef ENTREPOT_PROXY_REGISTRY_NOTE_H
#define ENTREPOT_PROXY_REGISTRY_NOTE_H

#include "proxy/http/http.h"
#include "proxy/seen/detail.h"

#include <assert.h>

enum note_kind { KIND_NONE, KIND_MANIFEST, KIND_BLOB, KIND_TAGS, KIND_REFERRERS, KIND_COUNT };
enum note_result {
    RESULT_HIT,
    RESULT_MISS,
    RESULT_STALE,
    RESULT_REVALIDATED,
    RESULT_COLLAPSED,
    RESULT_BYPASS,
    RESULT_DENIED,
    RESULT_ERROR,
    RESULT_COUNT,
};
enum note_source { SOURCE_CACHE, SOURCE_UPSTREAM, SOURCE_PEERS, SOURCE_SHARED, SOURCE_OWN, SOURCE_COUNT };

struct request_note {
    uint8_t kind, result, source; /* the enums above */
    uint8_t unused_login;         /* enum client_unused */
    uint16_t upstream;            /* its place (sites.h) */
    uint16_t own_name_len;        /* of the repository's name in the path, for our own challenge; 0: it is not there */
    bool listener_login;          /* the listener is of one registry: a login here is one there */
    uint8_t hops;               /* of another node of the cluster: how far it has come (cluster/ask.h); 0: a client's */
    bool have, named;           /* ... which wants what is here alone; or on its way here, too */
    bool sending;               /* ... and is being sent a blob */
    bool own_login;             /* the client should log in at the cache, not at the registry */
    const void *site;           /* held until the request is complete */
    struct seen_detail *detail; /* of a request to a registry; freed when it is complete. NULL: another one */
};
static_assert(sizeof(struct request_note) <= HTTP_USER_MAX, "a note has its place in the request");

static inline struct request_note *note_of(struct http_request *req)
{
    return http_user(req);
}

#endif
