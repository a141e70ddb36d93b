#include "sim.h"

#include <stdio.h>

/* Nodes that die, join, or are cut off, and when the others learn it. */

struct sim_view *life_view(struct sim *w, bool is_cut_off)
{
    struct sim_view *v = sim_alloc(1, sizeof(*v));

    v->nodes = sim_alloc((size_t)w->total, sizeof(*v->nodes));
    v->ids = sim_alloc((size_t)w->total, sizeof(*v->ids));
    for (int i = 0; i < w->total; i++) {
        char address[32];
        /* a dead one is on the list until its lease has ended */
        if (!w->nodes[i].noticed || (w->cut && !is_cut_off && w->nodes[i].zone == 0))
            continue;
        int len = snprintf(address, sizeof(address), "10.%d.%d.%d:5443", i >> 16, i >> 8 & 255, i & 255);
        v->nodes[v->count] = (struct ring_node){.key = ring_hash(address, (size_t)len), .zone = w->nodes[i].zone};
        v->ids[v->count++] = i;
    }
    v->older = w->all_views;
    w->all_views = v;
    return v;
}

const struct sim_homes *life_homes(struct sim *w, struct sim_view *v, int blob, int zone)
{
    struct sim_homes *h = &v->homes[blob][zone == w->o.zones ? SIM_ZONES_MAX : zone];

    if (h->ranked)
        return h;
    h->ranked = true;
    h->count = ring_rank(v->nodes, (size_t)v->count, w->blobs[blob].key, zone == w->o.zones ? RING_ANYWHERE : zone,
                         h->ids, RING_HOMES_MAX);
    for (size_t i = 0; i < h->count; i++)
        h->ids[i] = v->ids[h->ids[i]];
    return h;
}

struct sim_view *life_view_of(struct sim *w, int node)
{
    return w->views[w->cut && w->nodes[node].zone == 0];
}

void life_plan(struct sim *w)
{
    const struct sim_options *o = &w->o;

    for (int i = 0; i < o->nodes; i++) {
        double at = 0.001 * sim_random(w, 100); /* nobody begins in the same instant */
        if (o->waves > 1)
            at += (int)((int64_t)i * o->waves / o->nodes) * o->wave_every;
        queue_put(w, (struct sim_event){.kind = SIM_BEGIN, .at = at, .node = i});
    }
    for (int i = 0; i < o->deaths; i++)
        queue_put(w, (struct sim_event){.kind = SIM_DIES,
                                        .at = 0.5 + o->churn_s * i / o->deaths,
                                        .node = (int)sim_random(w, (uint32_t)o->nodes)});
    for (int i = 0; i < o->joins; i++)
        queue_put(w,
                  (struct sim_event){.kind = SIM_JOINS, .at = 0.5 + o->churn_s * i / o->joins, .node = o->nodes + i});
    if (o->cut_at > 0)
        queue_put(w, (struct sim_event){.kind = SIM_CUT, .at = o->cut_at});
}

static void life_dies(struct sim *w, int node)
{
    struct sim_node *n = &w->nodes[node];

    if (!n->alive)
        return;
    for (int i = 0; i < w->flow_top; i++) {
        if (!w->flows[i].used)
            continue;
        if (w->flows[i].dst == node || w->flows[i].src == node)
            ask_broken(w, i, w->flows[i].src == node);
    }
    n->alive = false;
    if (!n->finished)
        w->pulling--;
    queue_put(w, (struct sim_event){.kind = SIM_NOTICED, .at = w->now + SIM_LEASE_S, .node = node});
}

static void life_cut(struct sim *w)
{
    w->cut = true;
    w->views[1] = w->views[0];
    for (int i = 0; i < w->flow_top; i++)
        if (w->flows[i].used && w->flows[i].src != w->total && !sim_reaches(w, w->flows[i].src, w->flows[i].dst))
            ask_broken(w, i, true);
    queue_put(w, (struct sim_event){.kind = SIM_NOTICED, .at = w->now + SIM_LEASE_S, .node = -1});
}

void life_event(struct sim *w, const struct sim_event *e)
{
    switch (e->kind) {
    case SIM_DIES:
        life_dies(w, e->node);
        break;
    case SIM_JOINS:
        w->nodes[e->node].alive = w->nodes[e->node].noticed = true;
        w->views[0] = life_view(w, false);
        pull_begin(w, e->node);
        break;
    case SIM_CUT:
        life_cut(w);
        break;
    default: /* the list changes; of a zone that is cut off it stays */
        if (e->node >= 0)
            w->nodes[e->node].noticed = false;
        w->views[0] = life_view(w, false);
    }
}
