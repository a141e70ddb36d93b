#include "tests/tools/model/life.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

struct life *life;

void *life_begin(uint64_t seed, size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        abort();
    life = at;
    life->random = seed * 2654435769u + 88172645463325252u;
    life->doing = -1;
    return at;
}

uint64_t rnd(uint64_t below)
{
    life->random ^= life->random << 13;
    life->random ^= life->random >> 7;
    life->random ^= life->random << 17;
    return (life->random >> 11) % below;
}

void life_fail(const char *fmt, ...)
{
    va_list args;

    life->failed = true;
    printf("operation %lld (kind %d): ", (long long)life->operations, life->doing);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

/* False: it ended by itself, or was ended by another signal than ours. */
static bool life_kill(pid_t child, int64_t after_us, int *status)
{
    bool ended = false;

    for (int64_t slept = 0; !ended && (after_us < 0 || slept < after_us); slept += 1000) {
        ended = waitpid(child, status, WNOHANG) != 0;
        nanosleep(&(struct timespec){.tv_nsec = ended ? 0 : 1000000}, NULL);
    }
    if (ended)
        return WIFSIGNALED(*status) && WTERMSIG(*status) == SIGKILL;
    if (kill(child, SIGKILL) == 0)
        waitpid(child, status, 0);
    return true;
}

int life_run(uint64_t seed, int64_t operations, int64_t most_ms, void (*work)(int64_t operations))
{
    uint64_t moments = seed * 6364136223846793005u + 1;

    for (;;) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            work(operations);
        moments = moments * 6364136223846793005u + 1442695040888963407u;
        int64_t us = most_ms > 0 ? 2000 + (int64_t)((moments >> 33) % ((uint64_t)most_ms * 1000)) : -1;
        bool killed = life_kill(child, us, &status);
        if (!killed && status != 0 && !life->failed)
            printf("operation %lld (kind %d): the process ended by itself: %s %d\n", (long long)life->operations,
                   life->doing, WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (life->failed || life->operations >= operations || (!killed && status != 0))
            break;
        life->crashes++;
    }
    bool ok = !life->failed && life->operations >= operations;
    printf("seed %llu: %lld operations, %lld kills: %s\n", (unsigned long long)seed, (long long)life->operations,
           (long long)life->crashes, ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
