#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t moved, stopped_at;

int64_t clock_now_ms(void)
{
    int64_t still = atomic_load_explicit(&stopped_at, memory_order_relaxed);
    struct timespec ts;

    if (still > 0)
        return still + atomic_load_explicit(&moved, memory_order_relaxed);
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + atomic_load_explicit(&moved, memory_order_relaxed);
}

int64_t clock_mono_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

void clock_stop(int64_t at_ms)
{
    atomic_store(&stopped_at, at_ms);
}

void clock_advance(int64_t ms)
{
    atomic_fetch_add(&moved, ms);
}

int64_t clock_wall_s(int64_t mono_ms)
{
    return (clock_now_ms() - (clock_mono_ms() - mono_ms)) / 1000;
}
