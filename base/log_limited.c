/* Rate limiting of log lines: the first of a kind is logged, those of the next minute are counted, and then one line
 * says how many there were. While they continue there is a line a minute; a minute without any ends it.
 *
 *     first ──▶ logged ──▶ a minute in which they are counted ──▶ "and 59 more" ──▶ another minute ...
 *
 * A kind is a literal and a name (an upstream's), so that one registry's failures do not hide another's. The table is
 * bounded: when it is full of active kinds, all further names of a kind share an entry.
 */
#include "base/clock.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/visible.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    ENTRIES = 256,
    SPARE = 64, /* of those, for kinds without a name */
    ABOUT_MAX = 127,
    LIKE_MAX = 255,
    LINE_MAX_BYTES = 3072,
    WINDOW_MS = 60000,
};

struct limited {
    const char *kind; /* NULL: free */
    char about[ABOUT_MAX + 1];
    enum log_level level;
    int64_t until_ms, suppressed; /* monotonic */
    char like[LIKE_MAX + 1];      /* the line that was logged */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct limited *entries; /* under `lock`; ENTRIES of them, once there is one */
static _Atomic int64_t window_ms = WINDOW_MS;

void log_limit_window(int64_t ms)
{
    atomic_store(&window_ms, ms);
}

/* The entry of this kind, or a free one; `about` becomes "(others)" when the table is full. NULL: there is none. */
static struct limited *limited_find(const char *kind, char about[ABOUT_MAX + 1], bool others)
{
    struct limited *free_one = NULL;
    int used = 0;

    HOLDS(&lock);
    for (int i = 0; i < ENTRIES; i++) {
        struct limited *e = &entries[i];
        if (e->kind && strcmp(e->kind, kind) == 0 && strcmp(e->about, about) == 0)
            return e;
        if (!e->kind && !free_one)
            free_one = e;
        used += e->kind != NULL;
    }
    if (!*about || others || used < ENTRIES - SPARE)
        return free_one;
    strcpy(about, "(others)");
    return limited_find(kind, about, true);
}

/* Frees kinds without a line in the last minute; their counts were reported before. */
static void drop_quiet(int64_t now)
{
    HOLDS(&lock);
    for (int i = 0; i < ENTRIES; i++)
        if (entries[i].kind && entries[i].suppressed == 0 && now >= entries[i].until_ms)
            entries[i].kind = NULL;
}

/* Whether this line is logged. */
static bool take_turn(enum log_level level, const char *kind, const char *about, const char *msg)
{
    int64_t now = clock_mono_ms();
    char whom[ABOUT_MAX + 1];
    bool logged = true;

    snprintf(whom, sizeof(whom), "%s", about);
    pthread_mutex_lock(&lock);
    if (!entries)
        entries = xcalloc(ENTRIES, sizeof(*entries));
    drop_quiet(now);
    struct limited *e = limited_find(kind, whom, false);
    if (e && !e->kind) {
        *e = (struct limited){.kind = kind, .level = level, .until_ms = now + atomic_load(&window_ms)};
        snprintf(e->about, sizeof(e->about), "%s", whom);
        snprintf(e->like, sizeof(e->like), "%.*s", (int)text_whole(msg, strnlen(msg, LIKE_MAX)), msg);
    } else if (e) {
        e->suppressed++;
        e->level = MIN(e->level, level);
        logged = false;
    }
    pthread_mutex_unlock(&lock);
    return logged;
}

void log_limited_about(enum log_level level, const char *kind, const char *about, const char *fmt, ...)
{
    char msg[LINE_MAX_BYTES];
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    text_print(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (log_enabled(LOG_LEVEL_DEBUG) || take_turn(level, kind, about ? about : "", msg))
        log_write(level, "%s", msg);
}

void log_report_suppressed(bool all)
{
    int64_t now = clock_mono_ms(), window = atomic_load(&window_ms);

    for (int i = 0; i < ENTRIES; i++) {
        struct limited due = {0};
        pthread_mutex_lock(&lock);
        struct limited *e = entries ? &entries[i] : NULL;
        if (e && e->kind && e->suppressed > 0 && (all || now >= e->until_ms)) {
            due = *e;
            e->suppressed = 0;
            e->until_ms = now + window;
        }
        pthread_mutex_unlock(&lock);
        if (due.kind)
            log_write(due.level, "... and %lld more like this in the last minute: %s", (long long)due.suppressed,
                      due.like);
    }
}
