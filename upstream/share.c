/* The limits of the cache's own identities, together with what other nodes of the cluster know of them (ledger.h).
 * Clients' own accounts are not shared: their requests find out, and clients could invent any number of them. */
#include "upstream/registry_private.h"

#include "base/clock.h"

#include <string.h>
#include <strings.h>

/* Names that providers give to any account, or to none. */
static bool is_no_account(const char *name)
{
    static const char *const names[] = {"AWS",
                                        "oauth2accesstoken",
                                        "_json_key",
                                        "_json_key_base64",
                                        "<token>",
                                        "x-access-token",
                                        "_dcgcloud_token",
                                        "token",
                                        "00000000-0000-0000-0000-000000000000"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return *name == '\0';
}

void share_know_account(struct upstream *u, int n, const char *username)
{
    const char *account = username && !is_no_account(username) ? username : NULL;

    if (!u->ledger || n < 0 || n >= UPSTREAM_IDENTITIES_MAX)
        return;
    pthread_mutex_lock(&u->lock);
    if (!account || !u->accounts[n] || strcmp(u->accounts[n], account) != 0) {
        free(u->accounts[n]);
        u->accounts[n] = account ? xstrdup(account) : NULL;
    }
    pthread_mutex_unlock(&u->lock);
}

/* The key of identity `n`, whose registry counts by `source` ("" unknown) where there is no login. */
static bool share_key(struct upstream *u, int endpoint, int n, bool logs_in, const char *source, struct ledger_key *key)
{
    const struct endpoint *e = &u->endpoints[endpoint];
    bool found = false;

    if (!u->ledger || strlen(u->name) > LEDGER_REGISTRY_MAX)
        return false;
    snprintf(key->registry, sizeof(key->registry), "%s", u->name);
    pthread_mutex_lock(&u->lock);
    if (logs_in && e->trusted && n < UPSTREAM_IDENTITIES_MAX && u->accounts[n]) {
        ledger_identity(e->base, "account", u->accounts[n], key->identity);
        found = true;
    }
    pthread_mutex_unlock(&u->lock);
    if (!found && *source)
        ledger_identity(e->base, "source", source, key->identity);
    return found || *source;
}

static enum ledger_kind share_hold(enum budget_kind kind)
{
    return kind == BUDGET_BLOBS ? LEDGER_HELD_BLOBS : LEDGER_HELD_MANIFESTS;
}

/* ---- telling ---- */

void share_note(struct upstream *u, int endpoint, const char *who, bool logged_in, enum budget_kind kind,
                const struct transfer_response *r)
{
    int n = identity_number(who);
    struct budget_state now;
    struct ledger_key key;

    if (!u->ledger || n < 0 || !budget_get(u->budgets, endpoint, who, kind, &now) ||
        !share_key(u, endpoint, n, logged_in, now.source, &key))
        return;
    key.kind = LEDGER_LEFT;
    if (r->ratelimit_limit >= 0 && r->ratelimit_remaining >= 0)
        ledger_tell(u->ledger, &key, &now.left);
    key.kind = share_hold(kind);
    if (r->status == 429 || r->status < 400)
        ledger_tell(u->ledger, &key, &(struct ledger_value){.at_ms = clock_mono_ms(), .held_ms = now.held_ms});
}

/* ---- looking ---- */

/* What holds of two: `info` is this node's, and what another one knows takes its place. */
static void share_merge(struct upstream *u, struct ledger_key *key, enum budget_kind kind,
                        const struct ledger_value *own, struct budget_info *info)
{
    int64_t now = clock_mono_ms();
    struct ledger_value other;

    key->kind = LEDGER_LEFT;
    if (ledger_look(u->ledger, key, &other) && (own->remaining < 0 || !ledger_replaces(LEDGER_LEFT, own, &other)) &&
        now - other.at_ms < LEDGER_WINDOW_MAX_S * 1000) {
        info->limit = other.limit;
        info->remaining = ledger_left(&other, now);
        info->window_s = other.window_s;
        memcpy(info->node, other.node, sizeof(info->node));
    }
    key->kind = share_hold(kind);
    if (ledger_look(u->ledger, key, &other) && other.at_ms + other.held_ms - now > info->held_ms) {
        info->held_ms = other.at_ms + other.held_ms - now;
        info->held_since_ms = info->held_since_ms > 0 ? info->held_since_ms : other.at_ms;
        memcpy(info->node, other.node, sizeof(info->node));
    }
}

/* False: nothing is known. `kind` is what `held_ms` is of. */
static bool share_get(struct upstream *u, int endpoint, int n, enum budget_kind kind, struct budget_info *out)
{
    struct budget_state own;
    struct ledger_key key;

    *out = (struct budget_info){.endpoint = endpoint, .limit = -1, .remaining = -1, .window_s = -1};
    identity_name(n, out->who);
    bool has_own = budget_get(u->budgets, endpoint, out->who, kind, &own);
    if (has_own) {
        out->limit = own.left.limit;
        out->remaining = ledger_left(&own.left, clock_mono_ms());
        out->window_s = own.left.window_s;
        out->held_ms = own.held_ms;
        memcpy(out->source, own.source, sizeof(out->source));
    }
    if (share_key(u, endpoint, n, true, own.source, &key))
        share_merge(u, &key, kind, &own.left, out);
    return has_own || out->node[0];
}

void share_look(struct upstream *u, int endpoint, int n, enum budget_kind kind, int64_t *held_ms, int64_t *left)
{
    struct budget_info info;

    share_get(u, endpoint, n, kind, &info);
    *held_ms = info.held_ms;
    *left = info.remaining;
}

struct share_visit {
    struct upstream *u;
    void (*fn)(void *arg, const struct budget_info *info);
    void *arg;
};

static void share_show(void *arg, const struct budget_info *info)
{
    struct share_visit *v = arg;
    struct budget_info shown = *info, both;
    int n = identity_number(info->who);

    if (n >= 0 && v->u->ledger && share_get(v->u, info->endpoint, n, BUDGET_MANIFESTS, &both) && both.node[0]) {
        both.held_since_ms = shown.held_since_ms > 0 ? shown.held_since_ms : both.held_since_ms;
        shown = both;
    }
    v->fn(v->arg, &shown);
}

void share_each(struct upstream *u, void (*fn)(void *arg, const struct budget_info *info), void *arg)
{
    struct share_visit v = {u, fn, arg};
    struct budget_state own;
    struct budget_info info;

    budgets_each(u->budgets, share_show, &v);
    for (int i = 0; i < u->endpoint_count && u->ledger; i++)
        for (int n = 0; n < identity_count(u, i); n++)
            if (share_get(u, i, n, BUDGET_MANIFESTS, &info) &&
                !budget_get(u->budgets, i, info.who, BUDGET_MANIFESTS, &own))
                fn(arg, &info);
}
