#include "base/assert.h"

#include <errno.h>

void assert_failed(const char *what, const char *function, const char *file, int line)
{
    fprintf(stderr, "entrepot: %s:%d: %s: %s does not hold\n", file, line, function, what);
    abort();
}

/* glibc stores the owner of a mutex, which the owner itself may read. Elsewhere: whether some thread has locked it. */
bool assert_is_mine(pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    return lock->__data.__owner == gettid();
#else
    if (pthread_mutex_trylock(lock) == EBUSY)
        return true;
    pthread_mutex_unlock(lock);
    return false;
#endif
}
