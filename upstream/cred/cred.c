#include "upstream/cred/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

enum {
    ENTRIES_MAX = 1024,     /* of one upstream */
    FAILED_MS = 5000,       /* a failure is remembered for */
    RENEW_AGAIN_MS = 10000, /* after an early renewal that failed */
};

struct cred_workers {
    pthread_mutex_t lock; /* held while queueing a job, and while stopping */
    struct pool *pool;
    atomic_bool stop;
};

struct cred_waiter {
    STAILQ_ENTRY(cred_waiter) entry;
    struct loop *loop;
    void (*done)(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err);
    void *arg;
    /* the answer */
    struct cred_identity id;
    uint64_t number;
    struct err err;
};

STAILQ_HEAD(cred_waiters, cred_waiter);

struct cred_entry {
    TAILQ_ENTRY(cred_entry) link; /* most recently used first */
    char *key;
    struct cred_identity id;
    uint64_t number;                     /* 0: there is none yet */
    int64_t begun_ms, ends_ms, renew_ms; /* monotonic */
    int64_t failed_until_ms;
    struct err failure;
    bool asking;
    struct cred_waiters waiters;
};

struct cred {
    /* set once */
    const struct cred_backend *backend;
    struct cred_options o;
    char *host;
    struct cred_workers *workers;
    /* shared, under lock */
    pthread_mutex_t lock;
    TAILQ_HEAD(cred_entries, cred_entry) entries;
    size_t count;
    uint64_t last_number;
    atomic_int jobs;
};

/* ---- workers ---- */

struct cred_workers *cred_workers_new(int threads, struct err *err)
{
    struct cred_workers *w = xcalloc(1, sizeof(*w));

    pthread_mutex_init(&w->lock, NULL);
    w->pool = pool_new("cred", threads, err);
    if (w->pool)
        return w;
    cred_workers_free(w);
    return NULL;
}

void cred_workers_stop(struct cred_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->stop, true);
    struct pool *pool = w->pool;
    w->pool = NULL;
    pthread_mutex_unlock(&w->lock);
    pool_free(pool);
}

void cred_workers_free(struct cred_workers *w)
{
    if (!w)
        return;
    cred_workers_stop(w);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- identities ---- */

static const struct cred_backend *const BACKENDS[CRED_SOURCES] = {
    [CRED_FROM_PASSWORD] = &CRED_PASSWORD, [CRED_FROM_DOCKER] = &CRED_DOCKER, [CRED_FROM_HELPER] = &CRED_HELPER,
    [CRED_FROM_KUBELET] = &CRED_KUBELET,   [CRED_FROM_ECR] = &CRED_ECR,       [CRED_FROM_GCP] = &CRED_GCP,
    [CRED_FROM_AZURE] = &CRED_AZURE,
};

static struct cred *cred_make_of(const struct cred_backend *backend, const struct cred_options *o, const char *host,
                                 struct cred_workers *workers)
{
    struct cred *c = xcalloc(1, sizeof(*c));

    IN_STATE(backend); /* each source has one */
    c->backend = backend;
    cred_options_copy(&c->o, o);
    c->host = xstrdup(host);
    c->workers = workers;
    pthread_mutex_init(&c->lock, NULL);
    TAILQ_INIT(&c->entries);
    return c;
}

struct cred *cred_new(const struct cred_options *o, const char *host, struct cred_workers *workers)
{
    return cred_make_of(BACKENDS[cred_options_source(o)], o, host, workers);
}

struct cred *cred_new_aws(const struct cred_options *o, const char *host, struct cred_workers *workers)
{
    enum cred_source source = cred_options_source(o);

    return cred_make_of(source == CRED_FROM_ECR ? &CRED_AWS : BACKENDS[source], o, host, workers);
}

static void entry_free(struct cred *c, struct cred_entry *e)
{
    TAILQ_REMOVE(&c->entries, e, link);
    c->count--;
    cred_identity_clear(&e->id);
    free(e->key);
    free(e);
}

void cred_free(struct cred *c)
{
    if (!c)
        return;
    while (!TAILQ_EMPTY(&c->entries))
        entry_free(c, TAILQ_FIRST(&c->entries));
    cred_options_free(&c->o);
    pthread_mutex_destroy(&c->lock);
    free(c->host);
    free(c);
}

bool cred_is_idle(const struct cred *c)
{
    return atomic_load(&c->jobs) == 0;
}

/* An entry, now the most recently used. */
static struct cred_entry *cred_find(struct cred *c, const char *key)
{
    struct cred_entry *e;

    HOLDS(&c->lock);
    TAILQ_FOREACH(e, &c->entries, link)
        if (strcmp(e->key, key) == 0) {
            TAILQ_REMOVE(&c->entries, e, link);
            TAILQ_INSERT_HEAD(&c->entries, e, link);
            return e;
        }
    return NULL;
}

static struct cred_entry *cred_make(struct cred *c, const char *key)
{
    struct cred_entry *e = cred_find(c, key), *old = TAILQ_LAST(&c->entries, cred_entries);

    HOLDS(&c->lock);
    if (e)
        return e;
    if (c->count >= ENTRIES_MAX && !old->asking)
        entry_free(c, old);
    e = xcalloc(1, sizeof(*e));
    e->key = xstrdup(key);
    STAILQ_INIT(&e->waiters);
    TAILQ_INSERT_HEAD(&c->entries, e, link);
    c->count++;
    return e;
}

static const char *cred_key_of(enum cred_scope scope, const char *repository)
{
    return scope == CRED_FOR_ALL ? "*" : scope == CRED_FOR_HOST ? "" : repository;
}

/* The entry for a repository: its own, the host's, or the one for all. */
static struct cred_entry *find_known(struct cred *c, const char *repository)
{
    static const enum cred_scope nearest_first[] = {CRED_FOR_IMAGE, CRED_FOR_HOST, CRED_FOR_ALL};
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < ARRAY_LEN(nearest_first); i++) {
        struct cred_entry *e = cred_find(c, cred_key_of(nearest_first[i], repository));
        if (e && e->number > 0 && now < e->ends_ms)
            return e;
    }
    return NULL;
}

/* ---- asking ---- */

struct cred_job {
    struct cred *c;
    char *key, *repository;
};

static void cred_answer_waiter(void *arg)
{
    struct cred_waiter *w = arg;

    w->done(w->arg, w->number ? &w->id : NULL, w->number, w->number ? NULL : &w->err);
    cred_identity_clear(&w->id);
    free(w);
}

static void cred_answer_all(struct cred_waiters *waiters, const struct cred_identity *id, uint64_t number,
                            const struct err *err)
{
    while (!STAILQ_EMPTY(waiters)) {
        struct cred_waiter *w = STAILQ_FIRST(waiters);
        STAILQ_REMOVE_HEAD(waiters, entry);
        w->number = number;
        if (number)
            cred_identity_copy(&w->id, id);
        if (err)
            w->err = *err;
        loop_post(w->loop, cred_answer_waiter, w);
    }
}

/* Stores the backend's answer; returns its number. */
static uint64_t cred_keep(struct cred *c, struct cred_entry *asked, struct cred_task *t)
{
    struct cred_entry *e = cred_make(c, cred_key_of(t->scope, t->repository));
    int64_t now = clock_mono_ms();

    HOLDS(&c->lock);
    /* An unchanged identity keeps its number: requests for which it was refused need not retry. */
    if (e->number == 0 || !cred_identity_eq(&e->id, &t->id))
        e->number = ++c->last_number;
    cred_identity_clear(&e->id);
    cred_identity_copy(&e->id, &t->id);
    e->begun_ms = now;
    e->ends_ms = now + t->life_ms;
    e->renew_ms = e->ends_ms - t->life_ms / 5;
    e->failed_until_ms = asked->failed_until_ms = 0;
    return e->number;
}

static void cred_work(void *arg)
{
    struct cred_job *j = arg;
    struct cred *c = j->c;
    struct cred_task t = {.o = &c->o, .host = c->host, .repository = j->repository, .stop = &c->workers->stop};
    struct cred_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);
    struct err err = {0};
    uint64_t number = 0;

    t.scope = c->backend->scope;
    t.life_ms = CRED_REREAD_MS;
    bool ok = c->backend->ask(&t, &err);
    if (ok && t.id.bearer && strpbrk(t.id.bearer, "\r\n")) /* it would break the header */
        ok = err_set(&err, ERR_INVALID, "the token has several lines");
    if (!ok)
        err_wrap(&err, "credentials for %s (%s)", c->host, c->backend->name);
    pthread_mutex_lock(&c->lock);
    struct cred_entry *e = cred_make(c, j->key);
    e->asking = false;
    STAILQ_CONCAT(&waiters, &e->waiters);
    if (ok) {
        number = cred_keep(c, e, &t);
    } else {
        e->failure = err;
        e->failed_until_ms = clock_mono_ms() + FAILED_MS;
        e->renew_ms = clock_mono_ms() + RENEW_AGAIN_MS;
    }
    pthread_mutex_unlock(&c->lock);
    if (!ok && err.code != ERR_CANCELLED)
        log_limited_about(LOG_LEVEL_ERROR, "credentials", c->host, "%s", err.msg);
    cred_answer_all(&waiters, &t.id, number, ok ? NULL : &err);
    cred_identity_clear(&t.id);
    free(j->key);
    free(j->repository);
    free(j);
    atomic_fetch_sub(&c->jobs, 1); /* `c` may be freed after this */
}

static void cred_start(struct cred *c, const char *key, const char *repository)
{
    struct cred_job *j = xcalloc(1, sizeof(*j));

    *j = (struct cred_job){c, xstrdup(key), xstrdup(repository)};
    atomic_fetch_add(&c->jobs, 1);
    pool_run(c->workers->pool, cred_work, j);
}

/* Whether the waiter can be answered at once; else a job is under way for it. */
static bool cred_decide(struct cred *c, const char *repository, struct cred_waiter *w)
{
    const char *key = cred_key_of(c->backend->scope, repository);
    struct cred_entry *known = find_known(c, repository), *e = known ? known : cred_make(c, key);
    int64_t now = clock_mono_ms();
    bool stopping = atomic_load(&c->workers->stop), answered = true;

    HOLDS(&c->workers->lock);
    HOLDS(&c->lock);
    if (known) {
        cred_identity_copy(&w->id, &known->id);
        w->number = known->number;
    } else if (stopping) {
        err_set(&w->err, ERR_CANCELLED, "the cache is being stopped");
    } else if (!e->asking && now < e->failed_until_ms) {
        w->err = e->failure;
    } else {
        STAILQ_INSERT_TAIL(&e->waiters, w, entry);
        answered = false;
    }
    if (!e->asking && !stopping && (known ? now >= known->renew_ms : !answered)) {
        e->asking = true;
        cred_start(c, e->key, repository);
    }
    return answered;
}

void cred_get(struct cred *c, struct loop *loop, const char *repository,
              void (*done)(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err),
              void *arg)
{
    struct cred_waiter *w = xcalloc(1, sizeof(*w));

    ON_LOOP(loop);
    w->loop = loop;
    w->done = done;
    w->arg = arg;
    pthread_mutex_lock(&c->workers->lock);
    pthread_mutex_lock(&c->lock);
    bool answered = cred_decide(c, repository, w);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->workers->lock);
    if (answered)
        cred_answer_waiter(w);
}

/* It has ended, because it was refused to another request a moment ago: another one is on its way, or comes with the
 * next request. */
static bool cred_has_ended(struct cred *c, const char *repository, uint64_t number)
{
    static const enum cred_scope scopes[] = {CRED_FOR_IMAGE, CRED_FOR_HOST, CRED_FOR_ALL};

    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        const struct cred_entry *e = cred_find(c, cred_key_of(scopes[i], repository));
        if (e && e->number == number)
            return true;
    }
    return false;
}

bool cred_refused(struct cred *c, const char *repository, uint64_t number, int64_t since_ms)
{
    int64_t now = clock_mono_ms();
    bool again = false;

    pthread_mutex_lock(&c->lock);
    struct cred_entry *e = find_known(c, repository);
    if (!e)
        again = cred_has_ended(c, repository, number);
    else if (e->number != number)
        again = true; /* it has been renewed already */
    else if (e->begun_ms < since_ms && now - e->begun_ms >= c->backend->young_ms) {
        e->ends_ms = now;
        again = true;
    }
    pthread_mutex_unlock(&c->lock);
    return again;
}
