#include "proxy/metrics.h"

#include "gc/gc.h"
#include "proxy/proxy.h"

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BUCKETS = 14, METHOD_SLOTS = 3 };

/* Upper bounds of the histograms, in microseconds. */
static const int64_t BOUNDS[BUCKETS] = {100,   250,    500,    1000,    2500,    5000,     10000,
                                        50000, 100000, 500000, 1000000, 5000000, 10000000, 60000000};

struct histogram {
    atomic_uint_fast64_t buckets[BUCKETS + 1];
    atomic_uint_fast64_t micros;
};

struct cells {
    atomic_uint_fast64_t counts[METHOD_SLOTS][KIND_COUNT][RESULT_COUNT];
};

struct metrics {
    struct cells *_Atomic sites[SITE_IDS]; /* made on first use */
    atomic_uint_fast64_t sent[SOURCE_COUNT];
    struct histogram whole, first;
};

/* Added to by one thread at a time, read by any. */
struct metrics_gone {
    struct cells cells;
    atomic_uint_fast64_t received, turned_away;
    atomic_uint_fast64_t codes[METHOD_SLOTS][UPSTREAM_CODES];
};

static const char *const METHOD_NAMES[METHOD_SLOTS] = {"GET", "HEAD", "other"};
static const char *const KINDS[] = {"", "manifest", "blob", "tags", "referrers"};
static const char *const RESULTS[] = {"hit", "miss", "stale", "revalidated", "collapsed", "bypass", "denied", "error"};
static const char *const SOURCES[] = {"cache", "upstream", "entrepot"};

struct metrics *metrics_new(void)
{
    return xcalloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < SITE_IDS; i++)
        free(m->sites[i]);
    free(m);
}

struct metrics_gone *metrics_gone_new(void)
{
    return xcalloc(1, sizeof(struct metrics_gone));
}

void metrics_gone_free(struct metrics_gone *gone)
{
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

    while (i < BUCKETS && micros > BOUNDS[i])
        i++;
    add(&h->buckets[i], 1);
    add(&h->micros, (uint64_t)MAX(micros, (int64_t)0));
}

void metrics_count(struct metrics *m, struct http_request *req)
{
    const struct http_note *n = http_note(req);
    int method = http_method(req) == HTTP_METHOD_GET ? 0 : http_method(req) == HTTP_METHOD_HEAD ? 1 : 2;

    if (n->kind == KIND_NONE || n->upstream >= SITE_IDS)
        return;
    struct cells *c = atomic_load_explicit(&m->sites[n->upstream], memory_order_relaxed);
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        atomic_store_explicit(&m->sites[n->upstream], c, memory_order_release);
    }
    add(&c->counts[method][n->kind][n->result], 1);
    /* An error's body is entrepot's own: no fetch was saved by it. */
    add(&m->sent[http_status(req) >= 400 ? SOURCE_OWN : n->source], (uint64_t)http_sent(req));
    observe(&m->whole, http_micros(req));
    if (http_first_micros(req) >= 0)
        observe(&m->first, http_first_micros(req));
}

/* ---- sites that go ---- */

static void take_cells(struct metrics_gone *gone, struct cells *from)
{
    for (int m = 0; m < METHOD_SLOTS; m++)
        for (int k = 0; k < KIND_COUNT; k++)
            for (int r = 0; r < RESULT_COUNT; r++) {
                add(&gone->cells.counts[m][k][r], atomic_load_explicit(&from->counts[m][k][r], memory_order_relaxed));
                atomic_store_explicit(&from->counts[m][k][r], 0, memory_order_relaxed);
            }
}

static void take_code(void *arg, const char *method, int code, uint64_t count)
{
    struct metrics_gone *gone = arg;

    add(&gone->codes[strcmp(method, METHOD_NAMES[1]) == 0][code], count);
}

void metrics_take_over(void *proxy, const struct site *s)
{
    struct proxy *p = proxy;
    struct upstream_stats st;

    for (int i = 0; i < p->worker_count; i++) {
        struct cells *c = atomic_load_explicit(&p->workers[i].metrics->sites[s->id], memory_order_acquire);
        if (c)
            take_cells(p->gone, c);
    }
    upstream_get_stats(s->upstream, &st);
    add(&p->gone->received, st.received_bytes);
    add(&p->gone->turned_away, st.turned_away);
    upstream_each_code(s->upstream, take_code, p->gone);
}

uint64_t metrics_gone_received(const struct proxy *p)
{
    return atomic_load_explicit(&p->gone->received, memory_order_relaxed);
}

static uint64_t cell(const struct proxy *p, int site, int method, int kind, int result)
{
    uint64_t n = 0;

    if (site == SITE_OTHER)
        n = atomic_load_explicit(&p->gone->cells.counts[method][kind][result], memory_order_relaxed);
    for (int i = 0; i < p->worker_count; i++) {
        struct cells *c = atomic_load_explicit(&p->workers[i].metrics->sites[site], memory_order_acquire);
        n += c ? atomic_load_explicit(&c->counts[method][kind][result], memory_order_relaxed) : 0;
    }
    return n;
}

static uint64_t sent(const struct proxy *p, int source)
{
    uint64_t n = 0;

    for (int i = 0; i < p->worker_count; i++)
        n += atomic_load_explicit(&p->workers[i].metrics->sent[source], memory_order_relaxed);
    return n;
}

void metrics_sum(struct proxy *p, struct metrics_sums *out)
{
    memset(out, 0, sizeof(*out));
    for (int s = 0; s < SITE_IDS; s++)
        for (int m = 0; m < METHOD_SLOTS; m++)
            for (int k = KIND_MANIFEST; k < KIND_COUNT; k++)
                for (int r = 0; r < RESULT_COUNT; r++) {
                    uint64_t n = cell(p, s, m, k, r);
                    bool hit = r == RESULT_HIT || r == RESULT_STALE || r == RESULT_REVALIDATED || r == RESULT_COLLAPSED;
                    out->requests += n;
                    out->hits += hit ? n : 0;
                }
    out->from_cache = sent(p, SOURCE_CACHE);
    out->from_upstream = sent(p, SOURCE_UPSTREAM);
}

/* ---- the page ---- */

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *b, const char *name, const char *type, const char *help, double value)
{
    head(b, name, type, help);
    buf_addf(b, "%s %.17g\n", name, value);
}

static void print_requests(struct proxy *p, const struct site_list *sites, struct buf *b)
{
    head(b, "entrepot_requests_total", "counter", "Requests of the registry API.");
    for (int s = 0; s < sites->count + 2; s++) /* with the local site and "other" */
        for (int m = 0; m < METHOD_SLOTS; m++)
            for (int k = KIND_MANIFEST; k < KIND_COUNT; k++)
                for (int r = 0; r < RESULT_COUNT; r++) {
                    uint64_t n = cell(p, sites->list[s]->id, m, k, r);
                    if (n > 0)
                        buf_addf(
                            b,
                            "entrepot_requests_total{method=\"%s\",kind=\"%s\",upstream=\"%s\",result=\"%s\"} %llu\n",
                            METHOD_NAMES[m], KINDS[k], sites->list[s]->host, RESULTS[r], (unsigned long long)n);
                }
    head(b, "entrepot_sent_bytes_total", "counter", "Body bytes sent to clients, by where they came from.");
    for (int s = 0; s < SOURCE_COUNT; s++)
        buf_addf(b, "entrepot_sent_bytes_total{source=\"%s\"} %llu\n", SOURCES[s], (unsigned long long)sent(p, s));
}

struct code_print {
    struct buf *out;
    const char *host;
};

static void print_code(void *arg, const char *method, int code, uint64_t count)
{
    struct code_print *c = arg;

    buf_addf(c->out, "entrepot_upstream_requests_total{upstream=\"%s\",method=\"%s\",code=\"%d\"} %llu\n", c->host,
             method, code, (unsigned long long)count);
}

static void print_gone_codes(struct metrics_gone *gone, struct buf *b)
{
    for (int m = 0; m < METHOD_SLOTS; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++) {
            uint64_t n = atomic_load_explicit(&gone->codes[m][code], memory_order_relaxed);
            if (n > 0)
                print_code(&(struct code_print){b, "other"}, METHOD_NAMES[m], code, n);
        }
}

static void print_upstreams(struct proxy *p, const struct site_list *sites, struct buf *b)
{
    struct upstream_stats st;
    int count = sites->count;

    head(b, "entrepot_upstream_requests_total", "counter", "Requests to upstreams; code 0: no answer.");
    for (int i = 0; i < count; i++) {
        const struct site *s = sites->list[i];
        upstream_each_code(s->upstream, print_code, &(struct code_print){b, s->host});
    }
    print_gone_codes(p->gone, b);
    head(b, "entrepot_upstream_received_bytes_total", "counter", "Body bytes received from upstreams.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        buf_addf(b, "entrepot_upstream_received_bytes_total{upstream=\"%s\"} %llu\n", sites->list[i]->host,
                 (unsigned long long)st.received_bytes);
    }
    if (metrics_gone_received(p) > 0)
        buf_addf(b, "entrepot_upstream_received_bytes_total{upstream=\"other\"} %llu\n",
                 (unsigned long long)metrics_gone_received(p));
    head(b, "entrepot_upstream_ratelimit_remaining", "gauge", "Pulls that the upstream's rate limit still allows.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        if (st.ratelimit_remaining >= 0)
            buf_addf(b, "entrepot_upstream_ratelimit_remaining{upstream=\"%s\"} %lld\n", sites->list[i]->host,
                     (long long)st.ratelimit_remaining);
    }
    head(b, "entrepot_upstream_ratelimit_limit", "gauge", "Pulls in the upstream's window.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        if (st.ratelimit_limit >= 0)
            buf_addf(b, "entrepot_upstream_ratelimit_limit{upstream=\"%s\"} %lld\n", sites->list[i]->host,
                     (long long)st.ratelimit_limit);
    }
    head(b, "entrepot_credentials_refused_total", "counter",
         "Refusals of the cache's own credentials by the upstream, or its token service.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        buf_addf(b, "entrepot_credentials_refused_total{upstream=\"%s\"} %llu\n", sites->list[i]->host,
                 (unsigned long long)st.logins_refused);
    }
    head(b, "entrepot_upstream_held_seconds", "gauge",
         "So long the upstream is not asked for manifests, since it said 429.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        buf_addf(b, "entrepot_upstream_held_seconds{upstream=\"%s\"} %.3f\n", sites->list[i]->host,
                 (double)st.limited_ms / 1e3);
    }
    head(b, "entrepot_upstream_up", "gauge", "Whether the last exchange with the upstream brought a useful answer.");
    for (int i = 0; i < count; i++) {
        upstream_get_stats(sites->list[i]->upstream, &st);
        buf_addf(b, "entrepot_upstream_up{upstream=\"%s\"} %d\n", sites->list[i]->host, st.up);
    }
}

static void print_histogram(struct proxy *p, struct buf *b, const char *name, const char *help, size_t offset)
{
    uint64_t sums[BUCKETS + 1] = {0}, micros = 0, running = 0;

    for (int i = 0; i < p->worker_count; i++) {
        struct histogram *h = (struct histogram *)((char *)p->workers[i].metrics + offset);
        for (int k = 0; k <= BUCKETS; k++)
            sums[k] += atomic_load_explicit(&h->buckets[k], memory_order_relaxed);
        micros += atomic_load_explicit(&h->micros, memory_order_relaxed);
    }
    head(b, name, "histogram", help);
    for (int k = 0; k < BUCKETS; k++) {
        running += sums[k];
        buf_addf(b, "%s_bucket{le=\"%g\"} %llu\n", name, (double)BOUNDS[k] / 1e6, (unsigned long long)running);
    }
    running += sums[BUCKETS];
    buf_addf(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, (unsigned long long)running, name,
             (double)micros / 1e6, name, (unsigned long long)running);
}

static void print_connections(struct proxy *p, const struct site_list *sites, struct buf *b)
{
    struct http_bounds_stats s;
    uint64_t misses = atomic_load(&p->gone->turned_away);
    int connections = 0;

    for (int i = 0; i < p->worker_count; i++)
        connections += http_server_connections(p->workers[i].http);
    for (int i = 0; i < sites->count; i++) {
        struct upstream_stats u;
        upstream_get_stats(sites->list[i]->upstream, &u);
        misses += u.turned_away;
    }
    http_bounds_get_stats(p->bounds, &s);
    one(b, "entrepot_connections", "gauge", "Client connections.", connections);
    one(b, "entrepot_idle_closed_total", "counter", "Idle connections that were closed for new ones.",
        (double)s.idle_closed);
    head(b, "entrepot_refused_total", "counter",
         "What was refused because of limits: connections, misses, and relays.");
    buf_addf(b, "entrepot_refused_total{reason=\"connections\"} %llu\n", (unsigned long long)s.refused_full);
    buf_addf(b, "entrepot_refused_total{reason=\"per_client\"} %llu\n", (unsigned long long)s.refused_client);
    buf_addf(b, "entrepot_refused_total{reason=\"misses\"} %llu\n", (unsigned long long)misses);
    buf_addf(b, "entrepot_refused_total{reason=\"relays\"} %llu\n",
             (unsigned long long)ingests_relays(p->cache->ingests).refused);
}

static void print_cache(struct proxy *p, const struct site_list *sites, struct buf *b)
{
    struct totals t;
    struct gc_stats g;

    cache_totals(p->cache, &t);
    gc_get_stats(p->gc, &g);
    print_connections(p, sites, b);
    one(b, "entrepot_ingests", "gauge", "Blobs on their way in.", ingests_count(p->cache->ingests));
    one(b, "entrepot_relays", "gauge", "Blobs that are passed on without being kept.",
        ingests_relays(p->cache->ingests).now);
    one(b, "entrepot_cache_bytes", "gauge", "Bytes of all blobs in the cache.", (double)t.bytes);
    one(b, "entrepot_cache_limit_bytes", "gauge", "Bytes the cache may hold.", (double)g.limit_bytes);
    head(b, "entrepot_cache_blobs", "gauge", "Blobs in the cache.");
    buf_addf(b, "entrepot_cache_blobs{kind=\"manifest\"} %lld\nentrepot_cache_blobs{kind=\"blob\"} %lld\n",
             (long long)t.manifests, (long long)(t.blobs - t.manifests));
    one(b, "entrepot_gc_freed_bytes_total", "counter", "Bytes freed by collections.", (double)g.freed_bytes);
    one(b, "entrepot_gc_freed_blobs_total", "counter", "Blobs removed by collections.", (double)g.freed_blobs);
    one(b, "entrepot_gc_runs_total", "counter", "Collections.", (double)g.runs);
    one(b, "entrepot_digest_mismatch_total", "counter", "Answers of upstreams whose bytes did not match their digest.",
        (double)fetchers_mismatches(p->fetchers));
}

/* The names of Prometheus' own client libraries. */
static void print_process(struct proxy *p, struct buf *b)
{
    struct rusage ru;
    struct rlimit fds;
    long pages = 0;
    int open_fds = 0;
    _cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
    DIR *d = opendir("/proc/self/fd");

    if (f && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    while (d && readdir(d))
        open_fds++;
    if (d)
        closedir(d);
    getrusage(RUSAGE_SELF, &ru);
    getrlimit(RLIMIT_NOFILE, &fds);
    double cpu =
        (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    one(b, "process_cpu_seconds_total", "counter", "User and system CPU time.", cpu);
    one(b, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)pages * (double)sysconf(_SC_PAGESIZE));
    one(b, "process_open_fds", "gauge", "Open file descriptors.", open_fds - 3);
    one(b, "process_max_fds", "gauge", "File descriptors allowed.", (double)fds.rlim_cur);
    one(b, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.", (double)p->started_s);
}

void metrics_print(struct proxy *p, struct buf *b)
{
    _cleanup_sites_ struct site_list sites;

    sites_list(p->sites, &sites);
    print_requests(p, &sites, b);
    print_upstreams(p, &sites, b);
    print_histogram(p, b, "entrepot_request_seconds", "From a request to the last byte of its answer.",
                    offsetof(struct metrics, whole));
    print_histogram(p, b, "entrepot_first_byte_seconds", "From a request to the head of its answer.",
                    offsetof(struct metrics, first));
    print_cache(p, &sites, b);
    head(b, "entrepot_build_info", "gauge", "The version that runs.");
    buf_adds(b, "entrepot_build_info{version=\"" ENTREPOT_VERSION "\"} 1\n");
    print_process(p, b);
}
