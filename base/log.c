#include "base/log.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/visible.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
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

/* A pipe that poll(2) calls writable takes PIPE_BUF bytes at once, from one writer: the lock makes it one. */
static struct {
    pthread_mutex_t lock;
    int wait_ms;   /* -1: for ever */
    bool stuck;    /* nobody read in that time: the next line does not wait again */
    uint64_t lost; /* lines */
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .wait_ms = -1};

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
static const int PRIORITIES[] = {3, 4, 6, 7}; /* sd-daemon(3) */

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&threshold, (int)level);
    atomic_store(&line_format, (int)format);
}

void log_limit_wait(int ms)
{
    pthread_mutex_lock(&sink.lock);
    sink.wait_ms = ms;
    pthread_mutex_unlock(&sink.lock);
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

/* ---- writing ---- */

static size_t sink_put(const char *text, size_t len, int wait_ms)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t at = 0;

    while (at < len) {
        if (wait_ms >= 0 && poll(&p, 1, wait_ms) == 0) {
            errno = EAGAIN;
            break;
        }
        ssize_t n = write(STDERR_FILENO, text + at, wait_ms < 0 ? len - at : MIN(len - at, (size_t)PIPE_BUF));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return at;
}

size_t log_pass_on(const char *text, size_t len)
{
    pthread_mutex_lock(&sink.lock);
    size_t taken = sink_put(text, len, 0);
    pthread_mutex_unlock(&sink.lock);
    return taken;
}

static void log_format_line(struct buf *line, enum log_level level, const char *msg)
{
    int format = atomic_load_explicit(&line_format, memory_order_relaxed);
    char when[64];

    timestamp(when, sizeof(when));
    if (format == LOG_FORMAT_JSON) {
        buf_addf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"", when, LEVELS[level]);
        buf_add_json(line, msg);
        buf_adds(line, "\"}");
    } else {
        if (format == LOG_FORMAT_JOURNAL)
            buf_addf(line, "<%d>", PRIORITIES[level]);
        else
            buf_addf(line, "%s %-5s ", when, LEVELS[level]);
        buf_add_visible(line, msg, strlen(msg), VISIBLE_LINE);
    }
    buf_adds(line, "\n");
}

static void sink_tell_lost(int wait_ms)
{
    _cleanup_buf_ struct buf told = {0};
    char msg[96];

    HOLDS(&sink.lock);
    snprintf(msg, sizeof(msg), "%llu lines of the log are missing here: nobody read them",
             (unsigned long long)sink.lost);
    log_format_line(&told, LOG_LEVEL_WARN, msg);
    if (sink_put(told.data, told.len, wait_ms) > 0)
        sink.lost = 0;
}

static void sink_line(const char *line, size_t len)
{
    pthread_mutex_lock(&sink.lock);
    int wait_ms = sink.stuck ? 0 : sink.wait_ms;
    if (sink.lost > 0)
        sink_tell_lost(wait_ms);
    sink.stuck = sink.lost > 0 || (sink_put(line, len, wait_ms) == 0 && wait_ms >= 0);
    sink.lost += sink.stuck;
    pthread_mutex_unlock(&sink.lock);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char msg[LINE_MAX_BYTES / 2];
    _cleanup_buf_ struct buf line = {0};
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    text_print(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    log_format_line(&line, level, msg);
    keep_line(line.data, line.len);
    sink_line(line.data, line.len);
}
