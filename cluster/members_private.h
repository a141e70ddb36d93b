/* members_private.h - shared by the files that make up members.h. Each calls those to its left only:
 *
 *     members_note.c (what is told), members_node.c (what nodes write into etcd)
 *         ◀ members_lease.c (that this node is there), members_watch.c (which others are)
 *             ◀ members_etcd.c (both, and budgets.h), members_dns.c ◀ members.c (start and stop)
 *
 * Everything runs on the loop "cluster", but for the start and the end, and DNS's look-ups.
 */
#ifndef ENTREPOT_CLUSTER_MEMBERS_PRIVATE_H
#define ENTREPOT_CLUSTER_MEMBERS_PRIVATE_H

#include "base/loop.h"
#include "cluster/etcd.h"
#include "cluster/members.h"

struct event;

enum {
    MEMBERS_LEASE_S = 10,   /* so long after its last keep-alive a node that has died is gone */
    MEMBERS_LEAVE_MS = 900, /* for the end of the lease */
    MEMBERS_RETRY_MS = 500, /* the first pause; doubles */
    MEMBERS_RETRY_MAX_MS = 10000,
    MEMBERS_WHY_MAX = 199,
};

/* Where it works: everything is borrowed. */
struct members_place {
    const struct config_cluster *config;
    const struct member *self;
    struct peers *peers;
    struct ledger *ledger; /* NULL: none */
    struct loop *loop;
    struct transfer_engine *engine;
};

/* ---- members_note.c ---- */

/* What was told last: to peers_note_source(), and to the log when it changes. A plain value that begins as {0}. */
struct members_note {
    bool told, ok;
    char why[MEMBERS_WHY_MAX + 1];
};
/* why NULL: all is well. */
void members_note(const struct members_place *p, struct members_note *n, const char *from, const char *why);

/* A timer, and the pauses between attempts. On its loop. */
struct members_retry {
    struct event *timer;
    void (*fn)(void *);
    void *arg;
    int failures; /* in a row */
};
void members_retry_init(struct members_retry *r, struct loop *loop, void (*fn)(void *), void *arg);
void members_retry_clear(struct members_retry *r);
/* Calls its function in so many milliseconds. */
void members_retry_in(struct members_retry *r, int64_t ms);
/* The same after a failure: in half of the pause to all of it, `max_ms` at most. */
void members_retry_failed(struct members_retry *r, int64_t max_ms);
/* How long that is; `random` is any number. A pure function. */
int64_t members_retry_pause(int failures, int64_t max_ms, uint32_t random);

/* ---- members_node.c ---- */

/* What this node writes. The caller frees. */
char *members_write_node(const struct member *self);
/* Reads what a node wrote under its address. Errors: ERR_INVALID. */
bool members_read_node(const char *address, const char *value, size_t len, struct member *out, struct err *err);
/* Whether it is a host or an address (an IPv6 one in brackets), a colon and a port. */
bool members_is_address(const char *address);

/* Nodes in the order of their addresses: a plain value that begins as {0}. */
struct members_table {
    struct member **list;
    size_t count, cap;
};
/* Adds or replaces. False: there are PEERS_MAX already. */
bool members_table_put(struct members_table *t, const struct member *m);
void members_table_drop(struct members_table *t, const char *address);
bool members_table_has(const struct members_table *t, const char *address);
/* peers_set() of all of them. */
void members_table_publish(const struct members_table *t, struct peers *peers);
void members_table_clear(struct members_table *t);

/* ---- members_lease.c ---- */

struct members_lease;
/* Begins to say that this node is there. `on_state` comes with what is wrong, or NULL. */
struct members_lease *members_lease_new(const struct members_place *p, struct etcd *e, const char *key,
                                        void (*on_state)(void *arg, const struct err *err), void *arg);
/* Its key has been deleted by another: it is written again. Begins no call at once. */
void members_lease_renew(struct members_lease *l);
/* Ends the lease; on_left comes later, at most once, and not after MEMBERS_LEAVE_MS. False: there is no lease to end.
 */
bool members_lease_leave(struct members_lease *l, void (*on_left)(void *arg), void *arg);
void members_lease_free(struct members_lease *l); /* after etcd_end() */

/* ---- members_watch.c ---- */

struct members_watch;
/* Reads the nodes below `prefix`, which ends in a slash, and then what changes there; on_state as above, and on_missing
 * when this node itself is not among them. */
struct members_watch *members_watch_new(const struct members_place *p, struct etcd *e, const char *prefix,
                                        void (*on_state)(void *arg, const struct err *err),
                                        void (*on_missing)(void *arg), void *arg);
void members_watch_free(struct members_watch *w); /* after etcd_end() */

/* ---- the two kinds of members ---- */

struct members_etcd;
/* On any thread, before the loop starts. */
struct members_etcd *members_etcd_new(const struct members_place *p, struct err *err);
void members_etcd_begin(void *etcd); /* on the loop */
/* As members_lease_leave(); without a lease on_left is called at once. */
void members_etcd_leave(struct members_etcd *m, void (*on_left)(void *arg), void *arg);
void members_etcd_end(struct members_etcd *m);  /* the loop has ended; before the engine is freed */
void members_etcd_free(struct members_etcd *m); /* after that; may be NULL */

struct members_dns;
struct members_dns *members_dns_new(const struct members_place *p, struct err *err);
void members_dns_begin(void *dns); /* on the loop */
/* A look-up that is under way ends by itself. */
void members_dns_free(struct members_dns *m); /* may be NULL */

#endif
