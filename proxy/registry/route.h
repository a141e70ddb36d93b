/* route.h - parses the path of a request.
 *
 *     /v2/                                     API version check
 *     /v2/<name>/manifests/<tag|digest>        /v2/<name>/blobs/<digest>
 *     /v2/<name>/tags/list                     /v2/<name>/referrers/<digest>
 *     /v2/_catalog                             /token
 *     /metrics /healthz /readyz /status.json /events /
 *
 * The registry comes from, first that applies: query ns=HOST (the same host may stand before the name, too); a host as
 * the first component of <name>; the Host header, if it names an upstream; docker.io. Of a registry that is not
 * configured, cached content is served (sites.h). On a listener of one upstream all requests are for that: ns= must
 * name it, its host may stand before the name, and any other host there is a part of the name. Any thread.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_ROUTE_H
#define ENTREPOT_PROXY_REGISTRY_ROUTE_H

#include "base/ref.h"
#include "proxy/http/http.h"
#include "proxy/fetch/site_view.h"

enum route_kind {
    ROUTE_NONE,
    ROUTE_BASE,
    ROUTE_MANIFEST,
    ROUTE_BLOB,
    ROUTE_TAGS,
    ROUTE_REFERRERS,
    ROUTE_CATALOG,
    ROUTE_TOKEN,
    ROUTE_METRICS,
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_PAGE,
    ROUTE_FIGURES,
    ROUTE_EVENTS,
};

/* What names the registry of a request. */
enum route_by { ROUTE_BY_NOTHING, ROUTE_BY_LISTENER, ROUTE_BY_NS, ROUTE_BY_NAME, ROUTE_BY_HOST };

struct route {
    enum route_kind kind;
    enum route_by by;
    const char *only;             /* the one registry that the listener is for, borrowed; or NULL */
    const struct site *site;      /* held for the caller, which releases it; NULL: none */
    char path[REF_PATH_MAX + 1];  /* "library/nginx" */
    char name[REF_NAME_MAX + 1];  /* "docker.io/library/nginx" */
    char asked[REF_NAME_MAX + 1]; /* <name> as it was in the request, for Link headers */
    char tag[REF_TAG_MAX + 1];    /* or "" */
    struct digest digest;         /* or DIGEST_NONE */
};

/* What is wrong with a request, in the registry API's terms. */
struct route_error {
    int status;
    int retry_after; /* seconds; 0: no retry */
    const char *code;
    char message[512];
};

/* `only`: the one registry its listener is for, or NULL. False, with *error filled in, if there is no such page,
 * registry or repository name; nothing is held then. */
bool route_parse(struct route *r, const struct http_request *req, struct site_view *view, const char *only,
                 struct route_error *error);

#endif
