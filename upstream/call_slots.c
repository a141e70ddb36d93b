/* How many requests there may be at a time, to one registry and to all. */
#include "upstream/call_private.h"

static bool add_below(atomic_int *n, int most)
{
    if (atomic_fetch_add(n, 1) < most)
        return true;
    atomic_fetch_sub(n, 1);
    return false;
}

void call_leave_queue(struct upstream_call *c)
{
    if (c->in_queue)
        atomic_fetch_sub(&c->u->waiting, 1);
    c->in_queue = false;
}

void call_leave_slot(struct upstream_call *c)
{
    if (c->has_slot)
        atomic_fetch_sub(&c->u->slots->used, 1);
    c->has_slot = false;
}

/* One registry that hangs takes at most half of the slots of all. Requests of clients with a login cannot be shared as
 * others' are: they are bounded by their connections and by the number for all. */
void call_take_slot(struct upstream_call *c)
{
    struct upstream *u = c->u;
    int all = u->slots ? atomic_load(&u->slots->most) : 0;
    if (c->further) /* requests that clients wait for come first */
        all = all > 0 ? MAX(all / 2, 1) : 0;
    int waiting = atomic_load(&u->waiting_max);
    if (waiting > 0 && all > 0)
        waiting = MIN(waiting, MAX(all / 2, 1));

    if (!call_is_own(c))
        waiting = 0;
    c->in_queue = waiting > 0 && add_below(&u->waiting, waiting);
    c->has_slot = all > 0 && add_below(&u->slots->used, all);
    c->crowded = (waiting > 0 && !c->in_queue) || (all > 0 && !c->has_slot);
    if (!c->crowded)
        return;
    call_leave_queue(c);
    call_leave_slot(c);
    atomic_fetch_add(&u->turned_away, 1);
}
