/* line.h - one line of the access log.
 *
 *     serve loop: access_line ─ access_pack() ─▶ bytes of a feed ─▶ the log's thread: access_format_line() ─▶ text
 *
 * Packing is all that a serve loop does: it is done for every request, copies the texts behind a head of fixed size,
 * and calls no printf(3). Texts are a client's or a registry's: what could drive a terminal, begin a line or end a
 * string is escaped (base/visible.h) when the line is formatted. No field holds a secret: of a query there is `ns`
 * alone. Any thread.
 */
#ifndef ENTREPOT_PROXY_SEEN_LINE_H
#define ENTREPOT_PROXY_SEEN_LINE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ACCESS_TEXT_MAX = 256, /* bytes of a client's header that are shown */
    ACCESS_PATH_MAX = 1024,
};

/* A request that is complete. Texts are borrowed; NULL: there is none. */
struct access_line {
    int64_t at_ms; /* when it was complete to be answered: since 1970 */
    const char *id, *client, *user_agent, *method;
    const char *upstream, *repository, *reference, *range;
    const char *path, *ns; /* what JSON does not have */
    const char *cache;     /* Cache-Status */
    size_t cache_len;
    int status;
    int64_t bytes;                            /* of the body */
    int64_t first_us, duration_us, waited_us; /* microseconds; -1: not known, or not waited for upstream */
};

/* Adds it to what waits to be formatted, for the output that `epoch` stands for, with what JSON does not have or
 * without; less than ACCESS_PACKED_MAX bytes. */
enum { ACCESS_PACKED_MAX = 5 << 10 };
void access_pack(struct buf *out, const struct access_line *line, uint32_t epoch, bool paths);

/* A line as it was packed; the texts' bytes are behind it. */
struct access_packed;
/* The first of `len` bytes that access_pack() has added; behind another. NULL: that was the last one. */
const struct access_packed *access_packed_first(const char *bytes, size_t len);
const struct access_packed *access_packed_next(const struct access_packed *p, const char *end);
uint32_t access_packed_epoch(const struct access_packed *p);

/* The text of a second, made once; begins as {0}. One thread. */
struct access_second {
    int64_t at_s;
    char json[24], common[32];
};

enum access_format { ACCESS_JSON, ACCESS_COMMON, ACCESS_JOURNAL };

/* ACCESS_JSON: an object and a newline. ACCESS_COMMON: Common Log Format. ACCESS_JOURNAL, for sd_journal_sendv(3):
 * "FIELD=value", each ended by a NUL, and a NUL behind the last one. */
void access_format_line(struct buf *out, struct access_second *s, const struct access_packed *p,
                        enum access_format format);

#endif
