/* rivals.h - what gdsf is measured beside: GreedyDual-Size-Frequency as it was published, and what entrepot had before
 * (uses damped and counted once a burst). They learn nothing; their state is NULL.
 */
#ifndef ENTREPOT_BENCH_RIVALS_H
#define ENTREPOT_BENCH_RIVALS_H

#include "gc/policy.h"

#include <math.h>

static inline double rival_worth(const struct policy_item *i)
{
    return i->cost_ms * 20000 / (double)i->bytes;
}

static inline double plain_rank(const void *state, const struct policy_item *i)
{
    (void)state;
    return i->clock + i->uses * rival_worth(i);
}

static inline double damped_rank(const void *state, const struct policy_item *i)
{
    (void)state;
    return i->clock + pow(i->uses, 0.3) * rival_worth(i);
}

static inline double rival_advance(double clock, double gone)
{
    return gone > clock ? gone : clock;
}

static const struct policy PLAIN = {.name = "gdsf-plain", .rank = plain_rank, .advance = rival_advance},
                           DAMPED = {.name = "gdsf-damped", .rank = damped_rank, .advance = rival_advance};

/* How far the clock has to move for another use to count. */
static inline double rival_spacing(const struct policy *p, const struct policy_item *i)
{
    return p == &DAMPED ? rival_worth(i) / 2 : -1;
}

#endif
