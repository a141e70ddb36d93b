#include "sim.h"

/* The rules of cluster/ (DESIGN: beyond one node): the zone's home, from there the home over all nodes, from there the
 * registry; in place of one that rests, the next in order, two of them at most. */

enum { RULES_ATTEMPTS = 3 };

int rules_first(int hops)
{
    return hops == 0 ? RULES_ZONE : hops == 1 ? RULES_ALL : RULES_REGISTRY;
}

int rules_next(const struct rules_view *v, int64_t stripe, int *step)
{
    if (*step < RULES_ALL) {
        for (; *step < RULES_ZONE + RULES_ATTEMPTS && (size_t)*step < v->zone_count; ++*step) {
            int peer = v->zone[ring_home(v->zone_count, stripe, (size_t)*step)];
            if (peer == v->self)
                break;
            if (!v->rests(v->arg, peer))
                return peer;
        }
        bool is_home = *step < RULES_ZONE + RULES_ATTEMPTS && (size_t)*step < v->zone_count;
        *step = is_home ? RULES_ALL : RULES_REGISTRY;
    }
    for (; *step < RULES_REGISTRY && (size_t)(*step - RULES_ALL) < v->all_count; ++*step) {
        int peer = v->all[ring_home(v->all_count, stripe, (size_t)(*step - RULES_ALL))];
        if (peer == v->self)
            break;
        if (!v->rests(v->arg, peer))
            return peer;
    }
    *step = RULES_REGISTRY;
    return RULES_NOBODY;
}
