#include "base/log.h"

#include "base/clock.h"
#include "base/visible.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 6144 };

static _Atomic int threshold = LOG_LEVEL_INFO;
static _Atomic int line_format = LOG_FORMAT_TEXT;

/* The latest lines, for log_recent(). */
static struct {
    pthread_mutex_t lock;
    char bytes[LOG_RECENT_MAX];
    uint64_t written;
} recent = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
static const int PRIORITIES[] = {3, 4, 6, 7}; /* sd-daemon(3) */

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&threshold, (int)level);
    atomic_store(&line_format, (int)format);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static void timestamp(char *out, size_t cap)
{
    int64_t now = clock_now_ms();
    time_t sec = (time_t)(now / 1000);
    struct tm tm;

    gmtime_r(&sec, &tm);
    size_t n = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, cap - n, ".%03dZ", (int)(now % 1000));
}

static void keep_line(const char *line, size_t len)
{
    pthread_mutex_lock(&recent.lock);
    size_t at = recent.written % sizeof(recent.bytes), first = MIN(len, sizeof(recent.bytes) - at);
    memcpy(recent.bytes + at, line, first);
    memcpy(recent.bytes, line + first, len - first);
    recent.written += len;
    pthread_mutex_unlock(&recent.lock);
}

void log_recent(struct buf *out)
{
    pthread_mutex_lock(&recent.lock);
    size_t at = recent.written % sizeof(recent.bytes);
    if (recent.written > sizeof(recent.bytes)) { /* the oldest line has lost its beginning, in most cases */
        const char *end = memchr(recent.bytes + at, '\n', sizeof(recent.bytes) - at);
        if (end)
            buf_add(out, end + 1, (size_t)(recent.bytes + sizeof(recent.bytes) - (end + 1)));
    }
    buf_add(out, recent.bytes, at);
    pthread_mutex_unlock(&recent.lock);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char msg[LINE_MAX_BYTES / 2], when[64];
    _cleanup_buf_ struct buf line = {0};
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    text_print(msg, sizeof(msg), fmt, ap);
    va_end(ap);

    int format = atomic_load_explicit(&line_format, memory_order_relaxed);
    timestamp(when, sizeof(when));
    if (format == LOG_FORMAT_JSON) {
        buf_addf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"", when, LEVELS[level]);
        buf_add_json(&line, msg);
        buf_adds(&line, "\"}");
    } else {
        if (format == LOG_FORMAT_JOURNAL)
            buf_addf(&line, "<%d>", PRIORITIES[level]);
        else
            buf_addf(&line, "%s %-5s ", when, LEVELS[level]);
        buf_add_visible(&line, msg, strlen(msg), VISIBLE_LINE);
    }
    buf_adds(&line, "\n");
    keep_line(line.data, line.len);
    (void)!write(STDERR_FILENO, line.data, line.len);
}
