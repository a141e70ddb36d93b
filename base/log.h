/* log.h - one line an event, on stderr.
 *
 * Formats: text ("2026-01-02T03:04:05.678Z info  message"), json (an object a line), journal (sd-daemon priority
 * prefix, no time: the journal has its own). Any thread; a line is one write(2). Callers never pass secrets: tokens,
 * passwords, signed URLs (use url_redact()).
 */
#ifndef ENTREPOT_BASE_LOG_H
#define ENTREPOT_BASE_LOG_H

#include "base/mem.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* For what may happen a thousand times a second: the first one of a topic is logged, then at most one a minute, which
 * says how many were left out. `topic` is a literal. */
void log_limited(enum log_level level, const char *topic, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
    do {                                                                                                               \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                                              \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                                   \
    } while (0)

#endif
