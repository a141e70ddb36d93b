/* Members by etcd: a key of this node's under a lease (members_lease.c), and a watch over all (members_watch.c). Each
 * goes on without the other, and so do limits of registries, which are shared by the same client (budgets.h). */
#include "cluster/budgets.h"
#include "cluster/members_private.h"

#include "base/assert.h"

#include <string.h>

struct members_etcd {
    /* set once */
    const struct members_place *place;
    struct etcd *etcd;
    char *prefix;         /* "/entrepot/nodes/" */
    char *budgets_prefix; /* "/entrepot/budgets/" */
    /* owned by the loop */
    struct members_lease *lease;
    struct members_watch *watch;
    struct budgets_link *budgets; /* NULL: without a ledger */
    struct members_note note;
    bool lease_ok, watch_ok; /* ... is well, or has not failed */
    char lease_why[MEMBERS_WHY_MAX + 1], watch_why[MEMBERS_WHY_MAX + 1];
    bool leaves;
};

static void etcd_tell(struct members_etcd *m)
{
    const char *why = m->watch_why[0] ? m->watch_why : m->lease_why[0] ? m->lease_why : NULL;

    if (!m->leaves && (why || (m->lease_ok && m->watch_ok)))
        members_note(m->place, &m->note, "etcd", why);
}

static void etcd_take_lease_state(void *arg, const struct err *err)
{
    struct members_etcd *m = arg;

    m->lease_ok = !err;
    snprintf(m->lease_why, sizeof(m->lease_why), "%.*s", (int)MEMBERS_WHY_MAX, err ? err->msg : "");
    etcd_tell(m);
}

static void etcd_take_watch_state(void *arg, const struct err *err)
{
    struct members_etcd *m = arg;

    m->watch_ok = !err;
    snprintf(m->watch_why, sizeof(m->watch_why), "%.*s", (int)MEMBERS_WHY_MAX, err ? err->msg : "");
    etcd_tell(m);
}

static void etcd_take_missing(void *arg)
{
    struct members_etcd *m = arg;

    if (m->lease)
        members_lease_renew(m->lease);
}

struct members_etcd *members_etcd_new(const struct members_place *p, struct err *err)
{
    const struct config_cluster *c = p->config;
    const char *prefix = c->prefix && *c->prefix ? c->prefix : "/entrepot";
    size_t len = strlen(prefix);
    uint64_t own = ring_hash(p->self->address, strlen(p->self->address));
    struct etcd *e = etcd_new(&(struct etcd_options){.loop = p->loop,
                                                     .engine = p->engine,
                                                     .endpoints = (const char *const *)c->etcd,
                                                     .first = (unsigned)own,
                                                     .trust = &c->etcd_trust,
                                                     .username = c->username,
                                                     .password_file = c->password_file},
                              err);

    if (!e)
        return NULL;
    while (len > 0 && prefix[len - 1] == '/')
        len--;
    struct members_etcd *m = xcalloc(1, sizeof(*m));
    m->place = p;
    m->etcd = e;
    m->prefix = xasprintf("%.*s/nodes/", (int)len, prefix);
    m->budgets_prefix = xasprintf("%.*s/budgets/", (int)len, prefix);
    return m;
}

void members_etcd_begin(void *etcd)
{
    struct members_etcd *m = etcd;
    _cleanup_free_ char *key = xasprintf("%s%s", m->prefix, m->place->self->address);

    ON_LOOP(m->place->loop);
    if (m->leaves)
        return;
    m->lease = members_lease_new(m->place, m->etcd, key, etcd_take_lease_state, m);
    m->watch = members_watch_new(m->place, m->etcd, m->prefix, etcd_take_watch_state, etcd_take_missing, m);
    if (m->place->ledger)
        m->budgets = budgets_link_new(m->place, m->etcd, m->budgets_prefix);
}

void members_etcd_leave(struct members_etcd *m, void (*on_left)(void *arg), void *arg)
{
    ON_LOOP(m->place->loop);
    m->leaves = true;
    if (!m->lease || !members_lease_leave(m->lease, on_left, arg))
        on_left(arg);
}

void members_etcd_end(struct members_etcd *m)
{
    etcd_end(m->etcd);
    members_lease_free(m->lease);
    members_watch_free(m->watch);
    budgets_link_free(m->budgets);
    m->budgets = NULL;
    m->lease = NULL;
    m->watch = NULL;
}

void members_etcd_free(struct members_etcd *m)
{
    if (!m)
        return;
    etcd_free(m->etcd);
    free(m->prefix);
    free(m->budgets_prefix);
    free(m);
}
