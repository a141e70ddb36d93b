#include "cluster/members_private.h"

#include "base/assert.h"
#include "base/latch.h"

#include <string.h>

struct members {
    struct members_place place;
    struct member self;
    struct members_etcd *etcd; /* one of them */
    struct members_dns *dns;
    struct latch left; /* while it is being stopped */
};

static bool members_begin(struct members *m, struct err *err)
{
    bool by_etcd = m->place.config->etcd[0] != NULL;

    if (!by_etcd && !m->place.config->dns)
        return err_set(err, ERR_INVALID, "the cluster has neither etcd nor dns");
    if (!members_is_address(m->self.address))
        return err_set(err, ERR_INVALID, "%s is not an address of a node", m->self.address);
    m->place.loop = loop_new("cluster", err);
    m->place.engine = m->place.loop ? transfer_engine_new(m->place.loop, err) : NULL;
    if (!m->place.engine)
        return false;
    if (by_etcd)
        m->etcd = members_etcd_new(&m->place, err);
    else
        m->dns = members_dns_new(&m->place, err);
    if (m->etcd)
        loop_post(m->place.loop, members_etcd_begin, m->etcd);
    else if (m->dns)
        loop_post(m->place.loop, members_dns_begin, m->dns);
    return (m->etcd || m->dns) && loop_start(m->place.loop, err);
}

/* The loop has ended, or was never started. */
static void members_end(struct members *m)
{
    if (m->etcd)
        members_etcd_end(m->etcd);
    members_dns_free(m->dns);
    m->dns = NULL;
    if (m->place.engine) {
        transfer_engine_end(m->place.engine);
        transfer_engine_free(m->place.engine);
    }
    members_etcd_free(m->etcd);
    m->etcd = NULL;
    loop_free(m->place.loop);
}

struct members *members_start(const struct config_cluster *c, const struct member *self, struct peers *peers,
                              struct ledger *ledger, struct err *err)
{
    struct members *m = xcalloc(1, sizeof(*m));

    m->self = *self;
    m->place = (struct members_place){.config = c, .self = &m->self, .peers = peers, .ledger = ledger};
    if (!members_begin(m, err)) {
        err_wrap(err, "joining the cluster");
        members_end(m);
        members_free(m);
        return NULL;
    }
    return m;
}

static void members_on_left(void *arg)
{
    latch_open(&((struct members *)arg)->left, NULL);
}

static void members_leave(void *arg)
{
    struct members *m = arg;

    if (m->etcd)
        members_etcd_leave(m->etcd, members_on_left, m);
    else
        members_on_left(m);
}

void members_stop(struct members *m)
{
    OFF_LOOPS;
    latch_init(&m->left);
    loop_post(m->place.loop, members_leave, m);
    latch_wait(&m->left, NULL);
    loop_stop(m->place.loop);
    loop_join(m->place.loop);
    members_end(m);
}

void members_free(struct members *m)
{
    free(m);
}
