/* GreedyDual-Size-Frequency: rank = clock + uses^a x cost / bytes.
 *
 * Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy" (HP Labs, HPL-98-69R1,
 * 1998) has a = 1. Registry traffic differs from the web's: young images are used again and again and then never more
 * (Anwar et al., "Improving Docker Registry Design Based on Production Workload Analysis", FAST '18), so that counting
 * every use in full keeps yesterday's favourites and loses byte hits to plain LRU. Hence two changes: uses of one burst
 * count as one (policy.h), as O'Neil et al. do with correlated references ("The LRU-K page replacement algorithm for
 * database disk buffering", SIGMOD '93), and those that count are damped. The second term then says above all what a
 * byte kept is worth, which for small blobs is much (a request costs its round trips, however small the answer) and for
 * large ones nearly the same for all, so that among those it comes to recency, and to being asked for time and again.
 * tests/bench/evict measures it; docs/decisions.md has the table.
 */
#include "gc/policy.h"

#include <math.h>

static const double USES_EXPONENT = 0.3;
/* Half of what the clock moves while something used once goes from the top of the order to its bottom. */
static const double BURST = 0.5;
/* Makes the worth of a large blob on a link of 20 MB/s about 1; the unit itself matters to nothing. */
static const double BYTES_PER_MS = 20000;

static double worth(const struct policy_item *i)
{
    return i->cost_ms * BYTES_PER_MS / (double)i->bytes;
}

static double gdsf_rank(const struct policy_item *i)
{
    return i->clock + pow(i->uses > 0 ? i->uses : 1, USES_EXPONENT) * worth(i);
}

static double gdsf_advance(double clock, double gone)
{
    return gone > clock ? gone : clock;
}

static double gdsf_spacing(const struct policy_item *i)
{
    return BURST * worth(i);
}

const struct policy POLICY_GDSF = {"gdsf", gdsf_rank, gdsf_advance, gdsf_spacing};
