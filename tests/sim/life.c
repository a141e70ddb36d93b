#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

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

/* The list is in ascending order, and nodes are missing in it. */
int life_place(const struct sim_view *v, int node)
{
    int at = node < v->count ? node : v->count - 1;

    while (v->ids[at] != node)
        at--;
    return at;
}

/* Maps are the same for all nodes of a zone, but for the homes, which also know who was the home before them. */
const struct stripe_map *life_map(struct sim *w, struct sim_view *v, int blob, int node)
{
    int zone = w->nodes[node].zone, self = life_place(v, node);
    struct stripe_map **m = &v->maps[blob][zone];

    for (size_t at = 0; *m != NULL && at < (*m)->all.count; at++)
        if ((*m)->all.nodes[at] == self) {
            m = &v->homes[blob][at];
            break;
        }
    if (*m != NULL)
        return *m;
    *m = sim_alloc(1, sizeof(**m));
    stripes_make(*m, v->nodes, v->count, self, w->blobs[blob].key, (int64_t)w->blobs[blob].size);
    return life_map(w, v, blob, node); /* the zone's first one may be of a home */
}

static void life_map_free(struct stripe_map *m)
{
    if (m != NULL)
        stripes_clear(m);
    free(m);
}

void life_view_free(struct sim_view *v)
{
    for (int blob = 0; blob < SIM_LAYERS_MAX; blob++) {
        for (int i = 0; i < SIM_ZONES_MAX; i++)
            life_map_free(v->maps[blob][i]);
        for (int i = 0; i < RING_HOMES_MAX; i++)
            life_map_free(v->homes[blob][i]);
    }
    free(v->nodes);
    free(v->ids);
    free(v);
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
