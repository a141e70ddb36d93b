/* GreedyDual-Size-Frequency: rank = clock + uses^a x cost / bytes.
 *
 * Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy" (HP Labs, HPL-98-69R1,
 * 1998) has a = 1. On registry traffic young images are used again and again and then never more: counting every use in
 * full keeps yesterday's favourites and loses byte hits to plain LRU. Damped like this, the second term says above all
 * what a byte kept is worth, which for small blobs is much (a request costs its round trips, however small the answer)
 * and for large ones the same for all, so that among those the order is nearly least recently used. What was used once
 * counts less still: a third and more of all layers is never asked for again (Anwar et al., "Improving Docker Registry
 * Design Based on Production Workload Analysis", FAST '18). tests/bench/evict measures it; docs/architecture.md has the
 * table.
 */
#include "gc/policy.h"

#include <math.h>

static const double USES_EXPONENT = 0.1, USED_ONCE = 0.8;
/* Makes the worth of a large blob on a link of 20 MB/s about 1; the unit itself matters to nothing. */
static const double BYTES_PER_MS = 20000;

static double rank(const struct policy_item *i)
{
    double uses = i->uses > 1 ? pow(i->uses, USES_EXPONENT) : USED_ONCE;

    return i->clock + uses * i->cost_ms * BYTES_PER_MS / (double)i->bytes;
}

static double advance(double clock, double gone)
{
    return gone > clock ? gone : clock;
}

const struct policy POLICY_GDSF = {"gdsf", rank, advance};
