#include "proxy/metrics.h"

#include "base/assert.h"
#include "gc/gc.h"
#include "proxy/private.h"
#include "proxy/registry/readahead.h"

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
    struct cells *_Atomic groups[GROUPS]; /* made on first use */
    atomic_uint_fast64_t sent[SOURCE_COUNT];
    struct histogram whole, first;
};

/* Counts of a group's sites that were removed. One thread at a time adds, any reads. */
struct gone {
    atomic_uint_fast64_t received, turned_away, logins_refused;
    atomic_uint_fast64_t codes[METHOD_SLOTS][UPSTREAM_CODES];
};

struct metrics_gone {
    struct gone *_Atomic groups[GROUPS]; /* made on first use */
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

    while (i < BUCKETS && micros > BOUNDS[i])
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
    observe(&m->whole, http_micros(req));
    if (http_first_micros(req) >= 0)
        observe(&m->first, http_first_micros(req));
}

/* ---- sites that go ---- */

static void take_code(void *arg, const char *method, int code, uint64_t count)
{
    struct gone *gone = arg;

    add(&gone->codes[strcmp(method, METHOD_NAMES[1]) == 0][code], count);
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

static struct gone *gone_of(const struct proxy *p, int group)
{
    return atomic_load_explicit(&p->gone->groups[group], memory_order_acquire);
}

static uint64_t gone_received(const struct proxy *p)
{
    uint64_t sum = 0;

    for (int g = 0; g < GROUPS; g++)
        sum += gone_of(p, g) ? atomic_load_explicit(&gone_of(p, g)->received, memory_order_relaxed) : 0;
    return sum;
}

static uint64_t cell(const struct proxy *p, int group, int method, int kind, int result)
{
    uint64_t n = 0;

    for (int i = 0; i < p->serve_loop_count; i++) {
        struct cells *c = atomic_load_explicit(&p->serve_loops[i].metrics->groups[group], memory_order_acquire);
        n += c ? atomic_load_explicit(&c->counts[method][kind][result], memory_order_relaxed) : 0;
    }
    return n;
}

static uint64_t sent(const struct proxy *p, int source)
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
                    uint64_t n = cell(p, g, m, k, r);
                    bool hit = r == RESULT_HIT || r == RESULT_STALE || r == RESULT_REVALIDATED || r == RESULT_COLLAPSED;
                    out->requests += n;
                    out->hits += hit ? n : 0;
                }
    out->from_cache = sent(p, SOURCE_CACHE);
    out->from_upstream = sent(p, SOURCE_UPSTREAM);
    out->gone_received = gone_received(p);
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

/* Of a group: its sites, and those that were removed. */
struct figures {
    const char *name;          /* NULL: there is no such group */
    int sites;                 /* proven ones: those gauges are about */
    struct upstream_stats sum; /* of gauges what is worst */
    uint64_t codes[METHOD_SLOTS][UPSTREAM_CODES];
};

static void add_code(void *arg, const char *method, int code, uint64_t count)
{
    struct figures *f = arg;

    f->codes[strcmp(method, METHOD_NAMES[1]) == 0][code] += count;
}

static void add_site(struct figures *f, const struct site *s, bool old)
{
    struct upstream_stats *sum = &f->sum, st;

    upstream_get_stats(s->upstream, &st);
    upstream_each_code(s->upstream, add_code, f);
    sum->received_bytes += st.received_bytes;
    sum->turned_away += st.turned_away;
    sum->logins_refused += st.logins_refused;
    if (old || !site_is_proven(s)) /* it may be no registry at all */
        return;
    bool is_less = st.ratelimit_remaining >= 0 &&
                   (sum->ratelimit_remaining < 0 || st.ratelimit_remaining < sum->ratelimit_remaining);
    if (f->sites == 0 || is_less) {
        sum->ratelimit_remaining = st.ratelimit_remaining;
        sum->ratelimit_limit = st.ratelimit_limit;
    }
    sum->up = st.up && (f->sites == 0 || sum->up);
    sum->limited_ms = MAX(sum->limited_ms, st.limited_ms);
    f->sites++;
}

static void add_gone(struct figures *f, const struct gone *gone)
{
    for (int m = 0; gone && m < METHOD_SLOTS; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++)
            f->codes[m][code] += atomic_load_explicit(&gone->codes[m][code], memory_order_relaxed);
    if (!gone)
        return;
    f->sum.received_bytes += atomic_load_explicit(&gone->received, memory_order_relaxed);
    f->sum.turned_away += atomic_load_explicit(&gone->turned_away, memory_order_relaxed);
    f->sum.logins_refused += atomic_load_explicit(&gone->logins_refused, memory_order_relaxed);
}

struct collecting {
    const struct proxy *p;
    struct figures *all; /* GROUPS */
};

/* No site is removed meanwhile, so that none is counted twice. */
static void take_figures(void *arg, const struct site *const *sites, int count, int old)
{
    struct collecting *c = arg;

    for (int i = 0; i < count; i++)
        add_site(&c->all[sites[i]->group], sites[i], i >= count - old);
    for (int g = 0; g < GROUPS; g++)
        add_gone(&c->all[g], gone_of(c->p, g));
}

/* Of all groups; the caller frees. */
static struct figures *collect(const struct proxy *p)
{
    struct collecting c = {p, xcalloc(GROUPS, sizeof(struct figures))};

    for (int g = 0; g < GROUPS; g++)
        c.all[g].name = sites_group_name(p->sites, g);
    sites_look(p->sites, take_figures, &c);
    return c.all;
}

static void print_requests(struct proxy *p, const struct figures *all, struct buf *b)
{
    head(b, "entrepot_requests_total", "counter", "Requests of the registry API.");
    for (int g = 0; g < GROUPS; g++)
        for (int m = 0; m < METHOD_SLOTS; m++)
            for (int k = KIND_MANIFEST; k < KIND_COUNT; k++)
                for (int r = 0; r < RESULT_COUNT; r++) {
                    uint64_t n = cell(p, g, m, k, r);
                    if (n > 0 && all[g].name)
                        buf_addf(
                            b,
                            "entrepot_requests_total{method=\"%s\",kind=\"%s\",upstream=\"%s\",result=\"%s\"} %llu\n",
                            METHOD_NAMES[m], KINDS[k], all[g].name, RESULTS[r], (unsigned long long)n);
                }
    head(b, "entrepot_sent_bytes_total", "counter", "Body bytes sent to clients, by where they came from.");
    for (int s = 0; s < SOURCE_COUNT; s++)
        buf_addf(b, "entrepot_sent_bytes_total{source=\"%s\"} %llu\n", SOURCES[s], (unsigned long long)sent(p, s));
}

static void print_codes(const struct figures *f, struct buf *b)
{
    for (int m = 0; m < METHOD_SLOTS; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++)
            if (f->codes[m][code] > 0)
                buf_addf(b, "entrepot_upstream_requests_total{upstream=\"%s\",method=\"%s\",code=\"%d\"} %llu\n",
                         f->name, METHOD_NAMES[m], code, (unsigned long long)f->codes[m][code]);
}

enum of_upstream { RECEIVED, REMAINING, LIMIT, REFUSED, HELD, UP, OF_UPSTREAM_COUNT };

static const struct {
    const char *name, *type, *help;
} OF_UPSTREAM[OF_UPSTREAM_COUNT] = {
    [RECEIVED] = {"entrepot_upstream_received_bytes_total", "counter", "Body bytes received from upstreams."},
    [REMAINING] = {"entrepot_upstream_ratelimit_remaining", "gauge",
                   "Pulls that the upstream's rate limit still allows; of a pattern's hosts the fewest."},
    [LIMIT] = {"entrepot_upstream_ratelimit_limit", "gauge", "Pulls in the upstream's window."},
    [REFUSED] = {"entrepot_credentials_refused_total", "counter",
                 "Refusals of the cache's own credentials by the upstream, or its token service."},
    [HELD] = {"entrepot_upstream_held_seconds", "gauge",
              "Seconds until manifests are requested from the upstream again, after a 429; of a pattern's hosts the "
              "longest."},
    [UP] = {"entrepot_upstream_up", "gauge",
            "Whether the last exchange with the upstream, or with each of a pattern's hosts, brought a useful answer."},
};

/* False: there is none to show. Counters stay when a pattern has no host any more. */
static bool value_of(const struct figures *f, enum of_upstream what, double *value)
{
    const double values[OF_UPSTREAM_COUNT] = {
        [RECEIVED] = (double)f->sum.received_bytes, [REMAINING] = (double)f->sum.ratelimit_remaining,
        [LIMIT] = (double)f->sum.ratelimit_limit,   [REFUSED] = (double)f->sum.logins_refused,
        [HELD] = (double)f->sum.limited_ms / 1e3,   [UP] = f->sum.up,
    };
    bool counts = what == RECEIVED || what == REFUSED;

    *value = values[what];
    return f->name && *value >= 0 && (f->sites > 0 || (counts && *value > 0));
}

static void print_upstreams(const struct figures *all, struct buf *b)
{
    double value;

    head(b, "entrepot_upstream_requests_total", "counter", "Requests to upstreams; code 0: no answer.");
    for (int g = 0; g < GROUPS; g++)
        if (all[g].name)
            print_codes(&all[g], b);
    for (int i = 0; i < OF_UPSTREAM_COUNT; i++) {
        head(b, OF_UPSTREAM[i].name, OF_UPSTREAM[i].type, OF_UPSTREAM[i].help);
        for (int g = 0; g < GROUPS; g++)
            if (value_of(&all[g], (enum of_upstream)i, &value))
                buf_addf(b, "%s{upstream=\"%s\"} %.17g\n", OF_UPSTREAM[i].name, all[g].name, value);
    }
}

static void print_histogram(struct proxy *p, struct buf *b, const char *name, const char *help, size_t offset)
{
    uint64_t sums[BUCKETS + 1] = {0}, micros = 0, running = 0;

    for (int i = 0; i < p->serve_loop_count; i++) {
        struct histogram *h = (struct histogram *)((char *)p->serve_loops[i].metrics + offset);
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

static void print_connections(struct proxy *p, const struct figures *all, struct buf *b)
{
    struct http_bounds_stats s;
    uint64_t misses = 0;

    for (int g = 0; g < GROUPS; g++)
        misses += all[g].sum.turned_away;
    http_bounds_get_stats(p->bounds, &s);
    one(b, "entrepot_connections", "gauge", "Client connections.", s.connections);
    one(b, "entrepot_idle_closed_total", "counter", "Idle connections that were closed for new ones.",
        (double)s.idle_closed);
    head(b, "entrepot_refused_total", "counter",
         "What was refused because of limits: connections, misses, and relays.");
    buf_addf(b, "entrepot_refused_total{reason=\"connections\"} %llu\n", (unsigned long long)s.refused_full);
    buf_addf(b, "entrepot_refused_total{reason=\"per_client\"} %llu\n", (unsigned long long)s.refused_client);
    buf_addf(b, "entrepot_refused_total{reason=\"misses\"} %llu\n", (unsigned long long)misses);
    buf_addf(b, "entrepot_refused_total{reason=\"relays\"} %llu\n",
             (unsigned long long)ingests_relays(cache_ingests(p->cache)).refused);
}

static void print_cache(struct proxy *p, const struct figures *all, struct buf *b)
{
    const struct partial_stats partial = ingests_partial(cache_ingests(p->cache));
    const struct readahead_stats ahead = readahead_stats(p->readahead);
    struct totals t;
    struct gc_stats g;

    cache_totals(p->cache, &t);
    gc_get_stats(p->gc, &g);
    print_connections(p, all, b);
    one(b, "entrepot_ingests", "gauge", "Blobs on their way in.", ingests_count(cache_ingests(p->cache)));
    one(b, "entrepot_partial_blobs", "gauge", "Blobs of which a part is in the cache.", (double)partial.count);
    one(b, "entrepot_partial_bytes", "gauge", "Bytes of these parts.", (double)partial.bytes);
    head(b, "entrepot_readahead_blobs_total", "counter", "Layers fetched before a client asked for them.");
    buf_addf(b, "entrepot_readahead_blobs_total{result=\"used\"} %llu\n", (unsigned long long)ahead.used);
    buf_addf(b, "entrepot_readahead_blobs_total{result=\"wasted\"} %llu\n", (unsigned long long)ahead.wasted);
    head(b, "entrepot_readahead_bytes_total", "counter", "Bytes of these layers.");
    buf_addf(b, "entrepot_readahead_bytes_total{result=\"used\"} %llu\n", (unsigned long long)ahead.used_bytes);
    buf_addf(b, "entrepot_readahead_bytes_total{result=\"wasted\"} %llu\n", (unsigned long long)ahead.wasted_bytes);
    one(b, "entrepot_relays", "gauge", "Blobs that are passed on without caching.",
        ingests_relays(cache_ingests(p->cache)).now);
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

/* -1: not known. */
static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int count = -3; /* `.`, `..` and our own */

    if (!d)
        return -1;
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static long count_pages(void)
{
    _cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
    long pages;

    return f && fscanf(f, "%*s %ld", &pages) == 1 ? pages : -1;
}

/* The names of Prometheus' own client libraries; what is not known is left out. */
static void print_process(struct proxy *p, struct buf *b)
{
    struct rusage ru;
    struct rlimit fds;
    long pages = count_pages();
    int open_fds = count_fds();

    getrusage(RUSAGE_SELF, &ru);
    getrlimit(RLIMIT_NOFILE, &fds);
    double cpu =
        (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    one(b, "process_cpu_seconds_total", "counter", "User and system CPU time.", cpu);
    if (pages >= 0)
        one(b, "process_resident_memory_bytes", "gauge", "Resident memory.",
            (double)pages * (double)sysconf(_SC_PAGESIZE));
    if (open_fds >= 0)
        one(b, "process_open_fds", "gauge", "Open file descriptors.", open_fds);
    one(b, "process_max_fds", "gauge", "File descriptors allowed.", (double)fds.rlim_cur);
    one(b, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.", (double)p->started_s);
}

void metrics_print(struct proxy *p, struct buf *b)
{
    _cleanup_free_ struct figures *all = collect(p);

    print_requests(p, all, b);
    print_upstreams(all, b);
    print_histogram(p, b, "entrepot_request_seconds", "From a request to the last byte of its answer.",
                    offsetof(struct metrics, whole));
    print_histogram(p, b, "entrepot_first_byte_seconds", "From a request to the head of its answer.",
                    offsetof(struct metrics, first));
    print_cache(p, all, b);
    interception_print(p, b);
    reload_print(p, b);
    certificates_print(p, b);
    head(b, "entrepot_build_info", "gauge", "The version that runs.");
    buf_adds(b, "entrepot_build_info{version=\"" ENTREPOT_VERSION "\"} 1\n");
    record_print(p, b);
    print_process(p, b);
}
