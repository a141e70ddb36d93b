/* Members by DNS: a name is looked up again and again, each time on a thread of its own, which may wait for DNS longer
 * than this does for the thread.
 *
 * All nodes have to know a node by the same address: by what it advertises. If that is an IP address, addresses of the
 * same family are looked up; a name can only be found as the target of an SRV record.
 */
#include "cluster/dns_lookup.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { DNS_EVERY_MS = 5000, DNS_LEAST_MS = 2000, DNS_MOST_MS = 30000 };

/* One look-up. */
struct dns_job {
    /* set once */
    char *name;
    struct dns_wanted wanted;
    struct loop *loop;
    /* the thread's, then the loop's */
    struct members_table found;
    int64_t ttl_s;
    bool ok;
    struct err err;
    /* shared, under lock */
    pthread_mutex_t lock;
    struct members_dns *owner; /* NULL: it has gone */
    bool posted;
};

struct members_dns {
    /* set once */
    const struct members_place *place;
    struct dns_wanted wanted;
    char own[PEER_NAME_MAX + 1]; /* what is advertised, as DNS's addresses are written here */
    /* owned by the loop */
    struct members_retry retry;
    struct dns_job *job;
    struct members_table nodes;
    struct members_note note;
};

/* ---- a look-up ---- */

static void dns_job_free(struct dns_job *j)
{
    members_table_clear(&j->found);
    pthread_mutex_destroy(&j->lock);
    free(j->name);
    free(j);
}

static bool same_nodes(const struct members_table *a, const struct members_table *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->list[i]->address, b->list[i]->address) == 0;
    return same;
}

/* This node is known by what it advertises, with what only it knows of itself. */
static void put_own(const struct members_dns *m, struct members_table *found)
{
    if (!members_table_has(found, m->own))
        return;
    members_table_drop(found, m->own);
    members_table_put(found, m->place->self);
}

static void dns_take(void *arg)
{
    struct dns_job *j = arg;
    pthread_mutex_lock(&j->lock); /* its thread has left the lock */
    struct members_dns *m = j->owner;
    pthread_mutex_unlock(&j->lock);

    ON_LOOP(m->place->loop);
    m->job = NULL;
    if (j->ok) {
        put_own(m, &j->found);
        if (!same_nodes(&j->found, &m->nodes)) {
            struct members_table before = m->nodes;
            m->nodes = j->found;
            j->found = before;
            members_table_publish(&m->nodes, m->place->peers);
        }
    }
    members_note(m->place, &m->note, "dns", j->ok ? NULL : j->err.msg);
    members_retry_in(&m->retry,
                     j->ok ? MIN(MAX(j->ttl_s, (int64_t)DNS_LEAST_MS / 1000), (int64_t)DNS_MOST_MS / 1000) * 1000
                           : DNS_EVERY_MS);
    dns_job_free(j);
}

static void *dns_run(void *arg)
{
    struct dns_job *j = arg;

    pthread_setname_np(pthread_self(), "dns");
    j->ok = dns_lookup(&j->wanted, &j->found, &j->ttl_s, &j->err);
    pthread_mutex_lock(&j->lock);
    bool wanted = j->owner != NULL;
    if (wanted) {
        j->posted = true;
        loop_post(j->loop, dns_take, j);
    }
    pthread_mutex_unlock(&j->lock);
    if (!wanted)
        dns_job_free(j);
    return NULL;
}

static bool dns_start_thread(struct dns_job *j, struct err *err)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, dns_run, j);
    pthread_attr_destroy(&attr);
    errno = rc;
    return rc == 0 || err_errno(err, ERR_IO, "starting a thread");
}

static void dns_step(void *arg)
{
    struct members_dns *m = arg;
    struct dns_job *j = xcalloc(1, sizeof(*j));
    struct err err = {0};

    ON_LOOP(m->place->loop);
    IN_STATE(!m->job);
    j->name = xstrdup(m->wanted.name);
    j->wanted = m->wanted;
    j->wanted.name = j->name;
    j->loop = m->place->loop;
    j->owner = m;
    pthread_mutex_init(&j->lock, NULL);
    m->job = j;
    if (dns_start_thread(j, &err))
        return;
    m->job = NULL;
    dns_job_free(j);
    members_note(m->place, &m->note, "dns", err.msg);
    members_retry_in(&m->retry, DNS_EVERY_MS);
}

/* ---- its life ---- */

/* What is advertised: family and port, and how it is written here. */
static void take_advertised(struct members_dns *m)
{
    const char *address = m->place->self->address, *colon = strrchr(address, ':');
    unsigned char raw[16];
    char host[PEER_NAME_MAX + 1], text[INET6_ADDRSTRLEN];
    bool six = address[0] == '[';

    snprintf(host, sizeof(host), "%.*s", (int)(colon - address) - (six ? 2 : 0), address + (six ? 1 : 0));
    m->wanted.port = atoi(colon + 1);
    m->wanted.family = inet_pton(AF_INET6, host, raw) == 1  ? AF_INET6
                       : inet_pton(AF_INET, host, raw) == 1 ? AF_INET
                                                            : AF_UNSPEC;
    if (m->wanted.family == AF_UNSPEC || !inet_ntop(m->wanted.family, raw, text, sizeof(text)))
        snprintf(m->own, sizeof(m->own), "%s", address);
    else
        snprintf(m->own, sizeof(m->own), "%s%s%s:%d", six ? "[" : "", text, six ? "]" : "", m->wanted.port);
}

struct members_dns *members_dns_new(const struct members_place *p, struct err *err)
{
    struct members_dns *m = xcalloc(1, sizeof(*m));

    m->place = p;
    m->wanted.name = p->config->dns;
    take_advertised(m);
    if (m->wanted.family == AF_UNSPEC && m->wanted.name[0] != '_') {
        err_set(err, ERR_INVALID,
                "%s has addresses, and this node advertises a name, %s: nodes that DNS has addresses of are known by "
                "their addresses",
                m->wanted.name, p->self->address);
        free(m);
        return NULL;
    }
    members_retry_init(&m->retry, p->loop, dns_step, m);
    return m;
}

void members_dns_begin(void *dns)
{
    dns_step(dns);
}

void members_dns_free(struct members_dns *m)
{
    if (!m)
        return;
    if (m->job) {
        pthread_mutex_lock(&m->job->lock);
        bool posted = m->job->posted; /* the loop has ended: it takes nothing more */
        m->job->owner = NULL;
        pthread_mutex_unlock(&m->job->lock);
        if (posted)
            dns_job_free(m->job);
    }
    members_retry_clear(&m->retry);
    members_table_clear(&m->nodes);
    free(m);
}
