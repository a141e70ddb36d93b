/* watchdog.h - notices a loop that hangs, and ends the process.
 *
 * A thread posts a message to each loop, and posts the next one when the loop has taken it. A loop that takes none for
 * WATCHDOG_LIMIT_MS, and finishes nothing else either (a turn may be long: a thousand clients that want a megabyte
 * under TLS, on a slow machine), hangs: its clients would wait for ever, since most engines do. The log names it and
 * the process aborts; connections break, engines go on to the registry, and the service manager starts the daemon
 * again. Under systemd with WatchdogSec= the thread also reports that all loops turn, so that a process that is stopped
 * as a whole is ended, too.
 *
 * Time is counted in which this thread itself ran: a process that was stopped (SIGSTOP, a frozen cgroup, a paused
 * virtual machine, a suspended laptop) is not judged by that time. A traced one is never ended: somebody looks at it.
 */
#ifndef ENTREPOT_PROXY_WATCHDOG_H
#define ENTREPOT_PROXY_WATCHDOG_H

#include "base/err.h"

#include <stdint.h>

enum { WATCHDOG_LIMIT_MS = 10000 };

struct loop;
struct watchdog;

/* `on_hang` is called on the watchdog's thread, at most once for each time that a loop hangs; NULL: the process aborts.
 * `limit_ms`: WATCHDOG_LIMIT_MS, but in tests. */
struct watchdog *watchdog_new(int64_t limit_ms, void (*on_hang)(void *arg, const char *name), void *arg);
/* Before the start. */
void watchdog_add(void *watchdog, struct loop *loop);
/* The loops run, or are about to. Errors: ERR_IO. */
bool watchdog_start(struct watchdog *w, struct err *err);
/* Waits for the thread; before the loops stop. */
void watchdog_stop(struct watchdog *w);
/* After the loops' mailboxes are empty. */
void watchdog_free(struct watchdog *w);

#endif
