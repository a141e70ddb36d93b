/* LD_PRELOAD: once the file HANG_FILE is there, the thread named HANG_THREAD hangs in its next turn. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void hang_as_told(void)
{
    const char *file = getenv("HANG_FILE"), *thread = getenv("HANG_THREAD");
    char name[16];

    if (!file || !thread || pthread_getname_np(pthread_self(), name, sizeof(name)) != 0 || strcmp(name, thread) != 0)
        return;
    while (access(file, F_OK) == 0)
        usleep(10000);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    hang_as_told();
    return epoll_pwait(fd, events, max, timeout, NULL);
}

int epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask)
{
    hang_as_told();
    return epoll_pwait(fd, events, max, timeout ? (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000) : -1,
                       mask);
}
