/* line.h - one line of the access log.
 *
 * Texts in it are a client's or a registry's: what could drive a terminal, begin a line or end a string is escaped
 * (base/visible.h). No field holds a secret: of a query there is `ns` alone. Written for every request, so it calls no
 * printf(3) and allocates nothing but what the buffer grows by. Any thread.
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
    const char *path, *ns; /* of format common */
    const char *cache;     /* Cache-Status */
    size_t cache_len;
    int status;
    int64_t bytes;                            /* of the body */
    int64_t first_us, duration_us, waited_us; /* microseconds; -1: not known, or not waited for upstream */
};

/* The text of a second, made once; begins as {0}. One thread. */
struct access_second {
    int64_t json_s, common_s;
    char json[24], common[32];
};

/* An object and a newline. */
void access_line_json(struct buf *out, struct access_second *s, const struct access_line *l);
/* Common Log Format. */
void access_line_common(struct buf *out, struct access_second *s, const struct access_line *l);
/* For sd_journal_sendv(3): "FIELD=value", each ended by a NUL, and a NUL behind the last one. */
void access_line_journal(struct buf *out, struct access_second *s, const struct access_line *l);

#endif
