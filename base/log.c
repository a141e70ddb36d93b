#include "base/log.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 2048 };

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

/* Control bytes would let a peer forge lines or drive a terminal; quotes and backslashes matter to JSON only. */
static size_t escape(char *out, size_t room, const char *in, bool json)
{
    size_t n = 0;

    for (; *in && n + 7 < room; in++) {
        unsigned char c = (unsigned char)*in;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, room - n, json ? "\\u%04x" : "\\x%02x", c);
        else if (json && (c == '"' || c == '\\')) {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else
            out[n++] = (char)c;
    }
    out[n] = '\0';
    return n;
}

static void timestamp(char *out, size_t room)
{
    int64_t now = clock_now_ms();
    time_t sec = (time_t)(now / 1000);
    struct tm tm;

    gmtime_r(&sec, &tm);
    size_t n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, room - n, ".%03dZ", (int)(now % 1000));
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char msg[LINE_MAX_BYTES / 2], safe[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128], when[64];
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);

    int format = atomic_load_explicit(&line_format, memory_order_relaxed);
    escape(safe, sizeof(safe), msg, format == LOG_FORMAT_JSON);
    timestamp(when, sizeof(when));
    int n;
    if (format == LOG_FORMAT_JSON)
        n = snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"%s\"}\n", when, LEVELS[level],
                     safe);
    else if (format == LOG_FORMAT_JOURNAL)
        n = snprintf(line, sizeof(line), "<%d>%s\n", PRIORITIES[level], safe);
    else
        n = snprintf(line, sizeof(line), "%s %-5s %s\n", when, LEVELS[level], safe);
    if (n > 0)
        (void)!write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1));
}
