/* access_log.h - the access log: from the serve loops to a file, by a thread of its own.
 *
 *     serve-0 ── line ─▶ feed 0 ┐
 *     serve-1 ── line ─▶ feed 1 ┼─ each 50 ms while there is any ─▶ access-log: formats ─▶ write(2), O_APPEND
 *     serve-N ── line ─▶ feed N ┘
 *
 * A loop copies what a line consists of, and never waits for the file: a feed holds ACCESS_FEED_MAX bytes, and lines
 * that find no room there, or no room on the disk, are dropped and counted. The lines of a loop keep their order. The
 * file is opened again by access_log_open(), for rotation by rename: lines from before go to what was open then. Since
 * it is appended to, it may be cut meanwhile (copytruncate). Path "-" is standard error, where the log is; with the log
 * in the journal's format the fields go to the journal.
 */
#ifndef ENTREPOT_PROXY_SEEN_ACCESS_LOG_H
#define ENTREPOT_PROXY_SEEN_ACCESS_LOG_H

#include "base/err.h"
#include "proxy/seen/line.h"

struct access_log;
struct access_feed; /* of one loop */

enum { ACCESS_FEED_MAX = 1 << 20 /* bytes that wait to be written */ };

/* With `feeds` feeds. Nothing is open yet. */
struct access_log *access_log_new(int feeds);
/* Opens the file, in place of what is open; NULL: there is to be none. Main thread. Errors: ERR_IO; what is open stays
 * then. */
bool access_log_open(struct access_log *l, const char *path, enum access_format format, struct err *err);
/* After the loops have ended: writes what waits, as far as that can be done in some 2 s; tells what is lost. */
void access_log_free(struct access_log *l);
struct access_feed *access_log_feed(struct access_log *l, int n);
/* Whether lines are wanted. Any thread. */
bool access_feed_is_on(const struct access_feed *f);
/* On the feed's loop. */
void access_feed_add(struct access_feed *f, const struct access_line *line);
/* Lines that were not written. Any thread. */
uint64_t access_log_dropped(const struct access_log *l);

#endif
