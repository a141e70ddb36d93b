#include "sim.h"

#include <assert.h>

/* Flows and links. In each step every link's free capacity is divided equally among the flows over it that could still
 * use more, and a flow takes the smaller of its two shares; what is left over is divided again, NET_ROUNDS times. No
 * link carries more than it can; the result comes near max-min fairness, from below. A flow is also limited by what its
 * sender has received: a node sends on what arrives while it arrives, one step later. */

enum { NET_ROUNDS = 4 };
#define NET_LITTLE 0.01 /* of a link: what is free below this is not shared out */

struct net_share {
    int flow, up, down;
    double cap, rate;
};

void net_prepare(struct sim *w)
{
    int links = 2 * (w->total + 1);

    w->capacity = sim_alloc((size_t)links, sizeof(double));
    w->slack = sim_alloc((size_t)links, sizeof(double));
    w->sent = sim_alloc((size_t)w->total + 1, sizeof(double));
    w->received = sim_alloc((size_t)w->total + 1, sizeof(double));
    w->sharing = sim_alloc((size_t)links, sizeof(int));
    for (int i = 0; i <= w->total; i++) {
        double c = i == w->total ? w->o.registry_link : i == w->mirror ? w->o.mirror_link : w->o.link;
        w->capacity[2 * i] = w->capacity[2 * i + 1] = c;
    }
}

static void net_join_children(struct sim *w, int flow)
{
    struct sim_flow *f = &w->flows[flow];
    struct sim_piece *p = sim_piece_of(w, f->src, f->stripe);

    f->before = -1;
    f->behind = p->children;
    if (p->children >= 0)
        w->flows[p->children].before = flow;
    p->children = flow;
}

static void net_leave_children(struct sim *w, int flow)
{
    struct sim_flow *f = &w->flows[flow];

    if (f->behind >= 0)
        w->flows[f->behind].before = f->before;
    if (f->before >= 0)
        w->flows[f->before].behind = f->behind;
    else
        sim_piece_of(w, f->src, f->stripe)->children = f->behind;
}

int net_flow_new(struct sim *w, int src, int dst, int stripe, double start, double got)
{
    int flow;

    if (w->free_count > 0) {
        flow = w->free_flows[--w->free_count];
    } else {
        if (w->flow_top == w->flow_size) {
            int size = w->flow_size;
            w->flows = sim_grow(w->flows, w->flow_top, &w->flow_size, sizeof(*w->flows));
            w->free_flows = sim_grow(w->free_flows, size, &size, sizeof(int));
        }
        flow = w->flow_top++;
    }
    struct sim_flow *f = &w->flows[flow];
    *f = (struct sim_flow){.used = true, .src = src, .dst = dst, .stripe = stripe, .via = -1, .got = got};
    f->start = start;
    f->end = sim_stripe_size(w, stripe);
    f->parent = SIM_PARENT_HERE;
    if (src != w->total) {
        struct sim_piece *p = sim_piece_of(w, src, stripe);
        if (p->state != SIM_HERE) {
            f->parent = p->flow >= 0 ? p->flow : SIM_PARENT_WAITS;
            net_join_children(w, flow);
        }
    }
    struct sim_piece *mine = sim_piece_of(w, dst, stripe);
    assert(mine->flow < 0);
    mine->flow = flow;
    mine->state = SIM_ARRIVING;
    net_piece_moves(w, mine, flow);
    return flow;
}

void net_piece_moves(struct sim *w, struct sim_piece *p, int parent)
{
    for (int c = p->children, next; c >= 0; c = next) {
        next = w->flows[c].behind;
        w->flows[c].parent = parent;
        if (parent == SIM_PARENT_HERE)
            w->flows[c].before = w->flows[c].behind = -1;
    }
    if (parent == SIM_PARENT_HERE)
        p->children = -1;
}

/* Its piece keeps what has come. */
void net_flow_end(struct sim *w, int flow)
{
    struct sim_flow *f = &w->flows[flow];
    struct sim_piece *mine = sim_piece_of(w, f->dst, f->stripe);

    assert(f->used && mine->flow == flow);
    if (f->parent != SIM_PARENT_HERE)
        net_leave_children(w, flow);
    mine->flow = -1;
    mine->have = (uint32_t)f->got;
    f->used = false;
    w->free_flows[w->free_count++] = flow;
}

/* Bytes that a flow could bring in this step. */
static double net_room(struct sim *w, const struct sim_flow *f)
{
    double room = f->end - f->got;

    if (f->start > w->now)
        return 0;
    if (f->parent == SIM_PARENT_WAITS) {
        double there = sim_piece_of(w, f->src, f->stripe)->have - f->got;
        room = there < room ? there : room;
    } else if (f->parent >= 0) {
        const struct sim_flow *up = &w->flows[f->parent];
        double there = up->got - f->got;
        room = there < room ? there : room;
    }
    return room > 0 ? room : 0;
}

static int net_gather(struct sim *w)
{
    int n = 0;

    for (int i = 0; i < w->flow_top; i++) {
        struct sim_flow *f = &w->flows[i];
        if (!f->used)
            continue;
        double cap = net_room(w, f) / w->step;
        if (f->src == w->total && cap > w->o.registry_each)
            cap = w->o.registry_each;
        if (cap <= 0) {
            f->rate = 0;
            continue;
        }
        w->shares = sim_grow(w->shares, n, &w->share_size, sizeof(*w->shares));
        w->shares[n++] = (struct net_share){.flow = i, .up = 2 * f->src, .down = 2 * f->dst + 1, .cap = cap};
    }
    return n;
}

static void net_share_out(struct sim *w, int n)
{
    int links = 2 * (w->total + 1);

    for (int i = 0; i < links; i++)
        w->slack[i] = w->capacity[i];
    for (int round = 0; round < NET_ROUNDS; round++) {
        for (int i = 0; i < links; i++)
            w->sharing[i] = 0;
        for (int i = 0; i < n; i++) {
            struct net_share *s = &w->shares[i];
            if (s->rate < s->cap && w->slack[s->up] > NET_LITTLE * w->capacity[s->up] &&
                w->slack[s->down] > NET_LITTLE * w->capacity[s->down]) {
                w->sharing[s->up]++;
                w->sharing[s->down]++;
            }
        }
        /* shares go by what was free at the beginning of the round: `slack` is replaced by each link's share */
        for (int i = 0; i < links; i++)
            if (w->sharing[i] > 0)
                w->slack[i] /= w->sharing[i];
            else
                w->slack[i] = 0;
        for (int i = 0; i < n; i++) {
            struct net_share *s = &w->shares[i];
            double more = w->slack[s->up] < w->slack[s->down] ? w->slack[s->up] : w->slack[s->down];
            s->rate += s->cap - s->rate < more ? s->cap - s->rate : more;
        }
        for (int i = 0; i < links; i++)
            w->slack[i] = w->capacity[i];
        for (int i = 0; i < n; i++) {
            w->slack[w->shares[i].up] -= w->shares[i].rate;
            w->slack[w->shares[i].down] -= w->shares[i].rate;
        }
    }
}

void net_step(struct sim *w)
{
    int n = net_gather(w), ended = 0;

    net_share_out(w, n);
    for (int i = 0; i < n; i++) {
        struct sim_flow *f = &w->flows[w->shares[i].flow];
        double bytes = w->shares[i].rate * w->step;
        bool first = f->got == 0;
        f->rate = w->shares[i].rate;
        if (f->got + bytes > f->end - 0.5)
            bytes = f->end - f->got;
        f->got += bytes;
        w->sent[f->src] += bytes;
        w->received[f->dst] += bytes;
        if (f->src != w->total && w->nodes[f->src].zone != w->nodes[f->dst].zone)
            w->result.between += bytes;
        if (f->got >= f->end || first) {
            w->ended = sim_grow(w->ended, ended, &w->ended_size, sizeof(int));
            w->ended[ended++] = w->shares[i].flow;
        }
    }
    w->now += w->step;
    for (int i = 0; i < ended; i++) {
        struct sim_flow *f = &w->flows[w->ended[i]];
        pull_first_bytes(w, f->dst, w->blob_of[f->stripe]);
        if (w->flows[w->ended[i]].got >= w->flows[w->ended[i]].end)
            ask_completed(w, w->ended[i]);
    }
}
