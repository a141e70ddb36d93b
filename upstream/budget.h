/* budget.h - how patient a registry still is: what its limits leave, and until when it does not want to be asked.
 *
 * A registry limits whom it knows: an account, or an address. So there is a budget for each endpoint and each `who`:
 * one of the cache's own identities, or a client's. It learns from ratelimit-limit, ratelimit-remaining ("100;w=21600":
 * a hundred in six hours; draft-polli-ratelimit-headers), docker-ratelimit-source, and from 429 with Retry-After
 * (RFC 6585 §4, RFC 9110 §10.2.3). What was left grows back with the window's time, as far as we can know.
 *
 * After 429 requests of its kind are held: as long as Retry-After says, else for a time that doubles. Manifests are
 * what Docker Hub counts; blobs go on, since they belong to pulls that were counted already.
 *
 * One table an upstream; any thread. Times are monotonic.
 */
#ifndef ENTREPOT_UPSTREAM_BUDGET_H
#define ENTREPOT_UPSTREAM_BUDGET_H

#include "upstream/transfer.h"

enum budget_kind { BUDGET_MANIFESTS, BUDGET_BLOBS, BUDGET_KINDS };

enum { BUDGET_WHO_MAX = 95, BUDGETS_MAX = 64 };

struct budgets;

struct budgets *budgets_new(void);
void budgets_free(struct budgets *all);

/* An answer to `who`, from the endpoint of that number. */
void budget_note(struct budgets *all, int endpoint, const char *who, enum budget_kind kind,
                 const struct transfer_response *r);
/* Milliseconds until `who` may ask again; 0: now. */
int64_t budget_held_ms(struct budgets *all, int endpoint, const char *who, enum budget_kind kind);
/* What is probably left; -1: not known. */
int64_t budget_left(struct budgets *all, int endpoint, const char *who);

struct budget_info {
    int endpoint;
    char who[BUDGET_WHO_MAX + 1];
    char source[64];                    /* whom the registry says it counts: an address, an account's id; "" not said */
    int64_t limit, remaining, window_s; /* -1 not said */
    int64_t held_ms;                    /* of manifests */
};
void budgets_each(struct budgets *all, void (*fn)(void *arg, const struct budget_info *info), void *arg);

#endif
