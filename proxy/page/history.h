/* history.h - what was served over the last hour and day, in rings in memory: one bucket a minute, and one each twenty.
 * Times are monotonic, so that a clock that is set makes no gap. Plain values; one thread at a time.
 */
#ifndef ENTREPOT_PROXY_PAGE_HISTORY_H
#define ENTREPOT_PROXY_PAGE_HISTORY_H

#include <jansson.h>
#include <stdint.h>

enum { HISTORY_HOUR = 60, HISTORY_DAY = 72 /* buckets */ };

/* Sums since the start of the daemon; of a bucket, what came in it. */
struct history_sums {
    uint64_t requests, hits;
    uint64_t from_cache, from_peers, from_shared, from_upstream; /* bytes sent */
    uint64_t fetched;                                            /* bytes from registries */
};

struct history_ring {
    int64_t step_s, bucket; /* bucket: number of the latest one, in steps since the clock's zero */
    int count;
    struct history_sums sums[HISTORY_DAY];
};

struct history {
    struct history_sums last; /* at the last note */
    struct history_ring hour, day;
};

/* Empty; what `sums` has by now is not in it. */
void history_begin(struct history *h, int64_t now_s, const struct history_sums *sums);
/* What was added to the sums since the last call belongs to now. */
void history_note(struct history *h, int64_t now_s, const struct history_sums *sums);
/* {"step": 60, "requests": [...], "hits": [...], "from_cache": [...], "from_peers": [...], "from_shared": [...],
 * "from_upstream": [...], "fetched": [...]}: the oldest bucket first. A new reference. */
json_t *history_json(const struct history_ring *r);

#endif
