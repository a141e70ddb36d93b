/* What was not used for longest goes first. */
#include "gc/policy.h"

static double rank(const struct policy_item *i)
{
    return i->used > 0 ? (double)i->used : 0;
}

static double advance(double clock, double gone)
{
    (void)gone;
    return clock;
}

static double spacing(const struct policy_item *i)
{
    (void)i;
    return 0;
}

const struct policy POLICY_LRU = {"lru", rank, advance, spacing};
