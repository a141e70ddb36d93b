/* /v2/ and /token: how docker, podman and skopeo come to log in (login.h). */
#include "proxy/handlers.h"

#include "base/secret.h"

#include <string.h>
#include <strings.h>

/* Engines that log in only if /v2/ tells them to, by the beginning of their User-Agent. Others are left alone with it:
 * health checks and people with curl expect an answer. */
static const char *const ASKED[] = {"docker/", "skopeo/",   "containers/", "libpod/", "Buildah/",
                                    "cri-o/",  "buildkit/", "crane/",      "oras/",   "go-containerregistry/"};

/* Whether the client should be asked who he is, although much can be had without. */
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

void handle_base(struct worker *w, struct http_request *req, const struct route *r)
{
    http_reply_header(req, "Docker-Distribution-Api-Version", "registry/2.0");
    if (!asks_for_login(w->proxy->config, req, r->only) || http_header(req, "authorization") || !*http_host(req)) {
        http_reply(req, 200, "application/json", "{}", 2);
        return;
    }
    http_reply_header(req, "WWW-Authenticate", "Bearer realm=\"http://%s/token\",service=\"entrepot\"", http_host(req));
    http_error(req, 401, "UNAUTHORIZED", "log in, or ask for a token without");
}

/* The distribution project's token specification. Scopes are not looked at: the registry decides, request by request.
 */
void handle_token(struct worker *w, struct http_request *req)
{
    struct client *c = client_of(req, w->proxy->login);
    _cleanup_secret_ char *token = login_issue(w->proxy->login, c);
    _cleanup_secret_buf_ struct buf body = {0};

    client_unref(c);
    buf_addf(&body, "{\"token\":\"%s\",\"access_token\":\"%s\",\"expires_in\":%d}\n", token, token, (int)LOGIN_LIFE_S);
    http_reply_header(req, "Cache-Control", "no-store");
    http_reply(req, 200, "application/json", body.data, body.len);
}
