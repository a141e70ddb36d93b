#include "proxy/registry/handlers.h"

#include "base/log.h"
#include "base/visible.h"

#include <string.h>

const char *reply_format_error(struct buf *out, const char *code, const char *message, const char *id)
{
    buf_addf(out, "{\"errors\":[{\"code\":\"%s\",\"message\":\"", code);
    buf_add_json(out, message);
    buf_addf(out, "\",\"detail\":{\"request_id\":\"%s\"}}]}\n", id);
    return "application/json";
}

void reply_note(struct http_request *req, const struct route *r, enum note_kind kind)
{
    struct request_note *n = note_of(req);

    n->kind = (uint8_t)kind;
    n->upstream = (uint16_t)r->site->id;
    /* A client that names the registry by ns=, listener or Host has a login for that registry, and gets its challenge.
     * Any other client has one login for this address, and gets the cache's own challenge: with that of the registry
     * that the name begins with, it would send the login there. */
    size_t len = strlen(r->asked);
    n->own_login = r->by == ROUTE_BY_NAME || r->by == ROUTE_BY_NOTHING;
    n->listener_login = r->by == ROUTE_BY_LISTENER;
    bool here = n->own_login || n->listener_login;
    n->own_name_len = here && strncmp(http_path(req) + strlen("/v2/"), r->asked, len) == 0 ? (uint16_t)len : 0;
}

void reply_challenge(struct http_request *req, const char *name, size_t name_len)
{
    _cleanup_buf_ struct buf scope = {0};

    if (name_len > 0)
        buf_addf(&scope, ",scope=\"repository:%.*s:pull\"", (int)name_len, name);
    http_reply_header(req, "WWW-Authenticate", "Bearer realm=\"http%s://%s/token\",service=\"entrepot\"%s%s",
                      http_is_tls(req) ? "s" : "", http_host(req), scope.len > 0 ? scope.data : "",
                      note_of(req)->unused_login == CLIENT_ENDED ? ",error=\"invalid_token\"" : "");
}

const char *reply_unused_login(enum client_unused unused)
{
    static const char *const texts[] = {
        [CLIENT_USED] = "",
        [CLIENT_UNSAID] =
            ("this cache serves many registries, and the login does not say which one it is for: log in as "
             "NAME@REGISTRY (docker login -u alice@ghcr.io), or set clients.login_for"),
        [CLIENT_ENDED] = "the token has expired: get a new one with the name and password",
        [CLIENT_ELSEWHERE] = "the login is for another registry, and is not used for this one: log in as NAME@REGISTRY",
    };

    return texts[unused];
}

/* 401: where to log in, and why the client's login was not used. */
static void reply_denied(struct http_request *req, const struct fetch_result *res)
{
    const struct request_note *n = note_of(req);
    const char *hint = reply_unused_login((enum client_unused)n->unused_login);
    const char *glue = *hint ? "; " : "";

    /* 403 only if no login would help: clients look for a challenge in a 401 alone. */
    if (res->err.status != 401 && !res->challenge[0]) {
        http_error(req, 403, "DENIED", "%s%s%s", res->err.msg, glue, hint);
        return;
    }
    bool ours =
        n->own_login || (n->listener_login && !res->challenge[0]); /* the registry does not say where to log in */
    if (ours && *http_host(req))
        reply_challenge(req, http_path(req) + strlen("/v2/"), n->own_name_len);
    else if (!ours && res->challenge[0])
        http_reply_header(req, "WWW-Authenticate", "%s", res->challenge);
    http_error(req, 401, "UNAUTHORIZED", "%s%s%s", res->err.msg, glue, hint);
}

void reply_hit(struct http_request *req)
{
    http_reply_header(req, "Cache-Status", "entrepot; hit");
    note_of(req)->result = RESULT_HIT;
    note_of(req)->source = SOURCE_CACHE;
}

static const char *reply_joined(const struct fetch_result *res)
{
    return res->joined == HOW_PEER ? "; detail=peer" : res->joined == HOW_SHARED ? "; detail=shared" : "";
}

void reply_status(struct http_request *req, const struct fetch_result *res)
{
    static const struct {
        enum note_result result;
        enum note_source source;
        const char *text;
    } how[] = {
        [HOW_HIT] = {RESULT_HIT, SOURCE_CACHE, "hit"},
        [HOW_PARTIAL] = {RESULT_HIT, SOURCE_CACHE, "hit; detail=partial"},
        [HOW_MISS] = {RESULT_MISS, SOURCE_UPSTREAM, "fwd=uri-miss; stored"},
        [HOW_PEER] = {RESULT_MISS, SOURCE_PEERS, "fwd=uri-miss; detail=peer"},
        [HOW_SHARED] = {RESULT_MISS, SOURCE_SHARED, "fwd=uri-miss; detail=shared"},
        [HOW_COLLAPSED] = {RESULT_COLLAPSED, SOURCE_CACHE, NULL},
        [HOW_REVALIDATED] = {RESULT_REVALIDATED, SOURCE_CACHE, NULL},
        [HOW_STALE] = {RESULT_STALE, SOURCE_CACHE, NULL},
        [HOW_BYPASS] = {RESULT_BYPASS, SOURCE_UPSTREAM, "fwd=bypass"},
        [HOW_DENIED] = {RESULT_DENIED, SOURCE_UPSTREAM, "fwd=bypass"},
        [HOW_ERROR] = {RESULT_ERROR, SOURCE_UPSTREAM, NULL},
    };
    struct request_note *n = note_of(req);

    n->result = (uint8_t)how[res->how].result;
    n->source = (uint8_t)how[res->how].source;
    if (how[res->how].text)
        http_reply_header(req, "Cache-Status", "entrepot; %s", how[res->how].text);
    else if (res->how == HOW_COLLAPSED)
        http_reply_header(req, "Cache-Status", "entrepot; fwd=uri-miss; collapsed%s", reply_joined(res));
    else if (res->how == HOW_STALE)
        http_reply_header(req, "Cache-Status", "entrepot; hit; ttl=-%lld", (long long)res->ttl_s);
    else if (res->how == HOW_REVALIDATED)
        http_reply_header(req, "Cache-Status", "entrepot; fwd=stale; fwd-status=%d", res->upstream_status);
    else if (res->upstream_status > 0)
        http_reply_header(req, "Cache-Status", "entrepot; fwd=uri-miss; fwd-status=%d", res->upstream_status);
    else
        http_reply_header(req, "Cache-Status", "entrepot; fwd=uri-miss");
}

static const char *unknown(enum note_kind kind)
{
    return kind == KIND_BLOB ? "BLOB_UNKNOWN" : kind == KIND_TAGS ? "NAME_UNKNOWN" : "MANIFEST_UNKNOWN";
}

void reply_failure(struct http_request *req, const struct fetch_result *res, enum note_kind kind)
{
    const struct err *e = &res->err;
    char site[16];

    snprintf(site, sizeof(site), "%d", (int)note_of(req)->upstream);
    reply_status(req, res);
    seen_detail_fail(note_of(req)->detail, e);
    if (e->code != ERR_NOT_FOUND && e->code != ERR_DENIED && e->code != ERR_CANCELLED)
        log_limited_about(LOG_LEVEL_WARN, err_name(e->code), site, "%s %s: %s", http_method_name(req), http_path(req),
                          e->msg);
    else if (e->code == ERR_DENIED)
        log_limited_about(LOG_LEVEL_INFO, "denied", site, "%s %s: %s", http_method_name(req), http_path(req), e->msg);
    switch (e->code) {
    case ERR_NOT_FOUND:
        http_error(req, 404, note_of(req)->upstream == SITE_LOCAL ? "NAME_UNKNOWN" : unknown(kind), "%s", e->msg);
        break;
    case ERR_DENIED:
        reply_denied(req, res);
        break;
    case ERR_RATE_LIMIT:
        if (e->retry_after > 0)
            http_reply_header(req, "Retry-After", "%d", e->retry_after);
        http_error(req, 429, "TOOMANYREQUESTS", "%s", e->msg);
        break;
    case ERR_TIMEOUT:
        http_error(req, 504, "UNAVAILABLE", "%s", e->msg);
        break;
    case ERR_BUSY:
        http_reply_header(req, "Retry-After", "%d", MAX(e->retry_after, 1));
        http_error(req, 503, "UNAVAILABLE", "%s", e->msg);
        break;
    case ERR_CANCELLED:
        http_reply_header(req, "Retry-After", "1");
        http_error(req, 503, "UNAVAILABLE", "%s", e->msg);
        break;
    case ERR_NO_SPACE:
        http_error(req, 507, "UNAVAILABLE", "%s", e->msg);
        break;
    case ERR_IO:
    case ERR_CORRUPT:
        http_error(req, 500, "UNKNOWN", "%s", e->msg);
        break;
    default:
        http_error(req, 502, "UNAVAILABLE", "%s", e->msg);
    }
}
