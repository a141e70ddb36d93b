#include "proxy/intercept/forward.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/log.h"
#include "config/config.h"
#include "proxy/http/http.h"
#include "proxy/intercept/ca.h"
#include "upstream/transfer.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

enum {
    AUTHORITY_MAX = 300, /* bytes of "host:port" */
    TUNNELS_MAX = 1024,
    TUNNEL_CONNECT_MS = 20000,
    TLS_PORT = 443,
};

struct forward {
    const struct config *config;
    struct ca *ca;
    struct transfer_engine *engine;
};

static atomic_int connecting; /* tunnels, in all loops */

/* A tunnel that is not connected yet. */
struct tunnel_wait {
    struct http_request *req;
    struct transfer *connecting;
};

struct forward *forward_new(const struct config *config, struct ca *ca, struct loop *loop, struct err *err)
{
    struct transfer_engine *engine = transfer_engine_new(loop, err);
    struct forward *f = engine ? xcalloc(1, sizeof(*f)) : NULL;

    if (f)
        *f = (struct forward){config, ca, engine};
    return f;
}

void forward_set(struct forward *f, const struct config *config, struct ca *ca)
{
    f->config = config;
    f->ca = ca;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    transfer_engine_free(f->engine);
    free(f);
}

/* ---- the client, and what it wants ---- */

bool forward_admit(struct forward *f, struct http_request *req)
{
    struct sockaddr_storage peer, own;

    if (http_addresses(req, &peer, &own) && config_may_intercept(f->config, (struct sockaddr *)&peer))
        return true;
    log_limited(LOG_LEVEL_INFO, "not admitted", "a client that intercept.allow does not have is refused");
    http_error(req, 403, "DENIED", "this address may not use the proxy (intercept.allow)");
    return false;
}

/* The client has an address of this machine: the one that it has connected to, or loopback. */
static bool is_local(const struct http_request *req)
{
    struct sockaddr_storage peer, own;

    if (!http_addresses(req, &peer, &own))
        return false;
    const struct ip from = ip_of((struct sockaddr *)&peer), to = ip_of((struct sockaddr *)&own);
    bool four = from.bits == 32, six = from.bits == 128;
    return (four && from.raw[0] == 127) || (six && memcmp(&from.raw, &in6addr_loopback, 16) == 0) ||
           (from.bits > 0 && from.bits == to.bits && memcmp(from.raw, to.raw, (size_t)from.bits / 8) == 0);
}

/* "host:port" and "[address]:port" (RFC 9110 §7.2, §9.3.6); the host without brackets. 0: it is not that. */
static int read_authority(const char *text, char host[AUTHORITY_MAX])
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    char *end;

    if (len == 0 || len >= AUTHORITY_MAX || colon[1] < '1' || colon[1] > '9')
        return 0;
    long port = strtol(colon + 1, &end, 10);
    if (*end || port > 65535)
        return 0;
    bool v6 = text[0] == '[' && text[len - 1] == ']';
    snprintf(host, AUTHORITY_MAX, "%.*s", (int)(v6 ? len - 2 : len), v6 ? text + 1 : text);
    size_t good = strspn(host, v6 ? "0123456789abcdef:." : "abcdefghijklmnopqrstuvwxyz0123456789-._");
    return good == strlen(host) && good > 0 ? (int)port : 0;
}

/* ---- tunnels ---- */

static void tunnel_gone(void *arg)
{
    struct tunnel_wait *w = arg;

    transfer_cancel(w->connecting);
    atomic_fetch_sub(&connecting, 1);
    free(w);
}

static void tunnel_connected(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct tunnel_wait *w = arg;
    struct http_request *req = w->req;

    free(w);
    atomic_fetch_sub(&connecting, 1);
    http_on_gone(req, NULL, NULL);
    if (!err)
        http_connect_tunnel(req, r->socket);
    else if (err->code == ERR_DENIED)
        http_error(req, 403, "DENIED", "%s", err->msg);
    else
        http_error(req, err->code == ERR_TIMEOUT ? 504 : 502, "UNAVAILABLE", "%s", err->msg);
}

static void tunnel_begin(struct forward *f, struct http_request *req)
{
    _cleanup_free_ char *url = xasprintf("http://%s/", http_authority(req));
    struct tunnel_wait *w = xcalloc(1, sizeof(*w));

    w->req = req;
    atomic_fetch_add(&connecting, 1);
    http_on_gone(req, tunnel_gone, w);
    w->connecting = transfer_start(f->engine, &(struct transfer_request){.method = "GET",
                                                                         .url = url,
                                                                         .range_first = -1,
                                                                         .connect_only = true,
                                                                         .anywhere = is_local(req),
                                                                         .isolated = true,
                                                                         .connect_timeout_ms = TUNNEL_CONNECT_MS,
                                                                         .total_timeout_ms = TUNNEL_CONNECT_MS,
                                                                         .on_done = tunnel_connected,
                                                                         .arg = w});
}

void forward_connect(struct forward *f, struct http_request *req)
{
    char host[AUTHORITY_MAX];
    int port = read_authority(http_authority(req), host);

    if (port == 0) {
        http_error(req, 400, "UNSUPPORTED", "CONNECT needs a host and a port");
        return;
    }
    struct ssl_ctx_st *ctx = port == TLS_PORT && f->ca ? ca_context(f->ca, host) : NULL;
    if (ctx) {
        http_connect_tls(req, ctx, host);
        return;
    }
    if (!f->config->intercept.tunnel) {
        http_error(req, 403, "DENIED",
                   "%s is no registry that is served here, and tunnels to others are off (intercept.tunnel)", host);
        return;
    }
    if (http_tunnels() + atomic_load(&connecting) >= TUNNELS_MAX) {
        http_reply_header(req, "Retry-After", "1");
        http_error(req, 503, "TOOMANYREQUESTS", "there are %d tunnels already", (int)TUNNELS_MAX);
        return;
    }
    tunnel_begin(f, req);
}
