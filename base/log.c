#include "base/log.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 6144, TOPICS_MAX = 32, TOPIC_MS = 60000 };

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

/* How many of this topic were left out since the last one; -1: leave this one out too. */
static int64_t take_turn(const char *topic)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        const char *name;
        int64_t next_ms, left_out;
    } topics[TOPICS_MAX];
    int64_t now = clock_mono_ms(), turn = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < TOPICS_MAX; i++) {
        if (topics[i].name && strcmp(topics[i].name, topic) != 0)
            continue;
        topics[i].name = topic;
        if (now < topics[i].next_ms) {
            topics[i].left_out++;
            turn = -1;
        } else {
            turn = topics[i].left_out;
            topics[i].left_out = 0;
            topics[i].next_ms = now + TOPIC_MS;
        }
        break;
    }
    pthread_mutex_unlock(&lock);
    return turn;
}

void log_limited(enum log_level level, const char *topic, const char *fmt, ...)
{
    char msg[LINE_MAX_BYTES / 2];
    va_list ap;
    int64_t left_out = log_enabled(level) ? take_turn(topic) : -1;

    if (left_out < 0)
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (left_out > 0)
        log_write(level, "%s (and %lld more like it)", msg, (long long)left_out);
    else
        log_write(level, "%s", msg);
}
