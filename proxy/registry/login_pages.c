/* /v2/ and /token: how docker, podman and skopeo log in (login.h). */
#include "proxy/registry/handlers.h"
#include "proxy/registry/identify.h"

#include "base/secret.h"

#include <string.h>
#include <strings.h>

/* Engines that log in only if /v2/ answers 401, by the beginning of their User-Agent. All other clients get 200: health
 * checks and people with curl expect that. */
static const char *const ASKED[] = {"docker/", "skopeo/",   "containers/", "libpod/", "Buildah/",
                                    "cri-o/",  "buildkit/", "crane/",      "oras/",   "go-containerregistry/"};

/* Whether /v2/ should ask the client to log in, although public content needs no login. */
static bool asks_for_login(const struct config *c, const struct http_request *req, const char *only)
{
    const char *agent = http_header(req, "user-agent");

    if (c->login != LOGIN_AUTO)
        return c->login == LOGIN_ON;
    const struct config_upstream *one = only ? config_find_upstream(c, only) : NULL;
    for (int i = 0; i < c->upstream_count; i++)
        if (c->upstreams[i].client_access && (!only || one == &c->upstreams[i]))
            return true;
    for (size_t i = 0; agent && i < ARRAY_LEN(ASKED); i++)
        if (strncasecmp(agent, ASKED[i], strlen(ASKED[i])) == 0)
            return true;
    return false;
}

void handle_base(struct registry *reg, struct http_request *req, const struct route *r)
{
    http_reply_header(req, "Docker-Distribution-Api-Version", "registry/2.0");
    if (!asks_for_login(reg->config, req, r->only) || http_header(req, "authorization") || !*http_host(req)) {
        http_reply(req, 200, "application/json", "{}", 2);
        return;
    }
    reply_challenge(req, "", 0);
    http_error(req, 401, "UNAUTHORIZED", "log in, or request an anonymous token");
}

/* Engines send a name and a password, or nothing. A token must not get a new token: a session renewed without its
 * password would never end, not even after the password was changed. */
static bool brings_token(const struct http_request *req)
{
    const char *authorization = http_header(req, "authorization");

    return authorization && strncasecmp(authorization, "Bearer ", 7) == 0;
}

/* Refuses a login that gets no token. A login that would not be used is refused to `docker login`, but not to a pull,
 * which goes on anonymously: dockerd sends its Docker Hub login to every mirror. */
static bool login_refuse(struct http_request *req, const struct client *c, const struct route *r)
{
    bool pulls = http_query_has(req, "scope");
    const char *why = reply_unused_login(c->unused);

    if (brings_token(req))
        why = "send a name and a password: a token does not get a new one";
    else if (c->unused == CLIENT_USED || (c->unused == CLIENT_UNSAID && pulls))
        return false;
    http_reply_header(req, "WWW-Authenticate", "Basic realm=\"entrepot\"");
    if (c->unused == CLIENT_ELSEWHERE && r->only)
        http_error(req, 401, "UNAUTHORIZED", "this listener is for %s alone: %s", r->only, why);
    else
        http_error(req, 401, "UNAUTHORIZED", "%s", why);
    return true;
}

/* The distribution project's token specification. Scopes are ignored: the registry decides at each request. */
void handle_token(struct registry *reg, struct http_request *req, const struct route *r)
{
    struct client *c = identify_client(req, reg->login, reg->config, r);

    if (!login_refuse(req, c, r)) {
        _cleanup_secret_ char *token = login_issue(reg->login, c);
        _cleanup_secret_buf_ struct buf body = {0};
        buf_addf(&body, "{\"token\":\"%s\",\"access_token\":\"%s\",\"expires_in\":%d}\n", token, token,
                 (int)LOGIN_LIFE_S);
        http_reply_header(req, "Cache-Control", "no-store");
        http_reply(req, 200, "application/json", body.data, body.len);
    }
    client_unref(c);
}
