/* ledger.h - rate limits of registries, as the nodes of a cluster know them together.
 *
 * A registry limits an account or an address, and nodes share those. What one node learns from answers (so many
 * requests are left; 429: none are to be sent for so long), upstream tells the ledger; what other nodes have learnt,
 * the daemon enters (cluster/budgets.h: etcd), and upstream reads it beside its own budgets (share.c). Without a
 * cluster, or while etcd is away, nothing is entered, and each node goes by its own answers.
 *
 *     answers ─▶ ledger_tell() ─▶ on_news ─▶ ledger_take() ─▶ etcd ─▶ ledger_learn() ─▶ ledger_look() ─▶ requests
 *
 * With cluster.peers.dns there is no ledger: a tag and a digest have a home, which alone requests them from the
 * registry, and there is nothing to write to that all nodes see.
 *
 * An identity is a hash: of the endpoint, and of the account's name, or, where there is no login, of what the registry
 * says it counts by (Docker-Ratelimit-Source). Nodes behind different addresses so have different identities. Names and
 * secrets are not in the ledger. A fixed number of entries, the least recently used one makes room. Times are
 * monotonic, and durations go between nodes: their clocks may differ. Any thread.
 */
#ifndef ENTREPOT_UPSTREAM_LEDGER_H
#define ENTREPOT_UPSTREAM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LEDGER_MAX = 256, /* entries: three kinds for each identity at each registry */
    LEDGER_REGISTRY_MAX = 255,
    LEDGER_IDENTITY_LEN = 32,
    LEDGER_NODE_MAX = 127,
    LEDGER_SOON_MS = 5000,        /* two values within this time may have been overtaken on their way */
    LEDGER_WINDOW_MAX_S = 21600,  /* nothing is kept for longer */
    LEDGER_COUNT_MAX = 100000000, /* of requests */
};

enum ledger_kind {
    LEDGER_LEFT,           /* how many requests are left */
    LEDGER_HELD_MANIFESTS, /* requests for manifests are held */
    LEDGER_HELD_BLOBS,
    LEDGER_KINDS,
};

struct ledger_key {
    char registry[LEDGER_REGISTRY_MAX + 1]; /* "docker.io" */
    char identity[LEDGER_IDENTITY_LEN + 1]; /* hex */
    enum ledger_kind kind;
};

/* Values are of the moment `at_ms`; those of the other kinds are 0. */
struct ledger_value {
    int64_t at_ms;
    int64_t limit, remaining, window_s;
    int64_t held_ms;                /* 0: no more */
    char node[LEDGER_NODE_MAX + 1]; /* another node's: its address; "" this node's own */
};

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l); /* may be NULL */
/* `hash` of an account (or a source) at an endpoint; NUL-terminated hex. */
void ledger_identity(const char *endpoint, const char *what, const char *name, char hash[LEDGER_IDENTITY_LEN + 1]);

/* ---- upstream ---- */

/* What this node has learnt. What differs little from what it told before is left out; the rest waits for
 * ledger_take(). */
void ledger_tell(struct ledger *l, const struct ledger_key *key, const struct ledger_value *v);
/* What other nodes have learnt. False: nothing. */
bool ledger_look(struct ledger *l, const struct ledger_key *key, struct ledger_value *out);
/* Whether the first of two values of a kind is to be believed: the newer one; of two that are about as old the one that
 * allows less. A pure function. */
bool ledger_replaces(enum ledger_kind kind, const struct ledger_value *a, const struct ledger_value *b);
/* The requests left at `now_ms`: what has grown back since is added. A pure function. */
int64_t ledger_left(const struct ledger_value *v, int64_t now_ms);

/* ---- the daemon ---- */

/* `fn` is called on any thread when there is something to take, once until all has been taken. NULL: no more; nothing
 * is told then. */
void ledger_on_news(struct ledger *l, void (*fn)(void *arg), void *arg);
/* What was told and is not taken yet; false: nothing. */
bool ledger_take(struct ledger *l, struct ledger_key *key, struct ledger_value *v);
/* What another node has told. `version` is any number but 0: the same one again is the same message. */
void ledger_learn(struct ledger *l, const struct ledger_key *key, const struct ledger_value *v, int64_t version);
/* What was learnt does not hold any more. */
void ledger_forget(struct ledger *l, const struct ledger_key *key);

#endif
