/* Where the daemon listens: the addresses of the configuration, sockets that were handed over, the admin socket. */
#include "proxy/private.h"

#include "base/log.h"
#include "base/writable.h"
#include "proxy/intercept/ca.h"
#include "upstream/reach.h"

#include <string.h>

static struct ssl_ctx_st *choose_context(void *ca, const char *host)
{
    return ca_context(ca, host);
}

const struct listener *listeners_find(const struct place *places, int count, enum place_kind kind)
{
    for (int i = 0; i < count; i++)
        if (places[i].kind == kind)
            return places[i].listener;
    return NULL;
}

void place_free(struct place *place)
{
    listener_free(place->listener);
    http_tls_free(place->tls);
    free(place->says);
    memset(place, 0, sizeof(*place));
}

/* ---- what the configuration wants ---- */

/* An address of it; nth < 0: not one of `listen`. */
struct wish {
    enum place_kind kind;
    const char *address;
    int nth;
    char *says;
};

/* `cluster` is that of the start: another one needs a restart. */
static int list_wishes(const struct config *c, const struct config_cluster *cluster, struct wish wishes[LISTENERS_MAX])
{
    int n = 0;

    for (int i = 0; c->listen[i]; i++) {
        const struct config_tls *t = &c->listen_tls[i];
        wishes[n++] =
            (struct wish){PLACE_REGISTRY, c->listen[i], i,
                          xasprintf("%s\n%s\n%s\n%s\n%s\n%d", c->listen[i],
                                    c->listen_upstream[i] ? c->listen_upstream[i] : "", t->cert ? t->cert : "",
                                    t->key ? t->key : "", t->client_ca ? t->client_ca : "", c->listen_intercept[i])};
    }
    if (c->intercept.address)
        wishes[n++] =
            (struct wish){PLACE_FORWARD, c->intercept.address, -1, xasprintf("forward\n%s", c->intercept.address)};
    if (cluster->advertise)
        wishes[n++] = (struct wish){PLACE_CLUSTER, cluster->listen, -1, xasprintf("cluster\n%s", cluster->listen)};
    if (c->metrics_address)
        wishes[n++] =
            (struct wish){PLACE_METRICS, c->metrics_address, -1, xasprintf("metrics\n%s", c->metrics_address)};
    return n;
}

static void free_wishes(struct wish *wishes, int count)
{
    for (int i = 0; i < count; i++)
        free(wishes[i].says);
}

/* Between nodes each side shows its certificate. */
static bool furnish_cluster(const struct config *c, struct place *place, struct err *err)
{
    const struct config_tls *t = &c->cluster.tls;
    const struct tls_files files = {t->cert, t->key, t->client_ca};

    log_info("other nodes of the cluster reach this one at %s", c->cluster.advertise);
    if (!t->cert)
        return true;
    place->tls = http_tls_new(c->cluster.listen, &files, err);
    if (place->tls)
        listener_set_tls(place->listener, place->tls);
    return place->tls;
}

/* What an address has beside it: the one registry, TLS. */
static bool furnish(struct proxy *p, const struct config *c, const struct wish *w, struct place *place, struct err *err)
{
    place->kind = w->kind;
    free(place->says);
    place->says = xstrdup(w->says);
    listener_set_forward(place->listener, w->kind == PLACE_FORWARD);
    if (w->kind == PLACE_FORWARD)
        log_info("a forward proxy is on %s", w->address);
    if (w->kind == PLACE_CLUSTER)
        return furnish_cluster(c, place, err);
    if (w->nth < 0)
        return true;
    const struct config_tls *t = &c->listen_tls[w->nth];
    const struct tls_files files = {t->cert, t->key, t->client_ca};
    listener_set_label(place->listener, c->listen_upstream[w->nth]);
    if (c->listen_upstream[w->nth])
        log_info("only %s is served on %s", c->listen_upstream[w->nth], w->address);
    if (!files.cert && !c->listen_intercept[w->nth])
        return true;
    place->tls = files.cert ? http_tls_new(w->address, &files, err)
                            : http_tls_new_by_name(w->address, choose_context, atomic_load(&p->ca));
    if (!place->tls)
        return false;
    place->by_name = c->listen_intercept[w->nth];
    log_info("TLS is spoken on %s%s", w->address, files.client_ca ? "; clients need a certificate" : "");
    listener_set_tls(place->listener, place->tls);
    return true;
}

/* ---- the start ---- */

/* The socket that was handed over for an address of the configuration; NULL: there is none. */
static struct place *find_inherited(struct proxy *p, const char *address)
{
    for (int i = 0; i < p->place_count; i++)
        if (p->places[i].inherited && listener_is_at(p->places[i].listener, address))
            return &p->places[i];
    return NULL;
}

static bool explain_cluster(const struct wish *w, struct err *err)
{
    bool absent = strstr(err->msg, "no such address") != NULL;

    err_wrap(err, "cluster.listen (by default cluster.advertise)");
    return absent ? err_append(err, ": set cluster.listen to one that it has, or to *%s", strrchr(w->address, ':'))
                  : false;
}

/* Sockets that were handed over replace the list. A listener for one upstream, or with TLS, is opened nevertheless
 * unless it is among them: no other one could serve its clients. */
static bool start_place(struct proxy *p, int inherited, struct kept *kept, const struct wish *w, struct err *err)
{
    const struct config *c = p->config;
    bool is_own = w->nth < 0 || c->listen_upstream[w->nth] || c->listen_tls[w->nth].cert || c->listen_intercept[w->nth];
    struct place *place = w->nth >= 0 && is_own ? find_inherited(p, w->address) : NULL;

    if (inherited > 0 && (place || !is_own))
        return !place || furnish(p, c, w, place, err);
    if (w->nth >= 0 && p->place_count == CONFIG_LISTEN_MAX)
        return err_set(err, ERR_INVALID, "more than %d addresses to listen on", (int)CONFIG_LISTEN_MAX);
    int fds[KEPT_MAX], n = keep_find(kept, w->address, fds);
    struct listener *l = n > 0 ? listener_from_kept(w->address, fds, n) : listener_open(w->address, 0666, err);
    if (!l)
        return w->kind == PLACE_CLUSTER ? explain_cluster(w, err) : false;
    place = &p->places[p->place_count++];
    place->listener = l;
    return furnish(p, c, w, place, err);
}

static bool open_admin(struct proxy *p, struct err *err)
{
    const char *socket = p->config->admin_socket;
    _cleanup_free_ char *address = xasprintf("unix:%s", socket), *dir = writable_folder_of(socket);
    bool is_there = writable_make_folder(dir, 0755, err) || writable_explain(dir, err);
    struct listener *l = is_there ? listener_open(address, 0660, err) : NULL;

    if (!l)
        return err_wrap(err, "the admin socket");
    p->places[p->place_count++] = (struct place){.kind = PLACE_ADMIN, .listener = l, .says = xstrdup("admin")};
    p->admin_listener = l;
    return true;
}

static void note_places(const struct proxy *p)
{
    struct sockaddr_storage bound[LISTENERS_MAX] = {0};
    int count = 0;

    for (int i = 0; i < p->place_count; i++)
        if (p->places[i].by_name && listener_bound(p->places[i].listener, &bound[count]))
            count++;
    reach_set_places(bound, count);
}

static void take_inherited(struct proxy *p, int fd)
{
    if (p->place_count < CONFIG_LISTEN_MAX)
        p->places[p->place_count++] = (struct place){.kind = PLACE_REGISTRY,
                                                     .listener = listener_from_fd(fd),
                                                     .says = xstrdup("handed over"),
                                                     .inherited = true};
}

/* The configuration may have changed since sockets were kept. An address that is wanted may lie beside one that is not:
 * *:5000 and 127.0.0.1:5000. */
static void close_unwanted(struct kept *kept, const struct wish *wishes, int count)
{
    struct kept wanted = {0};

    for (int i = 0; i < count; i++)
        wanted.count += keep_find(kept, wishes[i].address, wanted.fds + wanted.count);
    keep_close(kept);
    *kept = wanted;
}

static bool start_places(struct proxy *p, struct err *err)
{
    struct wish wishes[LISTENERS_MAX];
    struct kept kept = {0};
    int inherited = keep_read(&kept, take_inherited, p), count = list_wishes(p->config, &p->config->cluster, wishes);
    bool ok = true;

    close_unwanted(&kept, wishes, count);
    for (int i = 0; ok && i < count; i++)
        ok = start_place(p, inherited, &kept, &wishes[i], err);
    keep_close(&kept);
    free_wishes(wishes, count);
    return ok;
}

bool listeners_open(struct proxy *p, struct err *err)
{
    if (!interception_open(p, p->config, err) || !start_places(p, err) || !open_admin(p, err))
        return false;
    for (int j = 0; j < p->place_count; j++) {
        if (!listener_bind(p->places[j].listener, p->serve_loop_count, err))
            return false;
        for (int i = 0; i < p->serve_loop_count; i++)
            listener_enter(p->places[j].listener, i, p->serve_loops[i].loop, p->serve_loops[i].http);
        keep_add(p->places[j].listener);
    }
    note_places(p);
    return true;
}

void listeners_free(struct proxy *p)
{
    for (int i = 0; i < p->place_count; i++)
        place_free(&p->places[i]);
    p->place_count = 0;
}

void listeners_give_up(struct proxy *p)
{
    for (int i = 0; i < p->place_count; i++)
        keep_remove(p->places[i].listener);
}

/* ---- other addresses ---- */

static bool has_port_of(const struct proxy *p, const char *address)
{
    const char *port = strrchr(address, ':');

    for (int i = 0; i < p->place_count && port; i++) {
        const char *own = strrchr(listener_address(p->places[i].listener), ':');
        if (own && strcmp(own, port) == 0 && strcmp(port, ":0") != 0)
            return true;
    }
    return false;
}

static bool is_next(const struct listeners_change *change, const struct listener *l)
{
    for (int i = 0; i < change->next_count; i++)
        if (change->next[i].listener == l)
            return true;
    return false;
}

static struct place *find_listened(struct proxy *p, const struct listeners_change *change, const struct wish *w,
                                   bool same)
{
    for (int i = 0; i < p->place_count; i++) {
        struct place *place = &p->places[i];
        bool at = same ? strcmp(place->says, w->says) == 0
                       : strcmp(listener_address(place->listener), w->address) == 0 && strcmp(w->address, "") != 0;
        if (at && place->kind != PLACE_ADMIN && !is_next(change, place->listener))
            return place;
    }
    return NULL;
}

/* The listener is kept if nothing of it changes, its sockets if the address does not. */
static bool prepare_place(struct proxy *p, const struct config *c, struct listeners_change *change,
                          const struct wish *w, struct err *err)
{
    struct place *same = find_listened(p, change, w, true), *was = same ? NULL : find_listened(p, change, w, false),
                 *next = &change->next[change->next_count];

    if (same) {
        *next = *same;
        change->next_count++;
        return true;
    }
    struct listener *l = was ? listener_renew(was->listener, err)
                             : listener_open_beside(w->address, 0666, has_port_of(p, w->address), err);
    if (!l)
        return false;
    change->next_count++;
    change->fresh[change->fresh_count++] = l;
    *next = (struct place){.listener = l};
    return listener_bind(l, p->serve_loop_count, err) && furnish(p, c, w, next, err);
}

/* Sockets that were handed over are systemd's: only its own unit can change them. */
static bool listen_differs(struct proxy *p, const struct wish *wishes, int count)
{
    int known = 0, mine = 0;

    for (int i = 0; i < count; i++)
        if (wishes[i].kind == PLACE_REGISTRY) {
            bool there = false;
            for (int k = 0; k < p->place_count; k++)
                there = there || strcmp(p->places[k].says, wishes[i].says) == 0;
            known += there;
            mine++;
        }
    return known != mine;
}

bool listeners_prepare(struct proxy *p, const struct config *c, struct listeners_change *change, struct err *err)
{
    struct wish wishes[LISTENERS_MAX];
    int count = list_wishes(c, &p->config->cluster, wishes);
    bool ok = true, handed_over = false;

    memset(change, 0, sizeof(*change));
    for (int i = 0; i < p->place_count; i++)
        handed_over = handed_over || p->places[i].inherited;
    change->handed_over = handed_over && listen_differs(p, wishes, count);
    for (int i = 0; i < p->place_count; i++)
        if (p->places[i].kind == PLACE_ADMIN || (handed_over && p->places[i].kind == PLACE_REGISTRY))
            change->next[change->next_count++] = p->places[i];
    for (int i = 0; ok && i < count; i++)
        if (!handed_over || wishes[i].kind != PLACE_REGISTRY)
            ok = prepare_place(p, c, change, &wishes[i], err);
    free_wishes(wishes, count);
    for (int i = 0; ok && i < p->place_count; i++)
        if (!is_next(change, p->places[i].listener))
            change->gone[change->gone_count++] = p->places[i];
    return ok;
}

static bool is_fresh(const struct listeners_change *change, const struct listener *l)
{
    for (int i = 0; i < change->fresh_count; i++)
        if (change->fresh[i] == l)
            return true;
    return false;
}

void listeners_drop(struct listeners_change *change)
{
    for (int i = 0; i < change->next_count; i++)
        if (is_fresh(change, change->next[i].listener))
            place_free(&change->next[i]);
    memset(change, 0, sizeof(*change));
}

void listeners_commit(struct proxy *p, struct listeners_change *change)
{
    for (int i = 0; i < change->gone_count; i++) {
        struct listener *gone = change->gone[i].listener, *next = NULL;
        for (int k = 0; k < change->fresh_count; k++)
            if (strcmp(listener_address(gone), listener_address(change->fresh[k])) == 0)
                next = change->fresh[k];
        if (next) {
            listener_take_over(next, gone);
            continue;
        }
        listener_remove_file(gone);
        keep_remove(gone);
        log_info("%s is listened on no longer", listener_address(gone));
    }
    for (int i = 0; i < change->fresh_count; i++)
        keep_add(change->fresh[i]);
    memcpy(p->places, change->next, sizeof(p->places));
    p->place_count = change->next_count;
    note_places(p);
}
