/* Two things go on beside each other:
 *
 *     read all ─▶ watch ─┬▶ it ended: watch again, from the next revision
 *         ▲              └▶ compacted, another store ─▶ read all
 *
 *     a key has news ─▶ grant a lease, or renew it ─▶ put, if the key is as it was seen ┬▶ revoke the lease before
 *         ▲                                                                             └▶ it is not: learn, a second
 *         └─────────────────────────────────── later, if it is still news ◀────────────────┘            later
 *
 * One write is under way at a time. A failure pauses all of them.
 */
#include "cluster/budgets.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum {
    SLACK_MS = 2000, /* of a lease's end against a hold's */
    BUDGETS_LOG_MS = 60000,
};

/* A key that this node writes. */
struct budgets_slot {
    bool there, waits; /* `value` is to be written */
    struct ledger_key key;
    struct ledger_value value;
    int64_t due_ms;                     /* not before */
    int64_t revision;                   /* of the key as it was last seen; 0: there is none */
    bool wrote;                         /* this node has, since its start */
    int64_t lease, lease_s, renewed_ms; /* lease 0: none */
    int64_t old_lease;                  /* to be revoked; 0: none */
};

struct budgets_link {
    /* set once */
    const struct members_place *place;
    struct etcd *etcd;
    char *prefix;
    /* owned by the loop */
    int64_t told_ms; /* monotonic: when a failure was logged last; 0: never */
    struct members_retry watch_retry;
    struct etcd_call *watch_call; /* under way */
    bool has_read, has_created;
    int64_t next; /* the revision that is watched from */
    struct members_retry write_retry;
    struct etcd_call *write_call; /* under way, for `slot` */
    enum { BUDGETS_GRANT, BUDGETS_RENEW, BUDGETS_PUT, BUDGETS_REVOKE } step;
    struct budgets_slot *slot;
    struct budgets_slot slots[LEDGER_MAX];
};

static struct budgets_slot *slot_find(struct budgets_link *b, const struct ledger_key *key)
{
    for (int i = 0; i < LEDGER_MAX; i++) {
        struct budgets_slot *s = &b->slots[i];
        if (s->there && s->key.kind == key->kind && strcmp(s->key.identity, key->identity) == 0 &&
            strcmp(s->key.registry, key->registry) == 0)
            return s;
    }
    return NULL;
}

/* ---- what others write ---- */

static void budgets_take_kv(struct budgets_link *b, const struct etcd_kv *kv)
{
    struct ledger_key key;
    struct ledger_value v;

    if (!budgets_read_key(b->prefix, kv->key, kv->key_len, &key))
        return; /* of a later version, perhaps */
    struct budgets_slot *s = slot_find(b, &key);
    if (s && kv->mod_revision > s->revision)
        s->revision = kv->deleted ? 0 : kv->mod_revision;
    if (kv->deleted) {
        ledger_forget(b->place->ledger, &key);
    } else if (!budgets_read_value(key.kind, kv->value, kv->value_len, clock_mono_ms(), &v)) {
        log_limited(LOG_LEVEL_WARN, "malformed budget", "cluster: a key below %s in etcd is not one of a limit",
                    b->prefix);
        ledger_forget(b->place->ledger, &key);
    } else if (!s || !(s->wrote || s == b->slot) || strncmp(v.node, b->place->self->address, LEDGER_NODE_MAX) != 0) {
        ledger_learn(b->place->ledger, &key, &v, kv->mod_revision);
    }
}

static void budgets_watch_step(void *arg);

/* Once a minute at most, at every level: it is tried again every few seconds, for as long as etcd is away. */
static void budgets_log_failure(struct budgets_link *b, const struct err *err)
{
    int64_t now = clock_mono_ms();

    if (b->told_ms > 0 && now - b->told_ms < BUDGETS_LOG_MS)
        return;
    b->told_ms = now;
    log_warn("cluster: limits of registries are not shared: %s", err->msg);
}

static void budgets_watch_failed(struct budgets_link *b, const struct err *err)
{
    budgets_log_failure(b, err);
    members_retry_failed(&b->watch_retry, MEMBERS_RETRY_MAX_MS);
}

static void budgets_on_read(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct budgets_link *b = arg;

    ON_LOOP(b->place->loop);
    b->watch_call = NULL;
    if (err) {
        budgets_watch_failed(b, err);
        return;
    }
    if (a->more)
        log_limited(LOG_LEVEL_WARN, "many budgets",
                    "cluster: etcd has more than %d limits of registries: the others "
                    "are not used",
                    (int)LEDGER_MAX);
    for (int i = 0; i < a->count; i++)
        budgets_take_kv(b, &a->kvs[i]);
    b->has_read = true;
    b->next = a->revision + 1;
    budgets_watch_step(b);
}

static void budgets_on_events(void *arg, const struct etcd_answer *a)
{
    struct budgets_link *b = arg;

    ON_LOOP(b->place->loop);
    if (!b->has_created && a->revision > 0 && a->revision < b->next - 1) { /* another store */
        etcd_cancel(b->watch_call);
        b->watch_call = NULL;
        b->has_read = false;
        for (int i = 0; i < LEDGER_MAX; i++)
            b->slots[i].revision = 0;
        members_retry_failed(&b->watch_retry, MEMBERS_RETRY_MAX_MS);
        return;
    }
    if (b->has_created && a->count == 0 && a->passed_over == 0)
        b->next = MAX(b->next, a->revision + 1); /* a notice of progress */
    b->has_created = true;
    b->watch_retry.failures = 0;
    for (int i = 0; i < a->count; i++) {
        budgets_take_kv(b, &a->kvs[i]);
        b->next = MAX(b->next, a->kvs[i].mod_revision + 1);
    }
}

static void budgets_on_end(void *arg, const struct etcd_answer *a UNUSED, const struct err *err)
{
    struct budgets_link *b = arg;

    ON_LOOP(b->place->loop);
    b->watch_call = NULL;
    if (err->code == ERR_OUTDATED || err->code == ERR_TOO_LARGE)
        b->has_read = false;
    if (b->has_created && err->code != ERR_DENIED)
        members_retry_failed(&b->watch_retry, MEMBERS_RETRY_MAX_MS);
    else
        budgets_watch_failed(b, err);
}

static void budgets_watch_step(void *arg)
{
    struct budgets_link *b = arg;
    struct err busy = {0};

    IN_STATE(!b->watch_call);
    b->has_created = false;
    if (b->has_read)
        b->watch_call = etcd_watch(
            b->etcd, &(struct etcd_watch){.prefix = b->prefix, .revision = b->next, .on_events = budgets_on_events},
            budgets_on_end, b);
    else
        b->watch_call =
            etcd_range(b->etcd, &(struct etcd_range){.prefix = b->prefix, .limit = LEDGER_MAX}, budgets_on_read, b);
    if (!b->watch_call) {
        err_set(&busy, ERR_BUSY, "too many calls of etcd are under way");
        budgets_watch_failed(b, &busy);
    }
}

/* ---- what this node writes ---- */

static void budgets_write_next(void *arg);

static void budgets_write_done(struct budgets_link *b)
{
    b->slot = NULL;
    b->write_retry.failures = 0;
    budgets_write_next(b);
}

static void budgets_write_failed(struct budgets_link *b, const struct err *err)
{
    struct budgets_slot *s = b->slot;

    b->slot = NULL;
    s->waits = s->waits || b->step != BUDGETS_REVOKE;
    if (err->code == ERR_NOT_FOUND)
        s->lease = 0;
    else
        budgets_log_failure(b, err);
    members_retry_failed(&b->write_retry, MEMBERS_RETRY_MAX_MS);
}

/* For how long the value is of use, as a lease. */
static int64_t budgets_lease_s(const struct budgets_slot *s, int64_t now)
{
    int64_t most = LEDGER_WINDOW_MAX_S, least = BUDGETS_LEASE_MIN_S,
            held_s = (s->value.at_ms + s->value.held_ms - now + 999) / 1000,
            window_s = s->value.window_s > 0 ? s->value.window_s : most;

    return MIN(MAX(s->key.kind == LEDGER_LEFT ? window_s : held_s, least), most);
}

static void budgets_on_written(void *arg, const struct etcd_answer *a, const struct err *err);

static void budgets_write_call(struct budgets_link *b)
{
    struct budgets_slot *s = b->slot;
    int64_t now = clock_mono_ms();
    struct err busy = {0};

    IN_STATE(!b->write_call);
    if (b->step == BUDGETS_GRANT) {
        b->write_call = etcd_grant(b->etcd, budgets_lease_s(s, now), budgets_on_written, b);
    } else if (b->step == BUDGETS_RENEW) {
        b->write_call = etcd_keep_alive(b->etcd, s->lease, budgets_on_written, b);
    } else if (b->step == BUDGETS_REVOKE) {
        b->write_call = etcd_revoke(b->etcd, s->old_lease, budgets_on_written, b);
        s->old_lease = 0;
    } else {
        _cleanup_free_ char *key = budgets_write_key(b->prefix, &s->key),
                            *value = budgets_write_value(s->key.kind, &s->value, b->place->self->address, now);
        const struct etcd_txn txn = {
            .key = key,
            .mod_revision = s->revision,
            .then = {{.kind = ETCD_OP_PUT, .key = key, .value = value, .len = strlen(value), .lease = s->lease}},
            .then_count = 1,
            .otherwise = {{.kind = ETCD_OP_GET, .key = key}},
            .otherwise_count = 1,
        };
        s->waits = false;
        b->write_call = etcd_txn(b->etcd, &txn, budgets_on_written, b);
    }
    if (!b->write_call) {
        err_set(&busy, ERR_BUSY, "too many calls of etcd are under way");
        budgets_write_failed(b, &busy);
    }
}

static void budgets_write_step(struct budgets_link *b, int step)
{
    b->step = step;
    budgets_write_call(b);
}

/* The key is not as it was seen: another node was faster. */
static void budgets_write_lost(struct budgets_link *b, const struct etcd_answer *a)
{
    struct budgets_slot *s = b->slot;

    s->waits = true; /* if it is still news */
    s->revision = 0;
    for (int i = 0; i < a->count; i++)
        budgets_take_kv(b, &a->kvs[i]);
}

static void budgets_on_written(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct budgets_link *b = arg;
    struct budgets_slot *s = b->slot;
    int64_t now = clock_mono_ms();
    struct err none = {0};

    ON_LOOP(b->place->loop);
    b->write_call = NULL;
    if (!err && b->step == BUDGETS_GRANT && a->lease == 0) {
        err_set(&none, ERR_UPSTREAM, "etcd granted no lease");
        err = &none;
    }
    if (err && !(b->step == BUDGETS_REVOKE && err->code == ERR_NOT_FOUND)) {
        budgets_write_failed(b, err);
        return;
    }
    if (b->step == BUDGETS_GRANT || b->step == BUDGETS_RENEW) {
        if (b->step == BUDGETS_GRANT) {
            s->old_lease = s->lease;
            s->lease = a->lease;
            s->lease_s = budgets_lease_s(s, now);
        }
        s->renewed_ms = now;
        budgets_write_step(b, BUDGETS_PUT);
        return;
    }
    if (b->step == BUDGETS_PUT && !a->succeeded) {
        budgets_write_lost(b, a);
    } else if (b->step == BUDGETS_PUT) {
        s->revision = MAX(s->revision, a->revision);
        s->wrote = true;
    }
    s->due_ms = now + BUDGETS_WRITE_MS;
    if (s->old_lease != 0)
        budgets_write_step(b, BUDGETS_REVOKE);
    else
        budgets_write_done(b);
}

/* Whether there is nothing to write after all: what is known says more, or it is over. */
static bool budgets_is_settled(struct budgets_link *b, const struct budgets_slot *s, int64_t now)
{
    struct ledger_value other;

    if (s->key.kind != LEDGER_LEFT && s->value.at_ms + s->value.held_ms <= now)
        return true;
    return ledger_look(b->place->ledger, &s->key, &other) && !ledger_replaces(s->key.kind, &s->value, &other);
}

/* False: there is nothing to write. */
static bool budgets_write_begin(struct budgets_link *b, struct budgets_slot *s)
{
    int64_t now = clock_mono_ms(), ends_ms = s->renewed_ms + s->lease_s * 1000, lease_s = budgets_lease_s(s, now),
            late_ms = ends_ms - now - lease_s * 1000;

    b->slot = s;
    s->waits = false;
    if (s->key.kind != LEDGER_LEFT && s->value.held_ms == 0 && s->lease != 0) { /* the key goes with its lease */
        s->old_lease = s->lease;
        s->lease = 0;
        budgets_write_step(b, BUDGETS_REVOKE);
        return true;
    }
    if (budgets_is_settled(b, s, now)) {
        b->slot = NULL;
        return false;
    }
    bool has_lease = s->lease != 0 && ends_ms > now;
    if (s->key.kind == LEDGER_LEFT)
        has_lease = has_lease && s->lease_s == lease_s;
    else
        has_lease = has_lease && late_ms < SLACK_MS && late_ms > -SLACK_MS;
    bool is_young = s->key.kind != LEDGER_LEFT || now - s->renewed_ms < s->lease_s * 1000 / 4;
    budgets_write_step(b, !has_lease ? BUDGETS_GRANT : is_young ? BUDGETS_PUT : BUDGETS_RENEW);
    return true;
}

static struct budgets_slot *slot_next(struct budgets_link *b)
{
    struct budgets_slot *first = NULL;

    for (int i = 0; i < LEDGER_MAX; i++)
        if (b->slots[i].waits && (!first || b->slots[i].due_ms < first->due_ms))
            first = &b->slots[i];
    return first;
}

static void budgets_write_next(void *arg)
{
    struct budgets_link *b = arg;
    struct budgets_slot *s;
    int64_t now = clock_mono_ms();

    ON_LOOP(b->place->loop);
    while (!b->slot && (s = slot_next(b))) {
        if (s->due_ms > now) {
            members_retry_in(&b->write_retry, s->due_ms - now);
            return;
        }
        if (budgets_write_begin(b, s))
            return;
    }
    if (!b->slot)
        b->write_retry.failures = 0; /* nothing waits, and no timer runs */
}

/* The slot of a key; one that has not been written for the longest time makes room. NULL: all wait. */
static struct budgets_slot *slot_make(struct budgets_link *b, const struct ledger_key *key)
{
    struct budgets_slot *s = slot_find(b, key);

    if (s)
        return s;
    for (int i = 0; i < LEDGER_MAX; i++) {
        struct budgets_slot *at = &b->slots[i];
        if (at != b->slot && !at->waits && (!s || at->due_ms < s->due_ms))
            s = at;
    }
    if (s)
        *s = (struct budgets_slot){.there = true, .key = *key};
    return s;
}

static void budgets_take_news(void *arg)
{
    struct budgets_link *b = arg;
    struct ledger_key key;
    struct ledger_value v;

    while (ledger_take(b->place->ledger, &key, &v)) {
        struct budgets_slot *s = slot_make(b, &key);
        if (!s)
            continue;
        s->value = v;
        s->waits = true;
    }
    if (b->write_retry.failures == 0) /* else its timer runs */
        budgets_write_next(b);
}

static void budgets_on_news(void *arg)
{
    struct budgets_link *b = arg;

    loop_post(b->place->loop, budgets_take_news, b);
}

/* ---- its life ---- */

struct budgets_link *budgets_link_new(const struct members_place *p, struct etcd *e, const char *prefix)
{
    struct budgets_link *b = xcalloc(1, sizeof(*b));

    ON_LOOP(p->loop);
    b->place = p;
    b->etcd = e;
    b->prefix = xstrdup(prefix);
    members_retry_init(&b->watch_retry, p->loop, budgets_watch_step, b);
    members_retry_init(&b->write_retry, p->loop, budgets_write_next, b);
    ledger_on_news(p->ledger, budgets_on_news, b);
    budgets_watch_step(b);
    return b;
}

void budgets_link_free(struct budgets_link *b)
{
    if (!b)
        return;
    ledger_on_news(b->place->ledger, NULL, NULL);
    members_retry_clear(&b->watch_retry);
    members_retry_clear(&b->write_retry);
    free(b->prefix);
    free(b);
}
