#include "sim.h"

/* A heap; events of the same time come in the order in which they were put. */

static bool queue_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void queue_put(struct sim *w, struct sim_event e)
{
    w->heap = sim_grow(w->heap, w->events, &w->heap_size, sizeof(*w->heap));
    int at = w->events++;

    e.order = w->order++;
    for (; at > 0 && queue_before(&e, &w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = e;
}

bool queue_take(struct sim *w, double until, struct sim_event *out)
{
    if (w->events == 0 || w->heap[0].at > until)
        return false;
    *out = w->heap[0];
    struct sim_event last = w->heap[--w->events];
    int at = 0;
    for (int child = 1; child < w->events; child = 2 * at + 1) {
        if (child + 1 < w->events && queue_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!queue_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return true;
}
