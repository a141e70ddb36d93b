/* access_out.h - what the access log is written to: a file, a pipe that may be full, the log, the journal.
 *
 * A pipe, a terminal and a socket are waited for with poll(2) and are given PIPE_BUF bytes at a time, so that the
 * thread can be told to go on without them. One thread; opened on another.
 */
#ifndef ENTREPOT_PROXY_SEEN_ACCESS_OUT_H
#define ENTREPOT_PROXY_SEEN_ACCESS_OUT_H

#include "base/err.h"
#include "proxy/seen/line.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct access_out {
    STAILQ_ENTRY(access_out) entry;
    uint32_t epoch; /* of the lines that are for it */
    int fd;         /* -1: none */
    enum access_format format;
    bool is_log;  /* standard error, where the log's lines go as well */
    bool is_slow; /* it may have to be waited for */
    bool torn;    /* the last write was not whole */
};
STAILQ_HEAD(access_outs, access_out);

/* Path "-": standard error; NULL: there is to be no log. Errors: ERR_IO. */
struct access_out *access_out_new(const char *path, enum access_format format, struct err *err);
void access_out_free(struct access_out *o);
/* Writes lines, or what access_format_line() makes for the journal. Waits for a slow reader until `*until_ms`
 * (monotonic; 0: for ever) is over, which may change meanwhile. Returns how many lines were not written; errno. */
uint64_t access_out_write(struct access_out *o, const char *text, size_t len, const atomic_int_fast64_t *until_ms);

#endif
