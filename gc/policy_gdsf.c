/* GreedyDual-Size-Frequency that chooses its weights by what is requested: rank = clock + scale x value, and
 *
 *     value = uses^a x worth / megabytes^b          worth = cost of fetching / bytes
 *
 * Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy" (HP Labs, HPL-98-69R1,
 * 1998) has a = 1, b = 0. Which weights are best depends on the traffic and on how short room is, and none is best
 * everywhere: the larger b, the more small blobs stay and the more requests are hits; the smaller, the more bytes are;
 * the larger a, the longer yesterday's favourites stay. So shadow caches (shadow.h) try fifteen pairs on the requests
 * as they come, and the one that is used is the one that has lately had the most hits, and half as important, bytes -
 * with a penalty if it had fewer bytes than plain least recently used would have had.
 *
 * What decides between two settings is only the requests that one had and the other had not: a change needs a lead of
 * two standard deviations of those, so that chance does not decide. Before there is evidence, what is preferred is what
 * earlier experience prefers (more weight on uses, and small blobs), except that a setting with a larger b must show
 * first that it has a lead over least recently used in bytes. So a cache with room enough stays close to that.
 *
 * A change keeps the clock: `scale` makes the new values move it at the old ones' pace, so that what was ranked before
 * and after compares. Uses include those before an eviction, as long as the shadows remember the object. Everything
 * depends on the requests alone, not on time or chance. tests/bench/evict measures it; docs/decisions.md has the table.
 */
#include "gc/policy.h"
#include "gc/shadow.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Makes the worth of a large blob on a link of 20 MB/s about 1; the unit itself matters to nothing. */
static const double BYTES_PER_MS = 20000, MEGABYTE = 1e6;

static const double USES[] = {0.3, 1, 2}, SIZES[] = {-0.1, 0, 0.2, 0.5, 0.8};
enum {
    FIRST = 1 + 1 * ARRAY_LEN(SIZES), /* 1, -0.1 */
    CHOOSE_EVERY = 16,                /* requests */
    FORMAT = 1,                       /* of what is saved: changes with the settings */
};
_Static_assert(1 + ARRAY_LEN(USES) * ARRAY_LEN(SIZES) == SHADOWS, "a shadow for each setting, and the reference");

/* The importance of bytes beside that of hits; of each percent less than least recently used. */
static const double BYTES_WEIGHT = 0.5, SHORTAGE_WEIGHT = 5;
/* The lead in bytes that a setting needs for each unit of b. */
static const double LEAD = 0.05;
/* For each unit of a and b, as a share of the hits; it fades with the requests. */
static const double PRIOR_USES = 0.005, PRIOR_SIZE = 0.02, PRIOR_REQUESTS = 1000;
/* A change has to be worth so many standard deviations, and this share of the hits; away from a shortage of bytes it
 * may be chance rather. */
static const double DEVIATIONS = 2, SHORT_DEVIATIONS = 1, LEAST_GAIN = 0.004;

struct gdsf {
    struct shadows *shadows;
    size_t setting; /* a shadow */
    double scale;
    uint64_t requests;
    uint32_t version;
};

struct gdsf_saved {
    uint32_t format, setting;
    double scale;
    uint64_t requests;
};
_Static_assert(sizeof(struct gdsf_saved) <= POLICY_SAVED_MAX, "it fits");

static double uses_weight(size_t setting)
{
    return USES[(setting - 1) / ARRAY_LEN(SIZES)];
}

static double size_weight(size_t setting)
{
    return SIZES[(setting - 1) % ARRAY_LEN(SIZES)];
}

/* For all settings: powers are the expensive part. */
static void gdsf_values(const struct policy_item *i, uint32_t uses, double values[SHADOWS])
{
    double worth = i->cost_ms * BYTES_PER_MS / (double)i->bytes, by_size[ARRAY_LEN(SIZES)];
    size_t k = 1;

    for (size_t b = 0; b < ARRAY_LEN(SIZES); b++)
        by_size[b] = worth * pow((double)i->bytes / MEGABYTE, -SIZES[b]);
    values[0] = 0;
    for (size_t a = 0; a < ARRAY_LEN(USES); a++) {
        double by_uses = pow(MAX(uses, 1u), USES[a]);
        for (size_t b = 0; b < ARRAY_LEN(SIZES); b++)
            values[k++] = by_uses * by_size[b];
    }
}

/* ---- the choice ---- */

struct gdsf_best {
    double hits, bytes;
};

/* Bytes beside what the reference had. */
static double bytes_ratio(const struct gdsf *g, size_t k)
{
    double reference = shadows_sums(g->shadows, 0).bytes;

    return reference > 0 ? shadows_sums(g->shadows, k).bytes / reference : 1;
}

static double bytes_needed(size_t k)
{
    return 1 + LEAD * (size_weight(k) - SIZES[0]);
}

static double gdsf_merit(const struct gdsf *g, const struct gdsf_best *best, size_t k)
{
    struct shadow_sums sums = shadows_sums(g->shadows, k);
    double prior = PRIOR_USES * uses_weight(k) + PRIOR_SIZE * size_weight(k);

    return sums.hits / best->hits + BYTES_WEIGHT * sums.bytes / best->bytes +
           prior * PRIOR_REQUESTS / (PRIOR_REQUESTS + (double)g->requests) -
           SHORTAGE_WEIGHT * fmax(0, bytes_needed(k) - bytes_ratio(g, k));
}

/* What it would be better by than the present one; not positive: that may be chance. */
static double gdsf_gain(const struct gdsf *g, const struct gdsf_best *best, size_t k)
{
    bool is_short = bytes_ratio(g, k) < bytes_needed(k) || bytes_ratio(g, g->setting) < bytes_needed(g->setting);
    double byte = (BYTES_WEIGHT + (is_short ? SHORTAGE_WEIGHT : 0)) / best->bytes;
    double variance = shadows_variance(g->shadows, k, g->setting, 1 / best->hits, byte);
    double gain = gdsf_merit(g, best, k) - gdsf_merit(g, best, g->setting);
    double deviations = bytes_ratio(g, g->setting) < 1 && bytes_ratio(g, k) >= 1 ? SHORT_DEVIATIONS : DEVIATIONS;

    return gain > deviations * sqrt(variance) + LEAST_GAIN ? gain : 0;
}

static void gdsf_change(struct gdsf *g, size_t setting)
{
    double before = shadows_pace(g->shadows, g->setting), after = shadows_pace(g->shadows, setting);
    double scale = g->scale * before / after;

    if (before > 0 && after > 0 && isnormal(scale))
        g->scale = scale;
    g->setting = setting;
    g->version++;
}

static void gdsf_choose(struct gdsf *g)
{
    struct gdsf_best best = {1, 1};
    size_t chosen = g->setting;
    double most = 0;

    for (size_t k = 0; k < SHADOWS; k++) {
        struct shadow_sums sums = shadows_sums(g->shadows, k);
        best.hits = fmax(best.hits, sums.hits);
        best.bytes = fmax(best.bytes, sums.bytes);
    }
    for (size_t k = 1; k < SHADOWS; k++) {
        double gain = k != g->setting && shadows_pace(g->shadows, k) > 0 ? gdsf_gain(g, &best, k) : 0;
        if (gain > most) {
            most = gain;
            chosen = k;
        }
    }
    if (chosen != g->setting)
        gdsf_change(g, chosen);
}

/* ---- the policy ---- */

static void *gdsf_open(const void *saved, size_t len)
{
    struct gdsf *g = xcalloc(1, sizeof(*g));
    struct gdsf_saved was;

    g->shadows = shadows_new();
    g->setting = FIRST;
    g->scale = 1;
    if (len != sizeof(was))
        return g;
    memcpy(&was, saved, sizeof(was));
    if (was.format != FORMAT || was.setting < 1 || was.setting >= SHADOWS || !isnormal(was.scale) || was.scale < 0)
        return g;
    g->setting = was.setting;
    g->scale = was.scale;
    g->requests = was.requests;
    return g;
}

static void gdsf_close(void *state)
{
    struct gdsf *g = state;

    if (g)
        shadows_free(g->shadows);
    free(g);
}

static void gdsf_observe(void *state, const struct policy_item *i, uint32_t times, int64_t capacity)
{
    struct gdsf *g = state;
    double values[SHADOWS];
    uint32_t known = shadows_uses(g->shadows, i->id);

    gdsf_values(i, MAX(i->uses, known + times), values);
    if (shadows_request(g->shadows, i->id, i->bytes, times, values, capacity) && ++g->requests % CHOOSE_EVERY == 0)
        gdsf_choose(g);
}

static uint32_t gdsf_version(const void *state)
{
    return ((const struct gdsf *)state)->version;
}

static size_t gdsf_save(const void *state, uint8_t out[POLICY_SAVED_MAX])
{
    const struct gdsf *g = state;
    const struct gdsf_saved now = {FORMAT, (uint32_t)g->setting, g->scale, g->requests};

    memcpy(out, &now, sizeof(now));
    return sizeof(now);
}

static double gdsf_rank(const void *state, const struct policy_item *i)
{
    const struct gdsf *g = state;
    double values[SHADOWS];

    gdsf_values(i, MAX(i->uses, shadows_uses(g->shadows, i->id)), values);
    return i->clock + g->scale * values[g->setting];
}

static double gdsf_advance(double clock, double gone)
{
    return gone > clock ? gone : clock;
}

const struct policy POLICY_GDSF = {"gdsf",       gdsf_open, gdsf_close, gdsf_observe,
                                   gdsf_version, gdsf_save, gdsf_rank,  gdsf_advance};
