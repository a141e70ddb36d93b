#include "proxy/registry/identify.h"

#include "base/base64.h"
#include "base/secret.h"
#include "proxy/registry/login.h"

#include <string.h>
#include <strings.h>

/* Cuts "@ghcr.io" off a user name, into `registry`. User names may contain an '@', too (e-mail addresses, service
 * accounts): the part behind it is a registry only if that is configured, and "me@example.com@ghcr.io" leaves
 * "me@example.com". */
static bool split_name(char *name, const struct config *config, char registry[REF_HOST_MAX + 1])
{
    char *at = strrchr(name, '@');

    if (!at || at == name || strlen(at + 1) > REF_HOST_MAX || !ref_host_valid(at + 1, strlen(at + 1)))
        return false;
    snprintf(registry, REF_HOST_MAX + 1, "%s", at + 1);
    ref_canonical_host(registry);
    if (!config_find_upstream(config, registry))
        return false;
    *at = '\0';
    return true;
}

/* The registry that listener, ns= or Host name, whatever the repository; "": none. */
static void registry_of_way(const struct http_request *req, const struct config *config, const struct route *r,
                            char registry[REF_HOST_MAX + 1])
{
    char host[REF_HOST_MAX + 1];

    registry[0] = '\0';
    if (r->only) {
        snprintf(registry, REF_HOST_MAX + 1, "%s", r->only);
    } else if (r->site && (r->by == ROUTE_BY_NS || r->by == ROUTE_BY_HOST)) {
        snprintf(registry, REF_HOST_MAX + 1, "%s", r->site->host);
    } else if (r->kind == ROUTE_TOKEN && strlen(http_host(req)) <= REF_HOST_MAX) {
        snprintf(host, sizeof(host), "%s", http_host(req));
        ref_canonical_host(host);
        if (config_find_upstream(config, host))
            snprintf(registry, REF_HOST_MAX + 1, "%s", host);
    }
}

/* RFC 7617 §2: base64 of name, colon, password. */
static struct client *from_basic(const char *text, const struct http_request *req, struct login *login,
                                 const struct config *config, const struct route *r)
{
    char registry[REF_HOST_MAX + 1], way[REF_HOST_MAX + 1];
    size_t len;
    _cleanup_secret_ char *pair = base64_decode(text, &len);
    char *colon = pair ? strchr(pair, ':') : NULL;

    if (!colon)
        return client_nobody(CLIENT_USED);
    *colon = '\0';
    registry_of_way(req, config, r, way);
    bool named = split_name(pair, config, registry);
    if (named && r->only && strcmp(registry, r->only) != 0)
        return client_nobody(CLIENT_ELSEWHERE);
    if (!named)
        snprintf(registry, sizeof(registry), "%s", way);
    if (!registry[0])
        login_get_for(login, registry);
    return registry[0] ? client_with(pair, colon + 1, registry) : client_nobody(CLIENT_UNSAID);
}

struct client *identify_client(const struct http_request *req, struct login *login, const struct config *config,
                               const struct route *r)
{
    const char *authorization = http_header(req, "authorization");

    if (!authorization)
        return client_nobody(CLIENT_USED);
    if (strncasecmp(authorization, "Basic ", 6) == 0)
        return from_basic(authorization + 6 + strspn(authorization + 6, " "), req, login, config, r);
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return client_nobody(CLIENT_USED); /* no registry uses another scheme, and it names no registry */
    struct client *known = login_find(login, authorization + 7 + strspn(authorization + 7, " "));
    if (known)
        return known;
    return client_with_token(authorization);
}
