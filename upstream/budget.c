#include "upstream/budget.h"

#include "base/assert.h"
#include "base/clock.h"

#include <pthread.h>
#include <string.h>

enum {
    HOLD_MANIFESTS_MS = 30000,
    HOLD_MANIFESTS_MAX_MS = 900000,
    HOLD_BLOBS_MS = 2000,
    HOLD_BLOBS_MAX_MS = 60000,
};

struct budget_hold {
    int64_t until_ms;
    int refusals;     /* in a row */
    int64_t since_ms; /* of the first of these */
};

struct budget {
    bool there;
    int endpoint;
    char who[BUDGET_WHO_MAX + 1];
    char source[64];
    int64_t limit, remaining, window_s; /* -1 unknown */
    int64_t received_ms;                /* when that was received */
    struct budget_hold holds[BUDGET_KINDS];
    int64_t used_ms;
};

struct budgets {
    pthread_mutex_t lock; /* for everything */
    struct budget list[BUDGETS_MAX];
};

struct budgets *budgets_new(void)
{
    struct budgets *all = xcalloc(1, sizeof(*all));

    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void budgets_free(struct budgets *all)
{
    if (!all)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static struct budget *budget_find(struct budgets *all, int endpoint, const char *who)
{
    HOLDS(&all->lock);
    for (int i = 0; i < BUDGETS_MAX; i++) {
        struct budget *b = &all->list[i];
        if (b->there && b->endpoint == endpoint && strncmp(b->who, who, BUDGET_WHO_MAX) == 0)
            return b;
    }
    return NULL;
}

/* Replaces the least recently used one, if the table is full. */
static struct budget *budget_make(struct budgets *all, int endpoint, const char *who)
{
    struct budget *b = &all->list[0];

    HOLDS(&all->lock);
    for (int i = 0; i < BUDGETS_MAX && b->there; i++)
        if (!all->list[i].there || all->list[i].used_ms < b->used_ms)
            b = &all->list[i];
    *b = (struct budget){.there = true, .endpoint = endpoint, .limit = -1, .remaining = -1, .window_s = -1};
    snprintf(b->who, sizeof(b->who), "%s", who);
    return b;
}

static void hold(struct budget *b, enum budget_kind kind, int retry_after, int64_t now)
{
    struct budget_hold *h = &b->holds[kind];
    int64_t first = kind == BUDGET_BLOBS ? HOLD_BLOBS_MS : HOLD_MANIFESTS_MS,
            most = kind == BUDGET_BLOBS ? HOLD_BLOBS_MAX_MS : HOLD_MANIFESTS_MAX_MS;

    bool new = h->until_ms <= now; /* later answers to requests sent before the first 429 count as the same refusal */
    if (retry_after > 0)
        h->until_ms = now + (int64_t)retry_after * 1000;
    else if (new)
        h->until_ms = now + MIN(first << MIN(h->refusals, 10), most);
    if (h->refusals == 0)
        h->since_ms = now;
    h->refusals += new;
}

void budget_note(struct budgets *all, int endpoint, const char *who, enum budget_kind kind,
                 const struct transfer_response *r)
{
    bool has_limits = r->ratelimit_limit >= 0 || r->ratelimit_remaining >= 0;
    int64_t now = clock_mono_ms();

    pthread_mutex_lock(&all->lock);
    struct budget *b = budget_find(all, endpoint, who);
    if (!b && (has_limits || r->status == 429))
        b = budget_make(all, endpoint, who);
    if (b) {
        b->used_ms = now;
        if (r->ratelimit_source[0])
            snprintf(b->source, sizeof(b->source), "%s", r->ratelimit_source);
    }
    if (b && has_limits) {
        b->limit = r->ratelimit_limit;
        b->remaining = r->ratelimit_remaining;
        b->window_s = r->ratelimit_window;
        b->received_ms = now;
    }
    if (b && r->status == 429)
        hold(b, kind, r->retry_after, now);
    else if (b && r->status > 0 && r->status < 400)
        b->holds[kind] = (struct budget_hold){0};
    pthread_mutex_unlock(&all->lock);
}

int64_t budget_held_ms(struct budgets *all, int endpoint, const char *who, enum budget_kind kind)
{
    int64_t now = clock_mono_ms();

    pthread_mutex_lock(&all->lock);
    const struct budget *b = budget_find(all, endpoint, who);
    int64_t left = b ? b->holds[kind].until_ms - now : 0;
    pthread_mutex_unlock(&all->lock);
    return MAX(left, (int64_t)0);
}

static struct ledger_value budget_value(const struct budget *b)
{
    return (struct ledger_value){
        .at_ms = b->received_ms, .limit = b->limit, .remaining = b->remaining, .window_s = b->window_s};
}

static int64_t estimate(const struct budget *b)
{
    const struct ledger_value v = budget_value(b);

    return ledger_left(&v, clock_mono_ms());
}

bool budget_get(struct budgets *all, int endpoint, const char *who, enum budget_kind kind, struct budget_state *out)
{
    int64_t now = clock_mono_ms();

    *out = (struct budget_state){.left = {.limit = -1, .remaining = -1, .window_s = -1}};
    pthread_mutex_lock(&all->lock);
    const struct budget *b = budget_find(all, endpoint, who);
    if (b) {
        out->left = budget_value(b);
        out->held_ms = MAX(b->holds[kind].until_ms - now, (int64_t)0);
        memcpy(out->source, b->source, sizeof(out->source));
    }
    pthread_mutex_unlock(&all->lock);
    return b != NULL;
}

int64_t budget_left(struct budgets *all, int endpoint, const char *who)
{
    pthread_mutex_lock(&all->lock);
    const struct budget *b = budget_find(all, endpoint, who);
    int64_t left = b ? estimate(b) : -1;
    pthread_mutex_unlock(&all->lock);
    return left;
}

void budgets_each(struct budgets *all, void (*fn)(void *arg, const struct budget_info *info), void *arg)
{
    struct budget_info *copies = xcalloc(BUDGETS_MAX, sizeof(*copies));
    int64_t now = clock_mono_ms();
    int count = 0;

    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < BUDGETS_MAX; i++) {
        const struct budget *b = &all->list[i];
        struct budget_info *info = &copies[count];
        if (!b->there)
            continue;
        *info = (struct budget_info){
            .endpoint = b->endpoint, .limit = b->limit, .remaining = estimate(b), .window_s = b->window_s};
        memcpy(info->who, b->who, sizeof(info->who));
        memcpy(info->source, b->source, sizeof(info->source));
        info->held_ms = MAX(b->holds[BUDGET_MANIFESTS].until_ms - now, (int64_t)0);
        info->held_since_ms = b->holds[BUDGET_MANIFESTS].since_ms;
        count++;
    }
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < count; i++)
        fn(arg, &copies[i]);
    free(copies);
}
