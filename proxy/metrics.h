/* metrics.h - what is counted, and how it is shown (Prometheus text format 0.0.4).
 *
 * Each serve loop counts into its own array without locks; a scrape adds them up. Cells are written by one thread and
 * read by any (relaxed atomics).
 */
#ifndef ENTREPOT_PROXY_METRICS_H
#define ENTREPOT_PROXY_METRICS_H

#include "base/buf.h"
#include "proxy/http.h"

struct proxy;
struct site;
struct metrics;      /* one serve loop's */
struct metrics_gone; /* of sites that went (sites.h), by group, so that sums do not shrink */

enum metrics_kind { KIND_NONE, KIND_MANIFEST, KIND_BLOB, KIND_TAGS, KIND_REFERRERS, KIND_COUNT };
enum metrics_result {
    RESULT_HIT,
    RESULT_MISS,
    RESULT_STALE,
    RESULT_REVALIDATED,
    RESULT_COLLAPSED,
    RESULT_BYPASS,
    RESULT_DENIED,
    RESULT_ERROR,
    RESULT_COUNT,
};
enum metrics_source { SOURCE_CACHE, SOURCE_UPSTREAM, SOURCE_OWN, SOURCE_COUNT };

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
struct metrics_gone *metrics_gone_new(void);
void metrics_gone_free(struct metrics_gone *gone);
/* For sites_on_leave(): what its upstream has counted goes with it. One call at a time; any thread. */
void metrics_take_over(void *proxy, const struct site *s);
/* Body bytes that those had received. */
uint64_t metrics_gone_received(const struct proxy *p);
/* Counts a request that ended, by its http_note(). On the loop that owns `m`. */
void metrics_count(struct metrics *m, struct http_request *req);

struct metrics_sums {
    uint64_t requests, hits;
    uint64_t from_cache, from_upstream; /* bytes sent */
};

/* Over all loops. Any thread. */
void metrics_sum(struct proxy *p, struct metrics_sums *out);
/* The whole page. */
void metrics_print(struct proxy *p, struct buf *out);

#endif
