/* That this node is there: a key under a lease, which it keeps alive.
 *
 *     grant ─▶ put ─▶ keep alive, each third of the lease ┬▶ the lease is unknown: grant
 *                ▲                                         │
 *                └───────────── its key was deleted ◀──────┘        any failure: the same again, after a pause
 */
#include "cluster/members_private.h"

#include "base/assert.h"
#include "base/log.h"

#include <string.h>

enum { LEASE_LEAST_S = 2, LEASE_MOST_S = 60 }; /* etcd may grant a longer one than requested */

struct members_lease {
    /* set once */
    const struct members_place *place;
    struct etcd *etcd;
    char *key, *value;
    void (*on_state)(void *arg, const struct err *err);
    void *arg;
    /* owned by the loop */
    enum { LEASE_GRANT, LEASE_PUT, LEASE_KEEP } step;
    struct members_retry retry;
    struct etcd_call *call; /* under way */
    int64_t lease, ttl_s;   /* lease 0: none */
    bool renews;            /* the key is to be written again */
    bool leaves;            /* from then on it is not */
    void (*on_left)(void *arg);
    void *left_arg;
};

static void lease_step(void *arg);

static void lease_failed(struct members_lease *l, const struct err *err)
{
    struct err failure = *err;

    if (l->step != LEASE_GRANT && err->code == ERR_NOT_FOUND) {
        log_limited(LOG_LEVEL_INFO, "lease lost", "cluster: etcd has ended this node's lease: it registers again");
        l->lease = 0;
        l->step = LEASE_GRANT;
        if (l->retry.failures == 0) {
            l->retry.failures++;
            lease_step(l);
            return;
        }
    }
    err_wrap(&failure, "registering this node");
    l->on_state(l->arg, &failure);
    /* While the lease may still live, it is worth more haste. */
    members_retry_failed(&l->retry, l->lease ? l->ttl_s * 1000 / 3 : MEMBERS_RETRY_MAX_MS);
}

static void lease_on_done(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct members_lease *l = arg;
    struct err none = {0};

    ON_LOOP(l->place->loop);
    l->call = NULL;
    if (!err && l->step == LEASE_GRANT && a->lease == 0) {
        err_set(&none, ERR_UPSTREAM, "etcd granted no lease");
        err = &none;
    }
    if (err) {
        lease_failed(l, err);
        return;
    }
    if (l->step == LEASE_GRANT) {
        l->lease = a->lease;
        l->ttl_s = MIN(MAX(a->ttl_s, (int64_t)LEASE_LEAST_S), (int64_t)LEASE_MOST_S);
        l->step = LEASE_PUT;
        lease_step(l);
        return;
    }
    l->step = LEASE_KEEP;
    l->retry.failures = 0;
    members_retry_in(&l->retry, l->renews ? MEMBERS_RETRY_MS : l->ttl_s * 1000 / 3);
    l->on_state(l->arg, NULL);
}

static void lease_step(void *arg)
{
    struct members_lease *l = arg;
    struct err busy = {0};

    IN_STATE(!l->call);
    if (l->step == LEASE_KEEP && l->renews)
        l->step = LEASE_PUT;
    if (l->step == LEASE_PUT)
        l->renews = false;
    l->call = l->step == LEASE_GRANT ? etcd_grant(l->etcd, MEMBERS_LEASE_S, lease_on_done, l)
              : l->step == LEASE_PUT ? etcd_put(l->etcd, l->key, l->value, strlen(l->value), l->lease, lease_on_done, l)
                                     : etcd_keep_alive(l->etcd, l->lease, lease_on_done, l);
    if (!l->call) {
        err_set(&busy, ERR_BUSY, "too many calls of etcd are under way");
        lease_failed(l, &busy);
    }
}

void members_lease_renew(struct members_lease *l)
{
    ON_LOOP(l->place->loop);
    if (l->step != LEASE_KEEP || l->renews || l->leaves)
        return;
    l->renews = true;
    if (!l->call)
        members_retry_in(&l->retry, MEMBERS_RETRY_MS);
}

struct members_lease *members_lease_new(const struct members_place *p, struct etcd *e, const char *key,
                                        void (*on_state)(void *arg, const struct err *err), void *arg)
{
    struct members_lease *l = xcalloc(1, sizeof(*l));

    ON_LOOP(p->loop);
    l->place = p;
    l->etcd = e;
    l->key = xstrdup(key);
    l->value = members_write_node(p->self);
    l->on_state = on_state;
    l->arg = arg;
    members_retry_init(&l->retry, p->loop, lease_step, l);
    lease_step(l);
    return l;
}

/* ---- the end ---- */

static void lease_left(struct members_lease *l)
{
    void (*on_left)(void *) = l->on_left;

    l->on_left = NULL;
    members_retry_clear(&l->retry);
    etcd_cancel(l->call);
    l->call = NULL;
    if (on_left)
        on_left(l->left_arg);
}

static void lease_leave_late(void *arg)
{
    log_warn("cluster: etcd does not answer: this node leaves when its lease ends");
    lease_left(arg);
}

static void lease_on_revoked(void *arg, const struct etcd_answer *a UNUSED, const struct err *err)
{
    struct members_lease *l = arg;

    l->call = NULL;
    if (err && err->code != ERR_NOT_FOUND)
        log_warn("cluster: this node leaves when its lease ends: %s", err->msg);
    lease_left(l);
}

bool members_lease_leave(struct members_lease *l, void (*on_left)(void *arg), void *arg)
{
    ON_LOOP(l->place->loop);
    l->leaves = true;
    etcd_cancel(l->call);
    l->call = l->lease ? etcd_revoke(l->etcd, l->lease, lease_on_revoked, l) : NULL;
    l->lease = 0;
    members_retry_clear(&l->retry);
    if (!l->call)
        return false;
    l->on_left = on_left;
    l->left_arg = arg;
    members_retry_init(&l->retry, l->place->loop, lease_leave_late, l);
    members_retry_in(&l->retry, MEMBERS_LEAVE_MS);
    return true;
}

void members_lease_free(struct members_lease *l)
{
    if (!l)
        return;
    members_retry_clear(&l->retry);
    free(l->key);
    free(l->value);
    free(l);
}
