#include "base/assert.h"

#include <errno.h>

void assert_failed(const char *what, const char *function, const char *file, int line)
{
    fprintf(stderr, "entrepot: %s:%d: %s: %s does not hold\n", file, line, function, what);
    abort();
}

/* glibc stores the owner of a mutex, which the owner itself may read. Elsewhere: whether some thread has locked it. */
bool assert_is_mine(const pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    static _Thread_local pid_t self; /* a system call each time would cost a lookup in memory half as much again */

    if (self == 0)
        self = gettid();
    return lock->__data.__owner == self;
#else
    if (pthread_mutex_trylock((pthread_mutex_t *)lock) == EBUSY)
        return true;
    pthread_mutex_unlock((pthread_mutex_t *)lock);
    return false;
#endif
}
