/* budget.h - rate limits: how many requests a registry still allows, and until when none are to be sent.
 *
 * A registry limits an account or an address. So there is a budget for each endpoint and each `who`: one of the cache's
 * own identities, or a client. It learns from ratelimit-limit, ratelimit-remaining ("100;w=21600": a hundred in six
 * hours; draft-polli-ratelimit-headers), docker-ratelimit-source, and from 429 with Retry-After (RFC 6585 §4, RFC 9110
 * §10.2.3). What is left is assumed to grow back evenly over the window.
 *
 * After 429, requests of its kind are held: as long as Retry-After says, else for a time that doubles. Docker Hub
 * counts manifests; blobs continue, since they belong to pulls that were counted already.
 *
 * One table an upstream; any thread. Times are monotonic.
 */
#ifndef ENTREPOT_UPSTREAM_BUDGET_H
#define ENTREPOT_UPSTREAM_BUDGET_H

#include "upstream/ledger.h"
#include "upstream/transfer.h"

enum budget_kind { BUDGET_MANIFESTS, BUDGET_BLOBS, BUDGET_KINDS };

enum { BUDGET_WHO_MAX = 95, BUDGETS_MAX = 64 };

struct budgets;

struct budgets *budgets_new(void);
void budgets_free(struct budgets *all);

/* An answer to `who`, from the endpoint of this number. */
void budget_note(struct budgets *all, int endpoint, const char *who, enum budget_kind kind,
                 const struct transfer_response *r);
/* Milliseconds until `who` may send requests again; 0: now. */
int64_t budget_held_ms(struct budgets *all, int endpoint, const char *who, enum budget_kind kind);
/* The estimated number of requests left; -1: unknown. */
int64_t budget_left(struct budgets *all, int endpoint, const char *who);

struct budget_state {
    struct ledger_value left; /* as it was received; -1 unknown */
    int64_t held_ms;
    char source[64]; /* "" unknown */
};
/* What is known of `who`, and how long requests of this kind are held; false: nothing, and `out` says so. */
bool budget_get(struct budgets *all, int endpoint, const char *who, enum budget_kind kind, struct budget_state *out);

struct budget_info {
    int endpoint;
    char who[BUDGET_WHO_MAX + 1];
    char source[64];                    /* what the registry counts by: an address, an account's id; "" unknown */
    int64_t limit, remaining, window_s; /* -1 unknown */
    int64_t held_ms;                    /* of manifests */
    int64_t held_since_ms;              /* monotonic: of the first refusal in a row; 0: none */
    char node[LEDGER_NODE_MAX + 1];     /* the node of the cluster that knows it (share.c); "" this one */
};
void budgets_each(struct budgets *all, void (*fn)(void *arg, const struct budget_info *info), void *arg);

#endif
