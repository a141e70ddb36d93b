/* What was not used for longest goes first. */
#include "gc/policy.h"

static double lru_rank(const struct policy_item *i)
{
    return i->used > 0 ? (double)i->used : 0;
}

static double lru_advance(double clock, double gone)
{
    (void)gone;
    return clock;
}

static double lru_spacing(const struct policy_item *i)
{
    (void)i;
    return 0;
}

const struct policy POLICY_LRU = {"lru", lru_rank, lru_advance, lru_spacing};
