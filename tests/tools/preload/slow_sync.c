/* LD_PRELOAD: a disk whose syncs take SLOW_SYNC_MS each; with FAIL_SYNC they fail. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int sync_as_told(long call, int fd)
{
    const char *text = getenv("SLOW_SYNC_MS");
    long ms = text ? atol(text) : 0;

    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
    if (getenv("FAIL_SYNC")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_as_told(SYS_fsync, fd);
}

int syncfs(int fd)
{
    return sync_as_told(SYS_syncfs, fd);
}

int fdatasync(int fd)
{
    return sync_as_told(SYS_fdatasync, fd);
}
