/* clock.h - two clocks. Wall time is for what is stored and for freshness, and tests can move it; monotonic time is for
 * durations and time-outs. Any thread. */
#ifndef ENTREPOT_BASE_CLOCK_H
#define ENTREPOT_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970, moved by clock_advance(). */
int64_t clock_now_ms(void);
static inline int64_t clock_now_s(void)
{
    return clock_now_ms() / 1000;
}
/* Milliseconds since some start; never goes back, never moved. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Seconds since 1970 at that monotonic time, by the wall clock as it is set now. */
int64_t clock_wall_s(int64_t mono_ms);
/* Wall time stands still at `at_ms`, but for clock_advance() (tests only). */
void clock_stop(int64_t at_ms);
/* Moves wall time by `ms` (tests only; adds up). */
void clock_advance(int64_t ms);

#endif
