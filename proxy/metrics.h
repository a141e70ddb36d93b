/* metrics.h - what is counted, and how it is shown (Prometheus text format 0.0.4).
 *
 * Each serve loop counts into its own array without locks; a scrape adds them up. Cells are written by one thread and
 * read by any (relaxed atomics).
 */
#ifndef ENTREPOT_PROXY_METRICS_H
#define ENTREPOT_PROXY_METRICS_H

#include "base/buf.h"
#include "proxy/admin/admin.h"
#include "proxy/registry/note.h"

struct proxy;
struct site;
struct metrics;      /* one serve loop's */
struct metrics_gone; /* counts of removed sites (sites.h), by group, so that sums do not shrink */

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
struct metrics_gone *metrics_gone_new(void);
void metrics_gone_free(struct metrics_gone *gone);
/* For sites_on_leave(): keeps the counts of a site that is removed. One call at a time; any thread. */
void metrics_take_over(void *proxy, const struct site *s);
/* Counts a request that ended, by its note. On the loop that owns `m`. */
void metrics_count(struct metrics *m, struct http_request *req);

/* Over all loops, for struct admin; `proxy` is a struct proxy. Any thread. */
void metrics_figures(void *proxy, struct admin_figures *out);
/* The whole page. */
void metrics_print(struct proxy *p, struct buf *out);

#endif
