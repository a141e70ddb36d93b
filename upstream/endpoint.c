/* Which endpoint is asked. After a slow failure, or a second quick one in a row, an endpoint is passed over (open) for
 * a while that doubles; then one request is let through to probe it (half-open), and its outcome decides.
 *
 *     closed ── fails ──▶ open ── time is up ──▶ half-open ── well ──▶ closed
 *                          ▲                         │
 *                          └──────── fails ──────────┘
 *
 * An upstream with nothing better is asked all the same if it fails fast: a refused connection costs nobody anything,
 * and it may just have come back. */
#include "upstream/registry_private.h"

#include "base/clock.h"

enum {
    QUICK_FAILURES = 2,
    SLOW_MS = 500,
    OPEN_MS = 1000,
    OPEN_MAX_MS = 30000,
};

int endpoint_choose(struct upstream *u, int first, unsigned tried, bool optional, int64_t *wait_ms)
{
    int64_t now = clock_mono_ms();
    int chosen = -1, second = -1;

    *wait_ms = 0;
    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->endpoint_count && chosen < 0; i++) {
        int n = (first + i) % u->endpoint_count;
        struct endpoint *e = &u->endpoints[n];
        if (tried >> n & 1)
            continue;
        if (e->open_until_ms == 0 || (now >= e->open_until_ms && !e->probing))
            chosen = n;
        else if (!optional && !e->slow && second < 0)
            second = n;
        else if (*wait_ms == 0 || e->open_until_ms - now < *wait_ms)
            *wait_ms = e->open_until_ms > now ? e->open_until_ms - now : 1;
    }
    if (chosen >= 0 && u->endpoints[chosen].open_until_ms > 0)
        u->endpoints[chosen].probing = true;
    pthread_mutex_unlock(&u->lock);
    return chosen >= 0 ? chosen : second;
}

bool endpoint_any_well(struct upstream *u)
{
    bool well = false;

    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->endpoint_count; i++)
        well = well || (u->endpoints[i].open_until_ms == 0 && !u->endpoints[i].doubtful);
    pthread_mutex_unlock(&u->lock);
    return well;
}

void endpoint_note(struct upstream *u, int n, bool bad, int64_t took_ms)
{
    struct endpoint *e = &u->endpoints[n];

    pthread_mutex_lock(&u->lock);
    e->probing = false;
    if (!bad) {
        e->failures = 0;
        e->open_until_ms = 0;
        e->slow = e->doubtful = false;
    } else {
        e->failures++;
        e->slow = took_ms >= SLOW_MS;
        int beyond = e->slow ? e->failures - 1 : e->failures - QUICK_FAILURES;
        if (beyond >= 0)
            e->open_until_ms = clock_mono_ms() + MIN((int64_t)OPEN_MS << MIN(beyond, 10), (int64_t)OPEN_MAX_MS);
    }
    pthread_mutex_unlock(&u->lock);
}

void endpoint_doubt(struct upstream *u, int n)
{
    pthread_mutex_lock(&u->lock);
    u->endpoints[n].doubtful = true;
    pthread_mutex_unlock(&u->lock);
}

void endpoint_forget(struct upstream *u, int n)
{
    pthread_mutex_lock(&u->lock);
    u->endpoints[n].probing = false;
    pthread_mutex_unlock(&u->lock);
}
