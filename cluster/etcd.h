/* etcd.h - a client of etcd v3, by its JSON gateway (POST /v3/...), for what the nodes of a cluster share.
 *
 * Asynchronous: everything runs on the loop of its engine, and callbacks never come from inside the function that
 * begins a call. A call ends within ETCD_CALL_MS: it tries the endpoint that answered last, then the others in turn,
 * each for ETCD_ANSWER_MS at most. With a user, it logs in when it needs a token. The environment's proxies are not
 * used.
 *
 * Errors of calls: ERR_NOT_FOUND (the lease), ERR_DENIED (user, permission), ERR_OUTDATED (the revision has been
 * compacted), ERR_BUSY (etcd refuses because of its load), ERR_TOO_LARGE (an answer over ETCD_ANSWER_MAX), else
 * ERR_UPSTREAM, ERR_UNREACHABLE, ERR_TIMEOUT: no endpoint has given a usable answer. A call that fails in one of these
 * three ways may have been carried out.
 */
#ifndef ENTREPOT_CLUSTER_ETCD_H
#define ENTREPOT_CLUSTER_ETCD_H

#include "base/loop.h"
#include "config/trust.h"
#include "upstream/transfer.h"

enum {
    ETCD_CONNECT_MS = 1000,
    ETCD_ANSWER_MS = 2000,
    ETCD_CALL_MS = 5000,
    ETCD_ANSWER_MAX = 4 << 20, /* bytes of an answer, of one message of a watch */
    ETCD_VALUE_MAX = 32 << 10, /* bytes of a value, and of a key: larger ones are passed over */
    ETCD_CALLS_MAX = 256,      /* under way; watches included */
    ETCD_OPS_MAX = 4,          /* of each branch of a transaction */
};

struct etcd;
struct etcd_call;

struct etcd_options {
    struct loop *loop;
    struct transfer_engine *engine;
    const char *const *endpoints; /* "https://10.0.0.1:2379"; NULL-terminated, one at least */
    unsigned first;            /* the one to begin with, modulo their number: nodes are to begin with different ones */
    const struct trust *trust; /* NULL: the system's authorities */
    const char *username;      /* NULL: none */
    const char *password_file; /* read at each login */
};

/* Borrows loop, engine and trust, copies the rest. On the loop, or before it starts. Errors: ERR_INVALID, and those of
 * secret_read() if the password cannot be read now. */
struct etcd *etcd_new(const struct etcd_options *o, struct err *err);
/* Cancels all calls, without callbacks. Nothing is begun afterwards. On the loop, or after it has ended. */
void etcd_end(struct etcd *e);
/* After etcd_end() and transfer_engine_free(): cancelled transfers use its texts. May be NULL. */
void etcd_free(struct etcd *e);

/* A key and its value; good until the callback returns. */
struct etcd_kv {
    char *key, *value; /* both NUL-terminated behind their bytes */
    size_t key_len, value_len;
    int64_t lease, mod_revision; /* lease 0: none */
    bool deleted;                /* by a watch; then there is no value */
};

struct etcd_answer {
    int64_t revision;     /* of the store, when it answered */
    int64_t lease, ttl_s; /* of grant and keep-alive */
    bool succeeded;       /* of a transaction: the comparison was true */
    bool more;            /* of a range: there are more keys than `limit` */
    struct etcd_kv *kvs;  /* of range, transaction, watch */
    int count;
    int passed_over; /* entries that were malformed or too large */
};

/* Once, unless cancelled. `a` is NULL if it failed, and err is NULL if it did not. */
typedef void etcd_done(void *arg, const struct etcd_answer *a, const struct err *err);

/* Each returns the call, for etcd_cancel() until its callback has begun; NULL: ETCD_CALLS_MAX are under way, or
 * etcd_end() was called: there is no callback. */
struct etcd_call *etcd_grant(struct etcd *e, int64_t ttl_s, etcd_done *on_done, void *arg);
struct etcd_call *etcd_keep_alive(struct etcd *e, int64_t lease, etcd_done *on_done, void *arg);
struct etcd_call *etcd_revoke(struct etcd *e, int64_t lease, etcd_done *on_done, void *arg);
/* lease 0: the key stays. */
struct etcd_call *etcd_put(struct etcd *e, const char *key, const void *value, size_t len, int64_t lease,
                           etcd_done *on_done, void *arg);
struct etcd_call *etcd_get(struct etcd *e, const char *key, etcd_done *on_done, void *arg);
struct etcd_call *etcd_delete(struct etcd *e, const char *key, etcd_done *on_done, void *arg);

/* All keys that begin with a prefix, in their order, a page at a time. */
struct etcd_range {
    const char *prefix; /* not empty */
    const void *after;  /* the last key of the page before; NULL: the first page */
    size_t after_len;
    int64_t revision; /* of the first page; 0: the present one */
    int limit;        /* keys of a page; 0: no limit */
};
struct etcd_call *etcd_range(struct etcd *e, const struct etcd_range *r, etcd_done *on_done, void *arg);

struct etcd_op {
    enum etcd_op_kind { ETCD_OP_PUT, ETCD_OP_GET, ETCD_OP_DELETE } kind;
    const char *key;
    const void *value; /* of a put */
    size_t len;
    int64_t lease;
};
/* It is not sent to another endpoint once it may have been carried out. */
struct etcd_txn {
    const char *key;      /* what is compared */
    int64_t mod_revision; /* the key was last changed there; 0: there is no such key */
    struct etcd_op then[ETCD_OPS_MAX], otherwise[ETCD_OPS_MAX];
    int then_count, otherwise_count;
};
struct etcd_call *etcd_txn(struct etcd *e, const struct etcd_txn *txn, etcd_done *on_done, void *arg);

/* What changes below a prefix, from a revision on. on_events comes for each message, the first of which has no events;
 * it may cancel calls, but not begin any. on_done comes once, with an error: it has ended. It ends, too, when another
 * call leaves its endpoint, so that a connection that leads nowhere is noticed as fast as those calls notice it. */
struct etcd_watch {
    const char *prefix;
    int64_t revision; /* the first that is wanted */
    void (*on_events)(void *arg, const struct etcd_answer *a);
};
struct etcd_call *etcd_watch(struct etcd *e, const struct etcd_watch *w, etcd_done *on_done, void *arg);

/* Ends it without a callback. NULL is allowed. */
void etcd_cancel(struct etcd_call *c);

#endif
