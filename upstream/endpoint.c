/* Which endpoint is used. After a slow failure, or a second quick one in a row, an endpoint is skipped (open) for a
 * while that doubles; then one request probes it (half-open), and its outcome decides.
 *
 *     closed ── fails ──▶ open ── time is up ──▶ half-open ── succeeds ──▶ closed
 *                          ▲                         │
 *                          └──────── fails ──────────┘
 *
 * While only a path or two have failed there, skipping it means preferring others: without an alternative it is used
 * for everything else. It is down, and requests fail at once, when it cannot be connected to, or when PATHS_DOWN
 * different paths have failed in a row. A path that has failed has a breaker of its own, so that one bad object costs
 * no client a time-out twice.
 *
 * An endpoint that fails fast is tried anyway if there is no alternative: a refused connection costs nothing, and it
 * may just have recovered.
 */
#include "upstream/registry_private.h"

#include "base/clock.h"

#include <string.h>

enum {
    QUICK_FAILURES = 2,
    SLOW_MS = 500,
    OPEN_MS = 1000,
    OPEN_MAX_MS = 30000,
    PATHS_DOWN = 3,
    LATELY_MS = 60000, /* failures further apart are not in a row */
};

static struct failing_path *failing_find(struct endpoint *e, const char *path)
{
    for (int i = 0; i < FAILING_PATHS_MAX; i++)
        if (e->failing[i].path && strcmp(e->failing[i].path, path) == 0)
            return &e->failing[i];
    return NULL;
}

static void failing_clear(struct failing_path *f)
{
    free(f->path);
    *f = (struct failing_path){0};
}

/* Replaces the oldest one. */
static struct failing_path *failing_add(struct endpoint *e, const char *path)
{
    struct failing_path *f = &e->failing[e->failing_next++ % FAILING_PATHS_MAX];

    failing_clear(f);
    f->path = xstrdup(path);
    return f;
}

static int failing_in_a_row(const struct endpoint *e, int64_t now)
{
    int n = 0;

    for (int i = 0; i < FAILING_PATHS_MAX; i++)
        n += e->failing[i].in_row && now - e->failing[i].last_ms <= LATELY_MS;
    return n;
}

/* How an endpoint is rated for a request. */
enum standing { STANDING_GOOD, STANDING_POOR /* used if there is no alternative */, STANDING_DOWN };

static enum standing standing_of(struct endpoint *e, const char *path, bool optional, int64_t now, int64_t *until_ms)
{
    const struct failing_path *f = failing_find(e, path);
    bool path_open = f && now<f->open_until_ms, open = e->open_until_ms> now || (e->open_until_ms > 0 && e->probing);

    *until_ms = path_open ? f->open_until_ms : e->open_until_ms;
    if (!path_open && !open)
        return STANDING_GOOD;
    if ((path_open && (optional || f->slow)) || (open && e->down && (optional || e->slow)))
        return STANDING_DOWN;
    return STANDING_POOR;
}

int endpoint_choose(struct upstream *u, int first, unsigned tried, const char *path, bool optional, int64_t *wait_ms)
{
    int64_t now = clock_mono_ms(), until_ms;
    int chosen = -1, second = -1;

    *wait_ms = 0;
    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->endpoint_count && chosen < 0; i++) {
        int n = (first + i) % u->endpoint_count;
        if (tried >> n & 1)
            continue;
        enum standing s = standing_of(&u->endpoints[n], path, optional, now, &until_ms);
        if (s == STANDING_GOOD)
            chosen = n;
        else if (s == STANDING_POOR && second < 0)
            second = n;
        else if (*wait_ms == 0 || until_ms - now < *wait_ms)
            *wait_ms = until_ms > now ? until_ms - now : 1;
    }
    if (chosen >= 0 && u->endpoints[chosen].open_until_ms > 0)
        u->endpoints[chosen].probing = true;
    pthread_mutex_unlock(&u->lock);
    return chosen >= 0 ? chosen : second;
}

bool endpoint_any_healthy(struct upstream *u)
{
    bool well = false;

    pthread_mutex_lock(&u->lock);
    for (int i = 0; i < u->endpoint_count; i++) {
        const struct endpoint *e = &u->endpoints[i];
        well = well || ((e->open_until_ms == 0 || !e->down) && !e->doubtful);
    }
    pthread_mutex_unlock(&u->lock);
    return well;
}

/* Until when it is skipped after so many failures in a row; 0: it is not. */
static int64_t open_until(int failures, bool slow, int64_t now)
{
    int beyond = slow ? failures - 1 : failures - QUICK_FAILURES;

    return beyond < 0 ? 0 : now + MIN((int64_t)OPEN_MS << MIN(beyond, 10), (int64_t)OPEN_MAX_MS);
}

static void note_well(struct endpoint *e, const char *path)
{
    struct failing_path *f = failing_find(e, path);

    if (f)
        failing_clear(f);
    for (int i = 0; i < FAILING_PATHS_MAX; i++)
        e->failing[i].in_row = false;
    e->failures = 0;
    e->failing_ms = 0;
    e->open_until_ms = 0;
    e->slow = e->doubtful = e->down = false;
}

static void note_failing(struct endpoint *e, const char *path, bool slow, int64_t now)
{
    struct failing_path *f = failing_find(e, path);

    if (!f)
        f = failing_add(e, path);
    f->failures++;
    f->slow = slow;
    f->in_row = true;
    f->last_ms = now;
    f->open_until_ms = open_until(f->failures, slow, now);
}

void endpoint_note(struct upstream *u, int n, const char *path, enum endpoint_outcome outcome, int64_t took_ms)
{
    struct endpoint *e = &u->endpoints[n];
    int64_t now = clock_mono_ms();
    bool slow = took_ms >= SLOW_MS;

    pthread_mutex_lock(&u->lock);
    e->probing = false;
    if (outcome == ENDPOINT_OK) {
        note_well(e, path);
    } else {
        if (outcome == ENDPOINT_FAILED)
            note_failing(e, path, slow, now);
        if (e->failures++ == 0)
            e->failing_ms = now;
        e->slow = slow;
        e->down = outcome == ENDPOINT_UNREACHABLE || failing_in_a_row(e, now) >= PATHS_DOWN;
        int64_t until = open_until(e->failures, slow, now);
        e->open_until_ms = until > 0 ? until : e->open_until_ms;
    }
    pthread_mutex_unlock(&u->lock);
}

void endpoint_doubt(struct upstream *u, int n)
{
    pthread_mutex_lock(&u->lock);
    if (u->endpoints[n].failing_ms == 0)
        u->endpoints[n].failing_ms = clock_mono_ms();
    u->endpoints[n].doubtful = true;
    pthread_mutex_unlock(&u->lock);
}

void endpoint_forget(struct upstream *u, int n)
{
    pthread_mutex_lock(&u->lock);
    u->endpoints[n].probing = false;
    pthread_mutex_unlock(&u->lock);
}

/* With an alternative it is skipped for a path or two that fail; else only those paths are. */
bool endpoint_trouble(struct upstream *u, int n, struct upstream_trouble *out)
{
    const struct endpoint *e = &u->endpoints[n];

    pthread_mutex_lock(&u->lock);
    bool there = e->down || e->doubtful || (e->open_until_ms > 0 && u->endpoint_count > 1);
    *out = (struct upstream_trouble){.kind = UPSTREAM_NO_ANSWER,
                                     .endpoint = u->endpoint_count > 1 ? e->url : "",
                                     .since_ms = e->failing_ms,
                                     .next_ms = MAX(e->open_until_ms - clock_mono_ms(), (int64_t)0)};
    snprintf(out->why, sizeof(out->why), "%s",
             e->why[0] && e->failures > 0 ? e->why : "a request has been waiting for an answer for too long");
    pthread_mutex_unlock(&u->lock);
    return there;
}

void endpoint_clear_failing(struct endpoint *e)
{
    for (int i = 0; i < FAILING_PATHS_MAX; i++)
        failing_clear(&e->failing[i]);
}
