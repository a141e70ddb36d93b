/* backtrace.h - where a thread is, when the process ends by a fault.
 *
 * A crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, or an abort after a broken assertion) writes the signal, the thread and its
 * frames to stderr, then ends the process as it would have ended without. Names of functions come from the symbol table
 * of the executable; without one (a stripped package) there are offsets, for addr2line(1) with the debug symbols of the
 * build that is named. Under a sanitizer, which has handlers of its own, nothing is installed.
 */
#ifndef ENTREPOT_BASE_BACKTRACE_H
#define ENTREPOT_BASE_BACKTRACE_H

#include <pthread.h>
#include <stdbool.h>

/* Once, before other threads are started. */
void backtrace_install(void);
/* Has another thread write its frames, and waits for at most `ms`. False: it did not. Not by two threads at a time. */
bool backtrace_of(pthread_t thread, int ms);

#endif
