#include "base/pool.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <sys/queue.h>

enum { POOL_THREADS_MAX = 16 };

struct pool_job {
    STAILQ_ENTRY(pool_job) entry;
    const char *name;
    void (*fn)(void *);
    void *arg;
};

/* What a thread is at. */
struct pool_seat {
    const char *name; /* NULL: nothing */
    int64_t begun_ms;
    bool told; /* the log has it */
};

struct pool {
    /* set once */
    pthread_t threads[POOL_THREADS_MAX];
    int count;
    char name[16];
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t more, idle;
    STAILQ_HEAD(, pool_job) jobs;
    struct pool_seat seats[POOL_THREADS_MAX];
    int seated;     /* threads that have taken a seat */
    int queued;     /* jobs */
    int busy;       /* threads with a job */
    bool disturbed; /* a job was queued since the last pool_settle() */
    bool closing;
};

static void *pool_work(void *arg)
{
    struct pool *p = arg;

    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    struct pool_seat *seat = &p->seats[p->seated++];
    for (;;) {
        while (STAILQ_EMPTY(&p->jobs) && !p->closing)
            pthread_cond_wait(&p->more, &p->lock);
        struct pool_job *j = STAILQ_FIRST(&p->jobs);
        if (!j)
            break;
        STAILQ_REMOVE_HEAD(&p->jobs, entry);
        p->queued--;
        p->busy++;
        *seat = (struct pool_seat){j->name, clock_mono_ms(), false};
        pthread_mutex_unlock(&p->lock);
        j->fn(j->arg);
        free(j);
        pthread_mutex_lock(&p->lock);
        seat->name = NULL;
        p->busy--;
        pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct pool *pool_new(const char *name, int threads, struct err *err)
{
    struct pool *p = xcalloc(1, sizeof(*p));

    snprintf(p->name, sizeof(p->name), "%s", name);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    pthread_cond_init(&p->idle, NULL);
    STAILQ_INIT(&p->jobs);
    for (; p->count < MIN(threads, (int)POOL_THREADS_MAX); p->count++) {
        int rc = pthread_create(&p->threads[p->count], NULL, pool_work, p);
        if (rc != 0) {
            errno = rc;
            err_errno(err, ERR_IO, "starting thread %s", name);
            pool_free(p);
            return NULL;
        }
    }
    return p;
}

void pool_run_named(struct pool *p, const char *name, void (*fn)(void *), void *arg)
{
    struct pool_job *j = xmalloc(sizeof(*j));

    j->name = name;
    j->fn = fn;
    j->arg = arg;
    pthread_mutex_lock(&p->lock);
    STAILQ_INSERT_TAIL(&p->jobs, j, entry);
    p->queued++;
    p->disturbed = true;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

/* The next job that the log should name; NULL: there is none. */
static const char *pool_next_slow(struct pool *p, int64_t since_ms, int *queued)
{
    const char *name = NULL;

    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->count && !name; i++) {
        struct pool_seat *seat = &p->seats[i];
        if (!seat->name || seat->told || seat->begun_ms > since_ms)
            continue;
        seat->told = true;
        name = seat->name;
    }
    *queued = p->queued;
    pthread_mutex_unlock(&p->lock);
    return name;
}

void pool_look(struct pool *p, int64_t ms)
{
    int64_t since_ms = clock_mono_ms() - ms;
    const char *name;
    int queued;

    while ((name = pool_next_slow(p, since_ms, &queued)))
        log_warn("a worker of %s has been busy with one task (%s) for more than %lld s; %d tasks wait", p->name, name,
                 (long long)(ms / 1000), queued);
}

struct pool_load pool_load(struct pool *p)
{
    struct pool_load load = {p->name, p->count, 0, 0};

    pthread_mutex_lock(&p->lock);
    load.busy = p->busy;
    load.queued = p->queued;
    pthread_mutex_unlock(&p->lock);
    return load;
}

bool pool_settle(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0 || !STAILQ_EMPTY(&p->jobs))
        pthread_cond_wait(&p->idle, &p->lock);
    bool any = p->disturbed;
    p->disturbed = false;
    pthread_mutex_unlock(&p->lock);
    return any;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
