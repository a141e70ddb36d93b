#include "cluster/dns_lookup.h"

#include "base/assert.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <string.h>
#include <strings.h>

enum {
    TRY_S = 1, /* for an answer of each server, */
    TRIES = 2, /* so often */
    MESSAGE_MAX = 65535,
};

struct dns_task {
    const struct dns_wanted *wanted;
    struct members_table *out;
    struct __res_state state;
    int64_t deadline_ms, ttl_s;
};

struct dns_message {
    unsigned char *bytes;
    ns_msg parsed;
};

/* ---- queries ---- */

/* musl has no resolver with a state of its own: its patience is that of resolv.conf. */
#ifdef __GLIBC__
static bool resolver_open(struct dns_task *t)
{
    if (res_ninit(&t->state) != 0)
        return false;
    t->state.retrans = TRY_S;
    t->state.retry = TRIES;
    return true;
}

static int resolver_query(struct dns_task *t, const char *name, ns_type type, unsigned char *out, int *code)
{
    int len = res_nquery(&t->state, name, ns_c_in, type, out, MESSAGE_MAX);

    *code = t->state.res_h_errno;
    return len;
}

static void resolver_close(struct dns_task *t)
{
    res_nclose(&t->state);
}
#else
static bool resolver_open(struct dns_task *t UNUSED)
{
    return true;
}

static int resolver_query(struct dns_task *t UNUSED, const char *name, ns_type type, unsigned char *out, int *code)
{
    int len = res_query(name, ns_c_in, type, out, MESSAGE_MAX);

    *code = h_errno;
    return len;
}

static void resolver_close(struct dns_task *t UNUSED)
{
}
#endif

static const char *why_not(int code)
{
    return code == HOST_NOT_FOUND ? "there is no such name"
           : code == NO_DATA      ? "it has no such records"
           : code == TRY_AGAIN    ? "no server has answered"
                                  : "the servers refuse or fail";
}

/* False: *err has ERR_NOT_FOUND if there are none, else it failed. */
static bool dns_ask(struct dns_task *t, const char *name, ns_type type, struct dns_message *m, struct err *err)
{
    m->bytes = xmalloc(MESSAGE_MAX);
    int code, len = resolver_query(t, name, type, m->bytes, &code);

    if (len >= 0 && ns_initparse(m->bytes, MIN(len, (int)MESSAGE_MAX), &m->parsed) == 0)
        return true;
    free(m->bytes);
    m->bytes = NULL;
    if (len >= 0)
        return err_set(err, ERR_UPSTREAM, "%s: DNS answers with a malformed message", name);
    return err_set(err,
                   code == HOST_NOT_FOUND || code == NO_DATA ? ERR_NOT_FOUND
                   : code == TRY_AGAIN                       ? ERR_UNREACHABLE
                                                             : ERR_UPSTREAM,
                   "%s: DNS: %s", name, why_not(code));
}

static void dns_add(struct dns_task *t, const char *host, int port)
{
    bool six = strchr(host, ':') != NULL;
    struct member m = {0};
    int n = snprintf(m.address, sizeof(m.address), "%s%s%s:%d", six ? "[" : "", host, six ? "]" : "", port);

    if (n < (int)sizeof(m.address) && members_is_address(m.address))
        members_table_put(t->out, &m);
}

/* Adds the addresses in a section: all, or those of `owner`. How many. */
static int add_addresses(struct dns_task *t, struct dns_message *m, ns_sect section, const char *owner, int port)
{
    ns_type type = t->wanted->family == AF_INET6 ? ns_t_aaaa : ns_t_a;
    char text[INET6_ADDRSTRLEN];
    int count = 0;
    ns_rr rr;

    for (int i = 0; i < ns_msg_count(m->parsed, section); i++) {
        if (ns_parserr(&m->parsed, section, i, &rr) != 0)
            break;
        if (section == ns_s_an || (owner && strcasecmp(ns_rr_name(rr), owner) == 0))
            t->ttl_s = MIN(t->ttl_s, (int64_t)ns_rr_ttl(rr));
        if (ns_rr_type(rr) != type || ns_rr_rdlen(rr) != (type == ns_t_a ? 4 : 16) ||
            (owner && strcasecmp(ns_rr_name(rr), owner) != 0))
            continue;
        if (inet_ntop(t->wanted->family, ns_rr_rdata(rr), text, sizeof(text))) {
            dns_add(t, text, port);
            count++;
        }
    }
    return count;
}

static bool look_up_addresses(struct dns_task *t, const char *name, int port, struct err *err)
{
    struct dns_message m = {0};

    if (!dns_ask(t, name, t->wanted->family == AF_INET6 ? ns_t_aaaa : ns_t_a, &m, err))
        return false;
    add_addresses(t, &m, ns_s_an, NULL, port);
    free(m.bytes);
    return true;
}

/* ---- SRV (RFC 2782) ---- */

/* A target without addresses is no node; one that cannot be looked up is a failure of all. */
static bool add_target(struct dns_task *t, struct dns_message *m, char *target, int port, struct err *err)
{
    struct err failure = {0};

    for (char *p = target; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!*target || strcmp(target, ".") == 0)
        return true; /* the service is not offered */
    if (t->wanted->family == AF_UNSPEC) {
        dns_add(t, target, port);
        return true;
    }
    if (add_addresses(t, m, ns_s_ar, target, port) > 0)
        return true;
    if (clock_mono_ms() > t->deadline_ms)
        return err_set(err, ERR_UNREACHABLE, "%s: DNS is too slow", target);
    if (look_up_addresses(t, target, port, &failure) || failure.code == ERR_NOT_FOUND)
        return true;
    *err = failure;
    return false;
}

static bool look_up_services(struct dns_task *t, struct err *err)
{
    char target[NS_MAXDNAME];
    struct dns_message m = {0};
    bool ok = true;
    ns_rr rr;
    int count = 0;

    if (!dns_ask(t, t->wanted->name, ns_t_srv, &m, err))
        return false;
    for (int i = 0; ok && i < ns_msg_count(m.parsed, ns_s_an); i++) {
        if (ns_parserr(&m.parsed, ns_s_an, i, &rr) != 0)
            break;
        t->ttl_s = MIN(t->ttl_s, (int64_t)ns_rr_ttl(rr));
        if (ns_rr_type(rr) != ns_t_srv || ns_rr_rdlen(rr) < 7)
            continue;
        const unsigned char *data = ns_rr_rdata(rr);
        if (ns_name_uncompress(ns_msg_base(m.parsed), ns_msg_end(m.parsed), data + 6, target, sizeof(target)) < 0)
            continue;
        if (t->wanted->family != AF_UNSPEC && ++count > DNS_TARGETS_MAX)
            break;
        ok = add_target(t, &m, target, ns_get16(data + 4), err);
    }
    free(m.bytes);
    return ok;
}

bool dns_lookup(const struct dns_wanted *w, struct members_table *out, int64_t *ttl_s, struct err *err)
{
    struct dns_task t = {.wanted = w, .out = out, .ttl_s = INT64_MAX};

    OFF_LOOPS;
    if (!resolver_open(&t))
        return err_set(err, ERR_IO, "the resolver cannot be started");
    t.deadline_ms = clock_mono_ms() + DNS_LOOKUP_MS;
    bool ok = w->name[0] == '_' ? look_up_services(&t, err) : look_up_addresses(&t, w->name, w->port, err);
    resolver_close(&t);
    *ttl_s = t.ttl_s;
    if (ok && out->count == 0)
        ok = err_set(err, ERR_NOT_FOUND, "%s: DNS has no addresses", w->name);
    return ok;
}
