/* The page of metrics. */
#include "proxy/metrics_private.h"

#include "gc/gc.h"
#include "proxy/registry/readahead.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const KINDS[] = {"", "manifest", "blob", "tags", "referrers"};
static const char *const RESULTS[] = {"hit", "miss", "stale", "revalidated", "collapsed", "bypass", "denied", "error"};
static const char *const SOURCES[] = {"cache", "upstream", "peers", "shared", "entrepot"};

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
    int asked;                 /* of these: that were asked for something */
    uint64_t codes[METHOD_SLOTS][UPSTREAM_CODES];
};

static void add_code(void *arg, const char *method, int code, uint64_t count)
{
    struct figures *f = arg;

    f->codes[strcmp(method, METRICS_METHODS[1]) == 0][code] += count;
}

static void add_site(struct figures *f, const struct site *s, bool old)
{
    struct upstream_stats *sum = &f->sum, st;

    upstream_get_stats(s->upstream, &st);
    upstream_each_code(s->upstream, add_code, f);
    sum->received_bytes += st.received_bytes;
    sum->turned_away += st.turned_away;
    sum->logins_refused += st.logins_refused;
    sum->connections += st.connections;
    if (old || !site_is_proven(s)) /* it may be no registry at all */
        return;
    bool is_less = st.ratelimit_remaining >= 0 &&
                   (sum->ratelimit_remaining < 0 || st.ratelimit_remaining < sum->ratelimit_remaining);
    if (f->sites == 0 || is_less) {
        sum->ratelimit_remaining = st.ratelimit_remaining;
        sum->ratelimit_limit = st.ratelimit_limit;
    }
    if (st.requests > 0) {
        sum->up = st.up && (f->asked == 0 || sum->up);
        f->asked++;
    }
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
        add_gone(&c->all[g], metrics_gone_of(c->p, g));
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
                    uint64_t n = metrics_cell(p, g, m, k, r);
                    if (n > 0 && all[g].name)
                        buf_addf(
                            b,
                            "entrepot_requests_total{method=\"%s\",kind=\"%s\",upstream=\"%s\",result=\"%s\"} %llu\n",
                            METRICS_METHODS[m], KINDS[k], all[g].name, RESULTS[r], (unsigned long long)n);
                }
    head(b, "entrepot_sent_bytes_total", "counter", "Body bytes sent to clients, by where they came from.");
    for (int s = 0; s < SOURCE_COUNT; s++)
        buf_addf(b, "entrepot_sent_bytes_total{source=\"%s\"} %llu\n", SOURCES[s],
                 (unsigned long long)metrics_sent(p, s));
}

static void print_codes(const struct figures *f, struct buf *b)
{
    for (int m = 0; m < METHOD_SLOTS; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++)
            if (f->codes[m][code] > 0)
                buf_addf(b, "entrepot_upstream_requests_total{upstream=\"%s\",method=\"%s\",code=\"%d\"} %llu\n",
                         f->name, METRICS_METHODS[m], code, (unsigned long long)f->codes[m][code]);
}

enum of_upstream { RECEIVED, REMAINING, LIMIT, REFUSED, HELD, UP, CONNECTIONS, OF_UPSTREAM_COUNT };

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
            "Whether the last exchange with the upstream, or with each of a pattern's hosts, brought a useful answer; "
            "absent until one was asked."},
    [CONNECTIONS] = {"entrepot_upstream_connections", "gauge",
                     "Requests to the upstream under way, each of which takes a connection, or a stream of HTTP/2."},
};

/* False: there is none to show. Counters stay when a pattern has no host any more. */
static bool value_of(const struct figures *f, enum of_upstream what, double *value)
{
    const double values[OF_UPSTREAM_COUNT] = {
        [RECEIVED] = (double)f->sum.received_bytes, [REMAINING] = (double)f->sum.ratelimit_remaining,
        [LIMIT] = (double)f->sum.ratelimit_limit,   [REFUSED] = (double)f->sum.logins_refused,
        [HELD] = (double)f->sum.limited_ms / 1e3,   [UP] = f->sum.up,
        [CONNECTIONS] = f->sum.connections,
    };
    bool counts = what == RECEIVED || what == REFUSED;

    *value = values[what];
    if (what == UP && f->asked == 0)
        return false;
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

/* One of all loops; nothing if it has counted nothing. `offset` is its place in struct metrics. */
static void print_histogram(struct proxy *p, struct buf *b, const char *name, const char *labels, size_t offset)
{
    uint64_t sums[BUCKETS + 1] = {0}, micros = 0, running = 0, all = 0;

    for (int i = 0; i < p->serve_loop_count; i++) {
        struct histogram *h = (struct histogram *)((char *)p->serve_loops[i].metrics + offset);
        for (int k = 0; k <= BUCKETS; k++) {
            uint64_t n = atomic_load_explicit(&h->buckets[k], memory_order_relaxed);
            sums[k] += n;
            all += n;
        }
        micros += atomic_load_explicit(&h->micros, memory_order_relaxed);
    }
    if (all == 0)
        return;
    for (int k = 0; k < BUCKETS; k++) {
        running += sums[k];
        buf_addf(b, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, (double)METRICS_BOUNDS[k] / 1e6,
                 (unsigned long long)running);
    }
    buf_addf(b, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, labels,
             (unsigned long long)all, name, labels, (double)micros / 1e6, name, labels, (unsigned long long)all);
}

static void print_histograms(struct proxy *p, struct buf *b, const char *name, const char *help, size_t offset)
{
    char labels[64];

    head(b, name, "histogram", help);
    for (int k = KIND_MANIFEST; k < KIND_COUNT; k++)
        for (int r = 0; r < RESULT_COUNT; r++) {
            snprintf(labels, sizeof(labels), "kind=\"%s\",result=\"%s\"", KINDS[k], RESULTS[r]);
            print_histogram(p, b, name, labels, offset + sizeof(struct histogram) * (size_t)(k * RESULT_COUNT + r));
        }
}

static void print_waits(struct proxy *p, struct buf *b)
{
    const struct ingests *ingests = cache_ingests(p->cache);
    uint64_t upstream_us = 0;

    for (int i = 0; i < p->serve_loop_count; i++)
        upstream_us += atomic_load_explicit(&p->serve_loops[i].metrics->waited_us, memory_order_relaxed);
    head(b, "entrepot_wait_seconds_total", "counter",
         "Seconds that answers waited for an upstream or the disk, and blobs for room or their digest, all together.");
    buf_addf(b, "entrepot_wait_seconds_total{cause=\"upstream\"} %.6f\n", (double)upstream_us / 1e6);
    buf_addf(b, "entrepot_wait_seconds_total{cause=\"disk\"} %.6f\n", (double)http_disk_waited_us() / 1e6);
    buf_addf(b, "entrepot_wait_seconds_total{cause=\"room\"} %.3f\n",
             (double)ingests_waited_ms(ingests, INGEST_WAIT_ROOM) / 1e3);
    buf_addf(b, "entrepot_wait_seconds_total{cause=\"hash\"} %.3f\n",
             (double)ingests_waited_ms(ingests, INGEST_WAIT_HASH) / 1e3);
}

static void print_unstored(struct proxy *p, struct buf *b)
{
    head(b, "entrepot_unstored_total", "counter",
         "Answers with a blob or a manifest that was not kept, by the reason.");
    for (int r = 0; r < UNSTORED_REASONS; r++)
        buf_addf(b, "entrepot_unstored_total{reason=\"%s\"} %llu\n", unstored_name((enum unstored)r),
                 (unsigned long long)ingests_unstored(cache_ingests(p->cache), (enum unstored)r));
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
    print_histograms(p, b, "entrepot_request_seconds", "From a request to the last byte of its answer.",
                     offsetof(struct metrics, whole));
    print_histograms(p, b, "entrepot_first_byte_seconds", "From a request to the head of its answer.",
                     offsetof(struct metrics, first));
    print_waits(p, b);
    print_cache(p, all, b);
    print_unstored(p, b);
    health_print(p, b);
    interception_print(p, b);
    cluster_print(p, b);
    reload_print(p, b);
    certificates_print(p, b);
    head(b, "entrepot_build_info", "gauge", "The version that runs.");
    buf_adds(b, "entrepot_build_info{version=\"" ENTREPOT_VERSION "\"} 1\n");
    record_print(p, b);
    print_process(p, b);
}
