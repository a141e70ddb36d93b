#include "upstream/registry_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/url.h"

#include <string.h>
#include <strings.h>

enum { PROBE_MS = 60000 };

const char *const METHODS[METHOD_COUNT] = {"GET", "HEAD"};

static void trust_endpoints(struct upstream *u, const bool *trusted)
{
    const char *registry = u->endpoints[u->endpoint_count - 1].url;
    size_t len = url_origin_len(registry);

    for (int i = 0; i < u->endpoint_count; i++) {
        const char *url = u->endpoints[i].url;
        u->endpoints[i].trusted =
            (trusted && trusted[i]) || (url_origin_len(url) == len && strncasecmp(url, registry, len) == 0);
    }
}

/* The client certificate is an identity like a password: mirrors and hosts of redirects are not shown it. */
static void show_to(struct upstream *u, const char *const *trusted_hosts)
{
    int n = 0;

    for (int i = 0; i < u->endpoint_count; i++)
        if (u->endpoints[i].trusted)
            u->shown_to[n++] = xstrdup(u->endpoints[i].url);
    for (int i = 0; i < NAMED_MAX && trusted_hosts && trusted_hosts[i]; i++)
        u->shown_to[n++] = xstrdup(trusted_hosts[i]);
}

struct upstream *upstream_new(const struct upstream_options *o)
{
    static const struct cred_options nobody;
    struct upstream *u = xcalloc(1, sizeof(*u));
    struct token_options t = {.trust = &u->trust,
                              .insecure = o->insecure,
                              .connect_timeout_ms = o->connect_timeout_ms,
                              .stall_timeout_ms = o->stall_timeout_ms};

    u->name = xstrdup(o->name);
    if (o->trust)
        trust_copy(&u->trust, o->trust);
    for (int i = 0; i < NAMED_MAX && o->named && o->named[i]; i++)
        u->named[i] = xstrdup(o->named[i]);
    t.named = (const char *const *)u->named;
    t.shown_to = (const char *const *)u->shown_to;
    t.users = &u->users;
    u->insecure = o->insecure;
    u->may_have_password = o->may_have_password;
    u->arg = o->arg;
    u->connect_timeout_ms = o->connect_timeout_ms;
    u->stall_timeout_ms = o->stall_timeout_ms;
    for (; o->endpoints[u->endpoint_count] && u->endpoint_count < ENDPOINTS_MAX; u->endpoint_count++)
        endpoint_set_url(&u->endpoints[u->endpoint_count], o->endpoints[u->endpoint_count],
                         o->ns ? o->ns[u->endpoint_count] : UPSTREAM_NS_AUTO);
    trust_endpoints(u, o->logins);
    show_to(u, o->trusted_hosts);
    u->nobody = cred_new(&nobody, o->name, o->workers);
    u->cred_count = o->credentials_count > 0 ? MIN(o->credentials_count, (int)UPSTREAM_IDENTITIES_MAX) : 1;
    for (int i = 0; i < u->cred_count; i++)
        u->creds[i] = cred_new(o->credentials_count > 0 ? &o->credentials[i] : &nobody, o->name, o->workers);
    u->rate_reserve = o->rate_reserve;
    atomic_init(&u->waiting_max, o->waiting_max);
    u->slots = o->slots;
    u->budgets = budgets_new();
    u->ledger = o->ledger;
    u->lacks = lacks_new();
    u->tokens = tokens_new(&t);
    pthread_mutex_init(&u->lock, NULL);
    for (int i = 0; i < u->cred_count && o->credentials_count > 0; i++)
        if (cred_options_source(&o->credentials[i]) == CRED_FROM_PASSWORD)
            share_know_account(u, i, o->credentials[i].username);
    atomic_init(&u->up, true);
    atomic_init(&u->ratelimit_remaining, -1);
    atomic_init(&u->probe_ms, -PROBE_MS);
    return u;
}

void upstream_set_waiting_max(struct upstream *u, int waiting_max)
{
    atomic_store(&u->waiting_max, waiting_max);
}

/* Calls first: only they start transfers and credential jobs. */
bool upstream_is_idle(const struct upstream *u)
{
    bool idle = atomic_load(&u->users) == 0 && cred_is_idle(u->nobody);

    for (int i = 0; i < u->cred_count; i++)
        idle = idle && cred_is_idle(u->creds[i]);
    return idle;
}

bool upstream_is_registry(const struct upstream *u)
{
    return atomic_load_explicit(&u->is_registry, memory_order_relaxed);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    tokens_free(u->tokens);
    for (int i = 0; i < u->cred_count; i++)
        cred_free(u->creds[i]);
    cred_free(u->nobody);
    budgets_free(u->budgets);
    lacks_free(u->lacks);
    for (int i = 0; i < u->endpoint_count; i++) {
        endpoint_clear_url(&u->endpoints[i]);
        endpoint_clear_failing(&u->endpoints[i]);
    }
    for (int i = 0; i < NAMED_MAX; i++)
        free(u->named[i]);
    for (int i = 0; u->shown_to[i]; i++)
        free(u->shown_to[i]);
    for (int i = 0; i < UPSTREAM_IDENTITIES_MAX; i++)
        free(u->accounts[i]);
    trust_clear(&u->trust);
    free(u->name);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* ---- the cache's own identities, and limits ---- */

/* Those that could not log in are skipped while another one can. */
static unsigned useless(struct upstream *u, int endpoint)
{
    int64_t now = clock_mono_ms();
    int count = identity_count(u, endpoint);
    unsigned refused = 0;

    for (int i = 0; i < count; i++)
        refused |= now < atomic_load(&u->refused_ms[endpoint][i]) ? 1u << i : 0;
    return refused == (1u << count) - 1 ? 0 : refused;
}

int identity_choose(struct upstream *u, int endpoint, enum budget_kind kind, unsigned tried, int64_t *held_ms)
{
    int64_t most = -1;
    int chosen = -1;

    *held_ms = 0;
    tried |= useless(u, endpoint);
    for (int i = 0; i < identity_count(u, endpoint); i++) {
        int64_t held, left;
        if (tried >> i & 1)
            continue;
        share_look(u, endpoint, i, kind, &held, &left);
        if (held > 0) {
            *held_ms = *held_ms == 0 ? held : MIN(*held_ms, held);
            continue;
        }
        left = left < 0 ? INT64_MAX : left; /* unknown: the answer will tell */
        if (left > most) {
            most = left;
            chosen = i;
        }
    }
    return chosen;
}

/* Until some identity may be used at some endpoint; 0: now. */
static int64_t limited_ms(struct upstream *u)
{
    int64_t least = INT64_MAX, held;

    for (int i = 0; i < u->endpoint_count; i++) {
        if (identity_choose(u, i, BUDGET_MANIFESTS, 0, &held) >= 0)
            return 0;
        least = MIN(least, held);
    }
    return least;
}

static bool own_is_short(struct upstream *u)
{
    for (int i = 0; i < u->endpoint_count; i++)
        for (int k = 0; k < identity_count(u, i); k++) {
            int64_t held, left;
            if (useless(u, i) >> k & 1)
                continue;
            share_look(u, i, k, BUDGET_MANIFESTS, &held, &left);
            if (held == 0 && (left < 0 || left >= u->rate_reserve))
                return false;
        }
    return true;
}

enum upstream_health upstream_health(struct upstream *u, const struct upstream_request *req)
{
    if (!endpoint_any_healthy(u))
        return UPSTREAM_DOWN;
    if (req->authorization || req->identity)
        return UPSTREAM_HEALTHY; /* a client's own budget: its request finds out */
    if (limited_ms(u) > 0)
        return UPSTREAM_LIMITED;
    return own_is_short(u) ? UPSTREAM_SHORT : UPSTREAM_HEALTHY;
}

bool upstream_take_probe(struct upstream *u)
{
    int64_t last = atomic_load(&u->probe_ms), now = clock_mono_ms();

    return now - last >= PROBE_MS && atomic_compare_exchange_strong(&u->probe_ms, &last, now);
}

struct budget_visit {
    void (*fn)(void *arg, const struct budget_info *info);
    void *arg;
};

static void show_budget(void *arg, const struct budget_info *info)
{
    struct budget_visit *v = arg;
    struct budget_info shown = *info;
    int n = identity_number(info->who);

    if (n == IDENTITY_ANONYMOUS)
        snprintf(shown.who, sizeof(shown.who), "anonymous");
    else if (n >= 0)
        snprintf(shown.who, sizeof(shown.who), "%d", n);
    else
        snprintf(shown.who, sizeof(shown.who), "client");
    v->fn(v->arg, &shown);
}

void upstream_each_budget(struct upstream *u, void (*fn)(void *arg, const struct budget_info *info), void *arg)
{
    struct budget_visit v = {fn, arg};

    share_each(u, show_budget, &v);
}

/* ---- figures ---- */

struct own_budget {
    int64_t left, limit;
};

static void look_at_own(void *arg, const struct budget_info *info)
{
    struct own_budget *o = arg;

    if (identity_number(info->who) < 0 || info->remaining <= o->left)
        return;
    o->left = info->remaining;
    o->limit = info->limit;
}

void upstream_get_stats(struct upstream *u, struct upstream_stats *out)
{
    struct own_budget own = {.left = -1, .limit = -1};

    share_each(u, look_at_own, &own);
    out->up = atomic_load(&u->up);
    out->ratelimit_remaining = own.left >= 0 ? own.left : atomic_load(&u->ratelimit_remaining);
    out->ratelimit_limit = own.limit;
    out->limited_ms = limited_ms(u);
    out->received_bytes = atomic_load(&u->received);
    out->requests = atomic_load(&u->requests);
    out->logins_refused = atomic_load(&u->logins_refused);
    out->turned_away = atomic_load(&u->turned_away);
    out->login_is_refused = atomic_load(&u->login_is_refused);
    out->connections = atomic_load(&u->connections);
}

static void look_at_hold(void *arg, const struct budget_info *info)
{
    struct upstream_trouble *t = arg;

    if (identity_number(info->who) >= 0 && info->held_ms > 0 && (t->since_ms == 0 || info->held_since_ms < t->since_ms))
        t->since_ms = info->held_since_ms;
}

void upstream_each_trouble(struct upstream *u, void (*fn)(void *arg, const struct upstream_trouble *t), void *arg)
{
    struct upstream_trouble t;

    for (int i = 0; i < u->endpoint_count; i++)
        if (endpoint_trouble(u, i, &t))
            fn(arg, &t);
    t = (struct upstream_trouble){.kind = UPSTREAM_HELD, .endpoint = "", .next_ms = limited_ms(u)};
    if (t.next_ms > 0) {
        share_each(u, look_at_hold, &t);
        snprintf(t.why, sizeof(t.why), "answered 429, too many requests; manifests are not requested until then");
        fn(arg, &t);
    }
    if (!atomic_load(&u->login_is_refused))
        return;
    t = (struct upstream_trouble){
        .kind = UPSTREAM_LOGIN_REFUSED, .endpoint = "", .since_ms = atomic_load(&u->login_refused_ms)};
    snprintf(t.why, sizeof(t.why), "the last login with the configured credentials was refused");
    fn(arg, &t);
}

void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg)
{
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++) {
            uint64_t n = atomic_load_explicit(&u->codes[m][code], memory_order_relaxed);
            if (n > 0)
                fn(arg, METHODS[m], code, n);
        }
}

enum { ONE_STREAM_MS = 60 * 60 * 1000 };

void upstream_note_one_stream(struct upstream *u, bool no_ranges)
{
    int64_t until = clock_mono_ms() + ONE_STREAM_MS;

    if (!upstream_is_one_stream(u))
        log_info("%s: one connection for each blob from now on, for an hour: it %s", u->name,
                 no_ranges ? "serves no ranges" : "refuses more");
    atomic_store(&u->one_stream_ms, until);
    if (no_ranges)
        atomic_store(&u->no_ranges_ms, until);
}

void upstream_note_one_range(struct upstream *u)
{
    atomic_store(&u->one_range_ms, clock_mono_ms() + ONE_STREAM_MS);
}

bool upstream_is_one_range(const struct upstream *u)
{
    return clock_mono_ms() < atomic_load(&u->one_range_ms);
}

bool upstream_is_one_stream(const struct upstream *u)
{
    return clock_mono_ms() < atomic_load(&u->one_stream_ms);
}

bool upstream_has_no_ranges(const struct upstream *u)
{
    return clock_mono_ms() < atomic_load(&u->no_ranges_ms);
}
