/* Where the daemon listens: the addresses of the configuration, sockets that were handed over, the admin socket. */
#include "proxy/private.h"

#include "base/log.h"
#include "base/writable.h"
#include "proxy/intercept/ca.h"
#include "upstream/reach.h"

#include <systemd/sd-daemon.h>

static struct ssl_ctx_st *choose_context(void *ca, const char *host)
{
    return ca_context(ca, host);
}

/* What the nth address of the configuration has beside it: the one registry, TLS. */
static bool set_up_listener(struct proxy *p, struct listener *l, int nth, struct err *err)
{
    const struct config *c = p->config;
    struct sockaddr_storage bound = {0};
    const struct tls_files files = {c->listen_tls[nth].cert, c->listen_tls[nth].key, c->listen_tls[nth].client_ca};

    listener_set_label(l, c->listen_upstream[nth]);
    if (c->listen_upstream[nth])
        log_info("only %s is served on %s", c->listen_upstream[nth], c->listen[nth]);
    if (!files.cert && !c->listen_intercept[nth])
        return true;
    struct http_tls *tls = files.cert ? http_tls_new(c->listen[nth], &files, err)
                                      : http_tls_new_by_name(c->listen[nth], choose_context, p->ca);
    if (!tls)
        return false;
    if (c->listen_intercept[nth] && listener_bound(l, &bound))
        reach_note_place((const struct sockaddr *)&bound);
    log_info("TLS is spoken on %s%s", c->listen[nth], files.client_ca ? "; clients need a certificate" : "");
    p->tls[p->tls_count++] = tls;
    listener_set_tls(l, tls);
    return true;
}

/* The socket that was handed over for the nth address of the configuration; NULL: there is none. */
static struct listener *find_inherited(struct proxy *p, int inherited, int nth)
{
    for (int i = 0; i < inherited && i < p->listener_count; i++)
        if (listener_is_at(p->listeners[i], p->config->listen[nth]))
            return p->listeners[i];
    return NULL;
}

/* Sockets that were handed over replace the list. A listener for one upstream, or with TLS, is opened nevertheless
 * unless it is among them: no other one could serve its clients. */
static bool start_listener(struct proxy *p, int inherited, int nth, struct err *err)
{
    const struct config *c = p->config;
    bool is_own = c->listen_upstream[nth] || c->listen_tls[nth].cert || c->listen_intercept[nth];
    struct listener *l = is_own ? find_inherited(p, inherited, nth) : NULL;

    if (inherited > 0 && (l || !is_own))
        return !l || set_up_listener(p, l, nth, err);
    if (p->listener_count == CONFIG_LISTEN_MAX)
        return err_set(err, ERR_INVALID, "more than %d addresses to listen on", (int)CONFIG_LISTEN_MAX);
    l = listener_open(c->listen[nth], 0666, err);
    if (!l)
        return false;
    p->listeners[p->listener_count++] = l;
    return set_up_listener(p, l, nth, err);
}

bool listeners_open(struct proxy *p, struct err *err)
{
    const struct config *c = p->config;
    int inherited = sd_listen_fds(1);

    if (!interception_open(p, err))
        return false;

    for (int i = 0; i < inherited && p->listener_count < CONFIG_LISTEN_MAX; i++)
        p->listeners[p->listener_count++] = listener_from_fd(SD_LISTEN_FDS_START + i);
    for (int i = 0; c->listen[i]; i++)
        if (!start_listener(p, inherited, i, err))
            return false;
    if (c->intercept.address) {
        struct listener *l = listener_open(c->intercept.address, 0666, err);
        if (!l)
            return false;
        listener_set_forward(l, true);
        log_info("a forward proxy is on %s", c->intercept.address);
        p->forward_listener = p->listeners[p->listener_count++] = l;
    }
    if (c->metrics_address) {
        struct listener *l = listener_open(c->metrics_address, 0666, err);
        if (!l)
            return false;
        p->metrics_listener = p->listeners[p->listener_count++] = l;
    }
    _cleanup_free_ char *admin = xasprintf("unix:%s", c->admin_socket), *dir = writable_folder_of(c->admin_socket);
    bool is_there = writable_make_folder(dir, 0755, err) || writable_explain(dir, err);
    struct listener *l = is_there ? listener_open(admin, 0660, err) : NULL;
    if (!l)
        return err_wrap(err, "the admin socket");
    p->admin_listener = p->listeners[p->listener_count++] = l;
    for (int i = 0; i < p->serve_loop_count; i++)
        for (int j = 0; j < p->listener_count; j++)
            if (!listener_add(p->listeners[j], p->serve_loops[i].loop, p->serve_loops[i].http, err))
                return false;
    return true;
}

void listeners_free(struct proxy *p)
{
    for (int i = 0; i < p->listener_count; i++)
        listener_free(p->listeners[i]);
    p->listener_count = 0;
    for (int i = 0; i < p->tls_count; i++)
        http_tls_free(p->tls[i]);
    p->tls_count = 0;
}
