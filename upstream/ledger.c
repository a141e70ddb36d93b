#include "upstream/ledger.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    LITTLE = 100, /* a change of less than this part of the limit is not told */
    AGAIN = 4,    /* what has not changed is told again after this part of its window */
    HELD_LITTLE_MS = 1000,
    WINDOW_S = 21600, /* where a registry names none */
};

struct ledger_entry {
    bool there;
    struct ledger_key key;
    bool has_told, is_news; /* `told` is there; it waits for ledger_take() */
    struct ledger_value told;
    int64_t version; /* of `learnt`; 0: there is none */
    struct ledger_value learnt;
    uint64_t used;
};

struct ledger {
    pthread_mutex_t lock; /* for everything */
    void (*on_news)(void *arg);
    void *arg;
    bool called; /* on_news, since the last ledger_take() that found nothing */
    uint64_t uses;
    struct ledger_entry list[LEDGER_MAX];
};

struct ledger *ledger_new(void)
{
    struct ledger *l = xcalloc(1, sizeof(*l));

    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void ledger_identity(const char *endpoint, const char *what, const char *name, char hash[LEDGER_IDENTITY_LEN + 1])
{
    struct hasher *h = hasher_new(DIGEST_SHA256);
    const char *const parts[] = {"limit", endpoint, what, name};
    char hex[DIGEST_TEXT_MAX];
    struct digest d;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        hasher_update(h, parts[i], strlen(parts[i]) + 1);
    hasher_final(h, &d);
    hasher_free(h);
    snprintf(hash, LEDGER_IDENTITY_LEN + 1, "%.*s", (int)LEDGER_IDENTITY_LEN, digest_hex(&d, hex));
}

/* ---- values ---- */

int64_t ledger_left(const struct ledger_value *v, int64_t now_ms)
{
    int64_t window_ms = (v->window_s > 0 ? v->window_s : WINDOW_S) * 1000,
            passed = MIN(MAX(now_ms - v->at_ms, (int64_t)0), window_ms);

    if (v->remaining < 0 || v->limit < 0)
        return v->remaining;
    double back = (double)v->limit * (double)passed / (double)window_ms;
    return MIN(v->remaining + (int64_t)back, MAX(v->limit, v->remaining));
}

bool ledger_replaces(enum ledger_kind kind, const struct ledger_value *a, const struct ledger_value *b)
{
    if (kind != LEDGER_LEFT)
        return a->at_ms + a->held_ms > b->at_ms + b->held_ms + HELD_LITTLE_MS;
    if (a->at_ms > b->at_ms + LEDGER_SOON_MS || b->at_ms > a->at_ms + LEDGER_SOON_MS)
        return a->at_ms > b->at_ms;
    if (a->limit != b->limit || a->window_s != b->window_s) /* another plan of the account */
        return a->at_ms >= b->at_ms;
    return a->remaining < b->remaining;
}

/* Whether a value differs by more than a little from what was told before. */
static bool is_news(enum ledger_kind kind, const struct ledger_value *v, const struct ledger_value *told)
{
    int64_t now_until = v->at_ms + v->held_ms, then_until = told->at_ms + told->held_ms,
            window_s = v->window_s > 0 ? v->window_s : WINDOW_S, change = v->remaining - told->remaining;

    if (kind != LEDGER_LEFT && (v->held_ms == 0 || told->held_ms == 0))
        return v->held_ms != told->held_ms;
    if (kind != LEDGER_LEFT)
        return now_until > then_until + HELD_LITTLE_MS || now_until + HELD_LITTLE_MS < then_until;
    return v->limit != told->limit || v->window_s != told->window_s ||
           v->at_ms - told->at_ms > window_s * 1000 / AGAIN || (change < 0 ? -change : change) > v->limit / LITTLE ||
           (v->remaining == 0) != (told->remaining == 0);
}

/* ---- entries ---- */

static struct ledger_entry *ledger_find(struct ledger *l, const struct ledger_key *key)
{
    HOLDS(&l->lock);
    for (int i = 0; i < LEDGER_MAX; i++) {
        struct ledger_entry *e = &l->list[i];
        if (e->there && e->key.kind == key->kind && strcmp(e->key.identity, key->identity) == 0 &&
            strcmp(e->key.registry, key->registry) == 0) {
            e->used = ++l->uses;
            return e;
        }
    }
    return NULL;
}

static struct ledger_entry *ledger_make(struct ledger *l, const struct ledger_key *key)
{
    struct ledger_entry *e = ledger_find(l, key);

    for (int i = 0; i < LEDGER_MAX && !e; i++)
        e = l->list[i].there ? NULL : &l->list[i];
    if (e && e->there)
        return e;
    if (!e)
        e = &l->list[0];
    for (int i = 1; i < LEDGER_MAX && e->there; i++)
        if (l->list[i].used < e->used)
            e = &l->list[i];
    *e = (struct ledger_entry){.there = true, .key = *key, .used = ++l->uses};
    return e;
}

void ledger_tell(struct ledger *l, const struct ledger_key *key, const struct ledger_value *v)
{
    void (*fn)(void *) = NULL;

    pthread_mutex_lock(&l->lock);
    bool is_end = key->kind != LEDGER_LEFT && v->held_ms == 0;
    struct ledger_entry *e = !l->on_news ? NULL : is_end ? ledger_find(l, key) : ledger_make(l, key);
    /* Of holds this node ends those that it told itself. */
    if (e && (e->has_told ? is_news(key->kind, v, &e->told) : !is_end)) {
        e->told = *v;
        e->has_told = e->is_news = true;
        fn = l->called ? NULL : l->on_news;
        l->called = true;
    }
    void *arg = l->arg;
    pthread_mutex_unlock(&l->lock);
    if (fn)
        fn(arg);
}

bool ledger_look(struct ledger *l, const struct ledger_key *key, struct ledger_value *out)
{
    pthread_mutex_lock(&l->lock);
    const struct ledger_entry *e = ledger_find(l, key);
    bool found = e && e->version != 0;
    if (found)
        *out = e->learnt;
    pthread_mutex_unlock(&l->lock);
    return found;
}

void ledger_on_news(struct ledger *l, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&l->lock);
    l->on_news = fn;
    l->arg = arg;
    l->called = false;
    pthread_mutex_unlock(&l->lock);
}

bool ledger_take(struct ledger *l, struct ledger_key *key, struct ledger_value *v)
{
    bool found = false;

    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < LEDGER_MAX && !found; i++) {
        struct ledger_entry *e = &l->list[i];
        found = e->is_news;
        if (!found)
            continue;
        e->is_news = false;
        *key = e->key;
        *v = e->told;
    }
    l->called = found;
    pthread_mutex_unlock(&l->lock);
    return found;
}

void ledger_learn(struct ledger *l, const struct ledger_key *key, const struct ledger_value *v, int64_t version)
{
    pthread_mutex_lock(&l->lock);
    struct ledger_entry *e = ledger_make(l, key);
    if (e->version != version) { /* it was received at another time, if it is the same */
        e->learnt = *v;
        e->version = version;
    }
    pthread_mutex_unlock(&l->lock);
}

void ledger_forget(struct ledger *l, const struct ledger_key *key)
{
    pthread_mutex_lock(&l->lock);
    struct ledger_entry *e = ledger_find(l, key);
    if (e)
        e->version = 0;
    pthread_mutex_unlock(&l->lock);
}
