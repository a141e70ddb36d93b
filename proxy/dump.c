/* What the daemon does at this moment, for those who look for what hangs: for SIGUSR1 and the admin API. */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"

#include <string.h>

enum { ANSWER_MS = 2000 };

/* A question to a loop, which may not answer in time. */
struct dump_question {
    void (*print)(const struct dump_question *q, struct buf *out);
    const struct proxy *proxy;
    const struct serve_loop *serve; /* or NULL */
    struct loop *loop;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done, left; /* left: who asked has gone, and the loop frees it */
    struct buf out;
};

static void question_free(struct dump_question *q)
{
    pthread_cond_destroy(&q->answered);
    pthread_mutex_destroy(&q->lock);
    buf_free(&q->out);
    free(q);
}

/* On the loop. */
static void answer_question(void *arg)
{
    struct dump_question *q = arg;

    q->print(q, &q->out);
    pthread_mutex_lock(&q->lock);
    q->done = true;
    bool left = q->left;
    pthread_cond_signal(&q->answered);
    pthread_mutex_unlock(&q->lock);
    if (left)
        question_free(q);
}

static void ask_loop(const struct dump_question *form, struct buf *out)
{
    struct dump_question *q = xcalloc(1, sizeof(*q));
    int64_t until = clock_mono_ms() + ANSWER_MS;

    *q = *form;
    pthread_mutex_init(&q->lock, NULL);
    cond_init(&q->answered);
    buf_addf(out, "loop %s: ", loop_name(q->loop));
    loop_post(q->loop, answer_question, q);
    pthread_mutex_lock(&q->lock);
    while (!q->done && cond_wait_until(&q->answered, &q->lock, until))
        ;
    bool done = q->done;
    if (done)
        buf_add(out, q->out.data, q->out.len);
    else
        buf_addf(out, "takes no message for %d s\n", ANSWER_MS / 1000);
    q->left = !done;
    pthread_mutex_unlock(&q->lock);
    if (done)
        question_free(q);
}

/* ---- what each has to say ---- */

static void print_main(const struct dump_question *q, struct buf *out)
{
    buf_addf(out, "%s\n", atomic_load(&q->proxy->ready) ? "ready" : "not ready, or stopping");
}

static void print_serve(const struct dump_question *q, struct buf *out)
{
    http_server_print(q->serve->http, out);
}

static void print_fetches(const struct dump_question *q, struct buf *out)
{
    buf_adds(out, "fetches\n");
    fetchers_print(q->proxy->fetchers, q->loop, out);
}

struct fetch_loops {
    const struct proxy *proxy;
    struct buf *out;
};

static void ask_fetch_loop(void *arg, struct loop *loop)
{
    const struct fetch_loops *all = arg;

    ask_loop(&(struct dump_question){.print = print_fetches, .proxy = all->proxy, .loop = loop}, all->out);
}

static void print_pools(const struct proxy *p, struct buf *out)
{
    struct pool *const pools[] = {p->pool, p->read_pool, p->admin_pool, p->long_pool};

    for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
        struct pool_load load = pool_load(pools[i]);
        buf_addf(out, "pool %s: %d of %d threads are busy, %d jobs wait\n", load.name, load.busy, load.threads,
                 load.queued);
    }
}

static void print_ingest(void *arg, const struct ingest_info *i)
{
    char text[DIGEST_TEXT_MAX];

    buf_addf(arg, "  %s: %lld of %lld bytes, %d followers\n", digest_format(&i->digest, text), (long long)i->received,
             (long long)i->size, i->followers);
}

void dump_print(struct proxy *p, struct buf *out)
{
    const struct server *s = (const struct server *)((char *)p - offsetof(struct server, proxy));

    OFF_LOOPS;
    ask_loop(&(struct dump_question){.print = print_main, .proxy = p, .loop = s->loop}, out);
    for (int i = 0; i < p->serve_loop_count; i++)
        ask_loop(
            &(struct dump_question){
                .print = print_serve, .proxy = p, .serve = &p->serve_loops[i], .loop = p->serve_loops[i].loop},
            out);
    fetchers_each_loop(p->fetchers, ask_fetch_loop, &(struct fetch_loops){p, out});
    print_pools(p, out);
    buf_addf(out, "ingests: %d\n", ingests_count(cache_ingests(p->cache)));
    ingests_each(cache_ingests(p->cache), print_ingest, out);
}

/* ---- into the log ---- */

static atomic_bool under_way;

static void log_lines(void *arg)
{
    _cleanup_buf_ struct buf out = {0};
    char *rest = NULL;

    dump_print(arg, &out);
    for (char *line = strtok_r(out.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        log_info("dump: %s", line);
    atomic_store(&under_way, false);
}

void dump_log(struct server *s)
{
    ON_LOOP(s->loop);
    if (s->stopping || atomic_exchange(&under_way, true)) /* its loops end, or one is enough */
        return;
    pool_run(s->proxy.admin_pool, log_lines, &s->proxy);
}
