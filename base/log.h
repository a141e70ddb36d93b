/* log.h - one line an event, on stderr.
 *
 * Formats: text ("2026-01-02T03:04:05.678Z info  message"), json (an object a line), journal (sd-daemon priority
 * prefix, no time: the journal has its own). Any thread; a line is one write(2), up to PIPE_BUF bytes. Callers never
 * pass secrets: tokens, passwords, signed URLs (use url_redact()).
 */
#ifndef ENTREPOT_BASE_LOG_H
#define ENTREPOT_BASE_LOG_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };

void log_setup(enum log_level level, enum log_format format);
/* From now on a line waits for so long, at most, for room in a pipe that nobody reads; then lines are lost and counted
 * until there is room again. The daemon's: its log must not hold up a pull, or its end. */
void log_limit_wait(int ms);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes whole lines of another kind (the access log) to where the log goes, between lines of the log. Returns how many
 * bytes were taken: fewer than `len` if the reader is slow; errno. */
size_t log_pass_on(const char *text, size_t len);
/* Adds the latest lines that were logged, as they were written: LOG_RECENT_MAX bytes of them at most. */
enum { LOG_RECENT_MAX = 256 << 10 };
struct buf;
void log_recent(struct buf *out);

/* For what may happen a thousand times a second: the first line of a kind is logged, those of the next minute are
 * counted. `kind` is a literal; `about`, which may be NULL, is an upstream's name or something else by which kinds are
 * counted separately. Level debug logs all. */
void log_limited_about(enum log_level level, const char *kind, const char *about, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
#define log_limited(level, kind, ...) log_limited_about(level, kind, NULL, __VA_ARGS__)
/* Logs how many were suppressed, of the kinds whose minute is over, or of all. Every few seconds, and when the process
 * ends. */
void log_report_suppressed(bool all);
/* The length of that minute (tests only). */
void log_limit_window(int64_t ms);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
    do {                                                                                                               \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                                              \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                                   \
    } while (0)

#endif
