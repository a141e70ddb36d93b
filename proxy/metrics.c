#include "proxy/metrics.h"

#include "base/assert.h"
#include "proxy/metrics_private.h"

#include <string.h>

const int64_t METRICS_BOUNDS[BUCKETS] = {1000,     2500,     5000,     10000,     25000,     50000,
                                         100000,   250000,   500000,   1000000,   2500000,   5000000,
                                         10000000, 30000000, 60000000, 120000000, 300000000, 600000000};
const char *const METRICS_METHODS[METHOD_SLOTS] = {"GET", "HEAD", "other"};

struct metrics *metrics_new(void)
{
    return xcalloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < GROUPS; i++)
        free(m->groups[i]);
    free(m);
}

struct metrics_gone *metrics_gone_new(void)
{
    return xcalloc(1, sizeof(struct metrics_gone));
}

void metrics_gone_free(struct metrics_gone *gone)
{
    for (int i = 0; gone && i < GROUPS; i++)
        free(gone->groups[i]);
    free(gone);
}

static void add(atomic_uint_fast64_t *cell, uint64_t n)
{
    /* One writer: a load and a store are enough, and cost no lock prefix. */
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

static void observe(struct histogram *h, int64_t micros)
{
    int i = 0;

    while (i < BUCKETS && micros > METRICS_BOUNDS[i])
        i++;
    add(&h->buckets[i], 1);
    add(&h->micros, (uint64_t)MAX(micros, (int64_t)0));
}

void metrics_count(struct metrics *m, struct http_request *req)
{
    const struct request_note *n = note_of(req);
    int method = http_method(req) == HTTP_METHOD_GET ? 0 : http_method(req) == HTTP_METHOD_HEAD ? 1 : 2;

    ON_LOOP(http_loop(req));
    if (n->kind == KIND_NONE || n->upstream >= GROUPS)
        return;
    struct cells *c = atomic_load_explicit(&m->groups[n->upstream], memory_order_relaxed);
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        atomic_store_explicit(&m->groups[n->upstream], c, memory_order_release);
    }
    add(&c->counts[method][n->kind][n->result], 1);
    /* The body of an error is entrepot's own: it saved no fetch. */
    add(&m->sent[http_status(req) >= 400 ? SOURCE_OWN : n->source], (uint64_t)http_sent(req));
    observe(&m->whole[n->kind][n->result], http_micros(req));
    if (http_first_micros(req) >= 0)
        observe(&m->first[n->kind][n->result], http_first_micros(req));
    add(&m->waited_us, (uint64_t)MAX(record_waited_us(req), (int64_t)0));
}

/* ---- sites that go ---- */

static void take_code(void *arg, const char *method, int code, uint64_t count)
{
    struct gone *gone = arg;

    add(&gone->codes[strcmp(method, METRICS_METHODS[1]) == 0][code], count);
}

void metrics_take_over(void *proxy, const struct site *s)
{
    struct metrics_gone *all = ((struct proxy *)proxy)->gone;
    struct gone *gone = atomic_load_explicit(&all->groups[s->group], memory_order_relaxed);
    struct upstream_stats st;

    if (!gone) {
        gone = xcalloc(1, sizeof(*gone));
        atomic_store_explicit(&all->groups[s->group], gone, memory_order_release);
    }
    upstream_get_stats(s->upstream, &st);
    add(&gone->received, st.received_bytes);
    add(&gone->turned_away, st.turned_away);
    add(&gone->logins_refused, st.logins_refused);
    upstream_each_code(s->upstream, take_code, gone);
}

struct gone *metrics_gone_of(const struct proxy *p, int group)
{
    return atomic_load_explicit(&p->gone->groups[group], memory_order_acquire);
}

static uint64_t gone_received(const struct proxy *p)
{
    uint64_t sum = 0;

    for (int g = 0; g < GROUPS; g++)
        sum += metrics_gone_of(p, g) ? atomic_load_explicit(&metrics_gone_of(p, g)->received, memory_order_relaxed) : 0;
    return sum;
}

uint64_t metrics_cell(const struct proxy *p, int group, int method, int kind, int result)
{
    uint64_t n = 0;

    for (int i = 0; i < p->serve_loop_count; i++) {
        struct cells *c = atomic_load_explicit(&p->serve_loops[i].metrics->groups[group], memory_order_acquire);
        n += c ? atomic_load_explicit(&c->counts[method][kind][result], memory_order_relaxed) : 0;
    }
    return n;
}

uint64_t metrics_sent(const struct proxy *p, int source)
{
    uint64_t n = 0;

    for (int i = 0; i < p->serve_loop_count; i++)
        n += atomic_load_explicit(&p->serve_loops[i].metrics->sent[source], memory_order_relaxed);
    return n;
}

void metrics_figures(void *proxy, struct admin_figures *out)
{
    struct proxy *p = proxy;
    struct http_bounds_stats bounds;

    memset(out, 0, sizeof(*out));
    http_bounds_get_stats(p->bounds, &bounds);
    out->connections = bounds.connections;
    for (int g = 0; g < GROUPS; g++)
        for (int m = 0; m < METHOD_SLOTS; m++)
            for (int k = KIND_MANIFEST; k < KIND_COUNT; k++)
                for (int r = 0; r < RESULT_COUNT; r++) {
                    uint64_t n = metrics_cell(p, g, m, k, r);
                    bool hit = r == RESULT_HIT || r == RESULT_STALE || r == RESULT_REVALIDATED || r == RESULT_COLLAPSED;
                    out->requests += n;
                    out->hits += hit ? n : 0;
                }
    out->from_cache = metrics_sent(p, SOURCE_CACHE);
    out->from_upstream = metrics_sent(p, SOURCE_UPSTREAM);
    out->from_peers = metrics_sent(p, SOURCE_PEERS);
    out->from_shared = metrics_sent(p, SOURCE_SHARED);
    out->gone_received = gone_received(p);
}
