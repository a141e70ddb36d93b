#include "proxy/registry/grant.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

enum { BUCKETS = 4096 };

struct grant {
    TAILQ_ENTRY(grant) age; /* all last equally long: the oldest expires first */
    LIST_ENTRY(grant) chain;
    struct digest key;
    int64_t ends_ms; /* monotonic */
};

struct grants {
    _Atomic int64_t life_ms;
    pthread_mutex_t lock;
    TAILQ_HEAD(, grant) ages;
    LIST_HEAD(, grant) buckets[BUCKETS];
    size_t count;
};

struct grants *grants_new(int64_t life_ms)
{
    struct grants *g = xcalloc(1, sizeof(*g));

    g->life_ms = life_ms;
    pthread_mutex_init(&g->lock, NULL);
    TAILQ_INIT(&g->ages);
    return g;
}

void grants_set_life(struct grants *g, int64_t life_ms)
{
    atomic_store(&g->life_ms, life_ms);
}

static void grant_end(struct grants *g, struct grant *one)
{
    TAILQ_REMOVE(&g->ages, one, age);
    LIST_REMOVE(one, chain);
    g->count--;
    free(one);
}

void grants_free(struct grants *g)
{
    if (!g)
        return;
    while (!TAILQ_EMPTY(&g->ages))
        grant_end(g, TAILQ_FIRST(&g->ages));
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static void grant_make_key(struct digest *key, const char *client_id, const char *repo)
{
    _cleanup_free_ char *text = xasprintf("%s\n%s", client_id, repo);

    digest_of(DIGEST_SHA256, text, strlen(text), key);
}

/* With the lock held. */
static struct grant *grant_find(struct grants *g, const struct digest *key)
{
    struct grant *one;

    HOLDS(&g->lock);
    LIST_FOREACH(one, &g->buckets[digest_hash(key) % BUCKETS], chain)
        if (digest_eq(&one->key, key))
            return one;
    return NULL;
}

bool grants_has(struct grants *g, const char *client_id, const char *repo)
{
    struct digest key;

    grant_make_key(&key, client_id, repo);
    pthread_mutex_lock(&g->lock);
    const struct grant *one = grant_find(g, &key);
    bool has = one && one->ends_ms > clock_mono_ms();
    pthread_mutex_unlock(&g->lock);
    return has;
}

void grants_add(struct grants *g, const char *client_id, const char *repo)
{
    struct grant *one = xcalloc(1, sizeof(*one)), *old;
    int64_t now = clock_mono_ms();

    grant_make_key(&one->key, client_id, repo);
    one->ends_ms = now + g->life_ms;
    pthread_mutex_lock(&g->lock);
    if ((old = grant_find(g, &one->key)))
        grant_end(g, old);
    while ((old = TAILQ_FIRST(&g->ages)) && (old->ends_ms <= now || g->count >= GRANTS_MAX))
        grant_end(g, old);
    TAILQ_INSERT_TAIL(&g->ages, one, age);
    LIST_INSERT_HEAD(&g->buckets[digest_hash(&one->key) % BUCKETS], one, chain);
    g->count++;
    pthread_mutex_unlock(&g->lock);
}
