#include "base/log.h"

#include "base/clock.h"
#include "base/visible.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 6144 };

static _Atomic int threshold = LOG_LEVEL_INFO;
static _Atomic int line_format = LOG_FORMAT_TEXT;

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
    (void)!write(STDERR_FILENO, line.data, line.len);
}
