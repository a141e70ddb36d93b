/* Interception, as the daemon has it: the authority, what each serve loop has for it, and which of its requests are
 * pulls.
 *
 *     CONNECT                            proxy/intercept/forward.c
 *     in an opened connection            a pull: the cache; all else: proxy/intercept/pass.c
 *     http://… of a forward proxy        the same, of a registry that is `insecure`
 */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/log.h"
#include "proxy/intercept/ca.h"
#include "proxy/registry/handlers.h"

#include <string.h>

/* ---- its life ---- */

bool interception_open(struct proxy *p, const struct config *c, struct err *err)
{
    if (!config_intercepts(c) || atomic_load(&p->ca))
        return true;
    char **hosts = config_intercept_hosts(c);
    struct ca *ca =
        ca_open(&(struct authority_files){c->intercept.cert, c->intercept.key}, (const char *const *)hosts, err);
    config_free_hosts(hosts);
    atomic_store(&p->ca, ca);
    return ca != NULL;
}

void interception_set_hosts(struct proxy *p, const struct config *c)
{
    if (!config_intercepts(c))
        return;
    char **hosts = config_intercept_hosts(c);
    ca_set_hosts(atomic_load(&p->ca), (const char *const *)hosts);
    config_free_hosts(hosts);
}

/* Also when nothing is intercepted: a reload may change that. */
bool interception_start(struct proxy *p, struct err *err)
{
    for (int i = 0; i < p->serve_loop_count; i++) {
        struct serve_loop *sl = &p->serve_loops[i];
        sl->passer =
            passer_new(&(struct passer_options){.loop = sl->loop, .cache = p->cache, .fetchers = p->fetchers}, err);
        sl->forward = sl->passer ? forward_new(p->config, atomic_load(&p->ca), sl->loop, err) : NULL;
        if (!sl->forward)
            return false;
        http_server_set_streams(sl->http, pass_wants_stream);
    }
    return true;
}

void interception_end(struct serve_loop *sl)
{
    ON_LOOP(sl->loop);
    if (sl->passer)
        passer_end(sl->passer);
}

void interception_stop(struct proxy *p)
{
    for (int i = 0; i < p->serve_loop_count; i++) {
        forward_free(p->serve_loops[i].forward);
        if (p->serve_loops[i].passer)
            passer_free(p->serve_loops[i].passer);
    }
}

void interception_close(struct proxy *p)
{
    ca_free(atomic_load(&p->ca));
}

/* ---- its requests ---- */

typedef void answer_pull(struct serve_loop *sl, struct http_request *req, const struct route *r);

/* The site of a host that a connection was opened for, or that a URL names. The caller releases it. */
static const struct site *site_of(struct serve_loop *sl, const char *host)
{
    char name[REF_HOST_MAX + 1];

    if (strlen(host) > REF_HOST_MAX)
        return NULL;
    snprintf(name, sizeof(name), "%s", host);
    ref_canonical_host(name);
    site_view_name_alias(&sl->view, name);
    return site_view_find(&sl->view, name);
}

static void take_opened(struct serve_loop *sl, struct http_request *req, const char *host, const struct site *site,
                        answer_pull *pull)
{
    struct route_error error;
    struct route r;

    passer_note_intercepted(sl->passer, site);
    note_of(req)->site = site_ref(site);
    if (!pass_is_pull(req) || !route_parse(&r, req, &sl->view, site->host, &error)) {
        if (config_has_policy(sl->config) && pass_may_be_pull(req))
            http_error(req, 403, "DENIED",
                       "this node has a policy, and this request cannot be read as a pull that it allows");
        else
            pass_through(sl->passer, req, host, site);
        return;
    }
    pull(sl, req, &r);
    site_unref(r.site);
}

/* http://registry/...: what a client sends to a proxy for a registry without TLS. */
static void take_url(struct serve_loop *sl, struct http_request *req, answer_pull *pull)
{
    char host[REF_HOST_MAX + 1];

    snprintf(host, sizeof(host), "%.*s", (int)strcspn(http_host(req), ":"), http_host(req));
    const struct site *site = http_is_absolute(req) ? site_of(sl, http_host(req)) : NULL;
    if (!site && http_is_absolute(req))
        site = site_of(sl, host);
    if (site && site->config->insecure)
        take_opened(sl, req, host, site, pull);
    else if (http_is_absolute(req))
        http_error(req, 403, "DENIED", "%.100s is not a registry without TLS of this cache (upstreams: insecure)",
                   http_host(req));
    else
        http_error(req, 400, "UNSUPPORTED", "this is a forward proxy: set HTTPS_PROXY to its address");
    site_unref(site);
}

/* The host that a request names, in its URL or in Host, is the one that the connection was opened for: to the registry,
 * and to what serves others there, too, it would be for another one, and what is answered would count as this one's
 * (RFC 9110 §7.4). */
static bool is_meant(const struct http_request *req, const char *opened)
{
    const char *named = http_host(req);
    size_t len = strlen(opened);

    return !*named || (strncmp(named, opened, len) == 0 && (named[len] == ':' || named[len] == '\0'));
}

bool interception_take(struct serve_loop *sl, struct http_request *req, answer_pull *pull)
{
    const char *host = http_opened_host(req);
    bool forward = http_is_forward(req) && sl->forward;

    ON_LOOP(sl->loop);
    if (!host && !forward)
        return false;
    if (!host && !forward_admit(sl->forward, req))
        return true;
    if (!host && http_method(req) == HTTP_METHOD_CONNECT) {
        forward_connect(sl->forward, req);
        return true;
    }
    if (!host) {
        take_url(sl, req, pull);
        return true;
    }
    if (!is_meant(req, host)) {
        http_error(req, 421, "UNSUPPORTED", "this connection was opened for %.100s, not for %.100s", host,
                   http_host(req));
        return true;
    }
    const struct site *site = site_of(sl, host);
    if (site)
        take_opened(sl, req, host, site, pull);
    else if (!ca_speaks_for(atomic_load(&sl->proxy->ca), host))
        http_abort(req); /* a reload took it away: clients ask again, on a connection that leads to the registry */
    else
        http_error(req, 503, "UNAVAILABLE", "too many registries are in use at once: retry in a moment");
    site_unref(site);
    return true;
}

/* ---- its figures ---- */

static void print_intercepted(const struct proxy *p, int group, const char *name, struct buf *out)
{
    uint64_t n = 0;

    for (int i = 0; i < p->serve_loop_count; i++)
        n += passer_intercepted(p->serve_loops[i].passer, group);
    if (n > 0)
        buf_addf(out, "entrepot_intercepted_total{upstream=\"%s\"} %llu\n", name, (unsigned long long)n);
}

static void print_passed(const struct proxy *p, int group, const char *name, struct buf *out)
{
    for (int m = 0; m < PASS_METHODS; m++) {
        uint64_t n = 0;
        for (int i = 0; i < p->serve_loop_count; i++)
            n += passer_count(p->serve_loops[i].passer, group, (enum pass_method)m);
        if (n > 0)
            buf_addf(out, "entrepot_passed_through_total{upstream=\"%s\",method=\"%s\"} %llu\n", name,
                     pass_method_name((enum pass_method)m), (unsigned long long)n);
    }
}

void interception_print(const struct proxy *p, struct buf *out)
{
    static const struct {
        const char *head;
        void (*print)(const struct proxy *p, int group, const char *name, struct buf *out);
    } counters[] = {
        {"# HELP entrepot_intercepted_total Requests in connections that were opened in place of a registry.\n"
         "# TYPE entrepot_intercepted_total counter\n",
         print_intercepted},
        {"# HELP entrepot_passed_through_total Those of them that went on to the registry.\n"
         "# TYPE entrepot_passed_through_total counter\n",
         print_passed},
    };

    if (!atomic_load(&p->ca))
        return;
    for (size_t c = 0; c < ARRAY_LEN(counters); c++) {
        buf_adds(out, counters[c].head);
        for (int g = 0; g < GROUPS; g++)
            if (sites_group_name(p->sites, g))
                counters[c].print(p, g, sites_group_name(p->sites, g), out);
    }
    buf_addf(out,
             "# HELP entrepot_tunnels Connections of the forward proxy that are passed on unseen.\n"
             "# TYPE entrepot_tunnels gauge\nentrepot_tunnels %d\n",
             http_tunnels());
}
