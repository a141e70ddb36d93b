/* How much there may be. */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/parts.h"

int64_t gc_share(int64_t bytes, double percent, int64_t total)
{
    return bytes >= 0 ? bytes : (int64_t)((double)total / 100 * percent);
}

struct gc_options gc_settings(struct gc *gc)
{
    pthread_mutex_lock(&gc->settings_lock);
    const struct gc_options o = gc->o;
    pthread_mutex_unlock(&gc->settings_lock);
    return o;
}

/* What min_free leaves of what was free at the start. */
void gc_set_most(struct gc *gc)
{
    HOLDS(&gc->settings_lock);
    if (gc->space.total <= 0)
        return;
    int64_t least = gc_share(gc->o.min_free_bytes, gc->o.min_free_percent, gc->space.total);
    gc->most = MAX(gc->space.available + gc->space.used - least, (int64_t)0);
}

static int64_t most_of(struct gc *gc)
{
    pthread_mutex_lock(&gc->settings_lock);
    int64_t most = gc->most;
    pthread_mutex_unlock(&gc->settings_lock);
    return most;
}

struct limits gc_limits(struct gc *gc)
{
    const struct gc_options o = gc_settings(gc);
    struct limits l = {.max = INT64_MAX, .high = INT64_MAX, .low = INT64_MAX};
    int64_t total, available;
    struct err err;

    if (!store_space(cache_store(gc->cache), &total, &available, &err)) {
        log_limited(LOG_LEVEL_ERROR, "space", "%s", err.msg);
        return l;
    }
    l.max = gc_share(o.max_bytes, o.max_percent, total);
    /* A share of the file system does not include what others had at the start. */
    if (o.max_bytes < 0)
        l.max = MIN(l.max, most_of(gc));
    l.high = (int64_t)((double)l.max / 100 * o.high);
    l.low = (int64_t)((double)l.max / 100 * o.low);
    l.available = available;
    l.min_free = gc_share(o.min_free_bytes, o.min_free_percent, total);
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
