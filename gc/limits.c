/* How much there may be. */
#include "gc/gc_private.h"

#include "base/log.h"
#include "cache/parts.h"

int64_t gc_share(int64_t bytes, double percent, int64_t total)
{
    return bytes >= 0 ? bytes : (int64_t)((double)total / 100 * percent);
}

struct limits gc_limits(struct gc *gc)
{
    struct limits l = {.max = INT64_MAX, .high = INT64_MAX, .low = INT64_MAX};
    int64_t total, available;
    struct err err;

    if (!store_space(cache_store(gc->cache), &total, &available, &err)) {
        log_limited(LOG_LEVEL_ERROR, "space", "%s", err.msg);
        return l;
    }
    l.max = gc_share(gc->o.max_bytes, gc->o.max_percent, total);
    /* A share of the file system does not include what others had at the start. */
    if (gc->o.max_bytes < 0)
        l.max = MIN(l.max, gc->most);
    l.high = (int64_t)((double)l.max / 100 * gc->o.high);
    l.low = (int64_t)((double)l.max / 100 * gc->o.low);
    l.available = available;
    l.min_free = gc_share(gc->o.min_free_bytes, gc->o.min_free_percent, total);
    l.missing = MAX(l.min_free - available, (int64_t)0);
    return l;
}

int64_t gc_marks_target(struct gc *gc)
{
    struct limits l = gc_limits(gc);
    int64_t target = INT64_MAX;
    struct totals t;

    cache_totals(gc->cache, &t);
    if (t.bytes > l.high)
        target = l.low;
    if (l.missing > 0)
        target = MIN(target, t.bytes - l.missing);
    return target;
}
