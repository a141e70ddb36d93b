#include "sim.h"

#include <assert.h>

enum {
    ASK_LOOKS = 32, /* nodes among which the least busy one is taken */
    ASK_HAVE = 3,   /* in place of hops: a question that waits for nobody */
};

/* One stripe at one node: whom it is requested from, and what a node answers. */

static void ask_next(struct sim *w, int node, int stripe);

static bool ask_rests(void *arg, int place)
{
    const struct sim *w = ((void **)arg)[0];
    const struct sim_node *n = ((void **)arg)[1];
    int peer = ((struct sim_view *)((void **)arg)[2])->ids[place];

    for (int i = 0; i < n->rest_count; i++)
        if (n->rests[i].peer == peer)
            return n->rests[i].until > w->now;
    return false;
}

/* 2 s, doubling to a minute (peers.h). */
static void ask_note_failure(struct sim *w, int node, int peer)
{
    struct sim_node *n = &w->nodes[node];
    int i = 0;

    w->result.failures++;
    for (; i < n->rest_count && n->rests[i].peer != peer; i++)
        ;
    if (i == n->rest_count) {
        n->rests = sim_grow(n->rests, n->rest_count, &n->rest_size, sizeof(*n->rests));
        n->rests[n->rest_count++] = (struct sim_rest){.peer = peer};
    }
    struct sim_rest *r = &n->rests[i];
    if (r->until > w->now)
        return;
    double rest = 2.0 * (1 << (r->failures < 5 ? r->failures : 5));
    r->failures++;
    r->until = w->now + (rest < 60 ? rest : 60);
}

static struct sim_event ask_event_of(const struct sim *w, enum sim_event_kind kind, double at, int node, int stripe)
{
    struct sim_piece *p = &w->pieces[(size_t)node * (size_t)w->stripes + (size_t)stripe];

    return (struct sim_event){.kind = kind,
                              .at = at,
                              .node = node,
                              .stripe = stripe,
                              .peer = p->from,
                              .via = p->via,
                              .via_slot = p->via_slot,
                              .turn = p->turn,
                              .hops = p->asks};
}

static void ask_send(struct sim *w, int node, int stripe, int peer, int flags)
{
    struct sim_piece *p = sim_piece_of(w, node, stripe);

    p->from = peer;
    p->state = SIM_ASKING;
    w->result.asks++;
    bool reached = w->nodes[peer].alive && sim_reaches(w, node, peer);
    double after = reached ? sim_rtt(w, node, peer) / 2 : SIM_CONNECT_S;
    struct sim_event e = ask_event_of(w, reached ? SIM_ASK : SIM_FAILED, w->now + after, node, stripe);
    e.flags = (uint8_t)flags;
    queue_put(w, e);
}

/* ---- the registry ---- */

static void ask_registry_now(struct sim *w, int node, int stripe, double more)
{
    struct sim_piece *p = sim_piece_of(w, node, stripe);

    w->nodes[node].fetches[w->blob_of[stripe]].upstream++;
    w->result.requests++;
    p->from = w->total;
    double at = w->now + more;
    if (w->o.registry_requests > 0) {
        at = at > w->registry_free ? at : w->registry_free;
        w->registry_free = at + 1 / w->o.registry_requests;
    }
    queue_put(w, ask_event_of(w, SIM_ASK, at + w->o.registry_rtt / 2, node, stripe));
}

static void ask_registry(struct sim *w, int node, int stripe, double more)
{
    struct sim_fetch *f = &w->nodes[node].fetches[w->blob_of[stripe]];
    struct sim_piece *p = sim_piece_of(w, node, stripe);

    p->state = SIM_ASKING;
    p->tried = UINT8_MAX;
    p->from = w->total;
    if (f->upstream < SIM_REGISTRY_EXCHANGES) {
        ask_registry_now(w, node, stripe, more);
        return;
    }
    f->queue = sim_grow(f->queue, f->queued, &f->queue_size, sizeof(int));
    f->queue[f->queued++] = stripe;
}

static void ask_registry_ended(struct sim *w, int node, int stripe)
{
    struct sim_fetch *f = &w->nodes[node].fetches[w->blob_of[stripe]];

    f->upstream--;
    if (f->queued == 0 || !w->nodes[node].alive)
        return;
    int next = f->queue[0];
    f->queued--;
    for (int i = 0; i < f->queued; i++)
        f->queue[i] = f->queue[i + 1];
    ask_registry_now(w, node, next, 0);
}

/* ---- whom ---- */

static void ask_next(struct sim *w, int node, int stripe)
{
    struct sim_piece *p = sim_piece_of(w, node, stripe);
    struct sim_node *n = &w->nodes[node];
    int blob = w->blob_of[stripe];

    p->turn++;
    p->via = -1;
    if (w->mirror >= 0 && node != w->mirror) {
        ask_send(w, node, stripe, w->mirror, 0);
        return;
    }
    if (w->o.mode != SIM_PEERS) {
        ask_registry(w, node, stripe, 0);
        return;
    }
    struct sim_view *list = n->fetches[blob].view;
    const struct stripe_map *map = life_map(w, list, blob, node);
    void *arg[] = {w, n, list};
    /* the map is that of its zone: a node that is no home among all nodes may be one of its zone */
    struct stripe_map mine = *map;
    mine.self = life_place(list, node);
    const struct stripe_now now = {.stripe = (size_t)(stripe - w->blobs[blob].first),
                                   .hops = p->hops,
                                   .tried = p->tried,
                                   .have = true,
                                   .rests = ask_rests,
                                   .arg = arg};
    struct stripe_choice c = stripes_choose(&mine, &now);
    p->asks = (uint8_t)c.hops;
    p->place = (uint8_t)c.place;
    if (c.from == STRIPE_PEER) {
        ask_send(w, node, stripe, list->ids[c.node], 0);
    } else if (c.from == STRIPE_HAVE) {
        p->asks = ASK_HAVE;
        ask_send(w, node, stripe, list->ids[c.node], SIM_INSIST | SIM_IF_THERE);
    } else {
        ask_registry(w, node, stripe, 0);
    }
}

void ask_for(struct sim *w, int node, int stripe, int hops)
{
    struct sim_piece *p = sim_piece_of(w, node, stripe);
    struct sim_fetch *f = &w->nodes[node].fetches[w->blob_of[stripe]];

    assert(p->state == SIM_ABSENT);
    if (f->view == NULL)
        f->view = life_view_of(w, node);
    p->hops = (uint8_t)hops;
    p->tried = 0;
    ask_next(w, node, stripe);
}

/* ---- what a node answers ---- */

/* Whether `node` gets this stripe, in the end, from the one that now requests it there. */
static bool ask_is_circle(struct sim *w, int node, int stripe, int asker)
{
    for (int hops = 0; node != w->total && hops < 64; hops++) {
        const struct sim_piece *p = sim_piece_of(w, node, stripe);
        /* a request of the next level that is on its way makes the asker turn to the next level itself */
        if (p->from == asker && p->state == SIM_ASKING && p->via < 0 && p->asks != ASK_HAVE)
            return p->asks <= sim_piece_of(w, asker, stripe)->hops;
        if (node == asker)
            return true;
        if (p->state != SIM_ASKING && p->state != SIM_ARRIVING)
            return false;
        node = p->from;
    }
    return false;
}

/* Of the nodes that the home knows to have it, one of the least busy; -1: none that is free. */
static int ask_other(struct sim *w, int home, int stripe, int asker)
{
    const struct sim_known *k = &w->known[(size_t)home * (size_t)w->stripes + (size_t)stripe];
    int best = -1;

    int start = k->count > ASK_LOOKS ? (int)sim_random(w, (uint32_t)k->count) : 0;
    for (int i = 0; i < k->count && i < ASK_LOOKS; i++) {
        int at = (start + i) % k->count;
        if (k->list[at].node != asker && k->list[at].busy < SIM_SENDS_EACH &&
            (best < 0 || k->list[at].busy < k->list[best].busy))
            best = at;
    }
    return best;
}

static void ask_learn(struct sim *w, int home, int stripe, int node)
{
    struct sim_known *k = &w->known[(size_t)home * (size_t)w->stripes + (size_t)stripe];

    if (k->count >= w->o.known)
        return;
    k->list = sim_grow(k->list, k->count, &k->size, sizeof(*k->list));
    k->list[k->count++] = (struct sim_known_node){.node = node};
}

static void ask_return(struct sim *w, int via, int slot, int stripe)
{
    if (via >= 0)
        w->known[(size_t)via * (size_t)w->stripes + (size_t)stripe].list[slot].busy--;
}

/* What a node asks of another on the same level is not waited for: that one may wait for this node. */
static void ask_turn(struct sim *w, int node, int stripe, const struct sim_event *e)
{
    struct sim_piece *p = sim_piece_of(w, node, stripe);

    if (p->state == SIM_HERE || p->state == SIM_ABSENT || (e->flags & SIM_IF_THERE) || e->hops <= p->hops)
        return;
    p->hops = e->hops;
    if (p->from == w->total || p->asks > e->hops)
        return;
    if (p->flow >= 0)
        ask_broken(w, p->flow, false);
    ask_next(w, node, stripe);
}

static void ask_answer(struct sim *w, const struct sim_event *e)
{
    int peer = e->peer, stripe = e->stripe;
    struct sim_piece *p = sim_piece_of(w, peer, stripe), *mine = sim_piece_of(w, e->node, stripe);
    double back = w->now + sim_rtt(w, e->node, peer) / 2;

    bool there = p->state == SIM_HERE || p->state == SIM_ARRIVING;
    if ((e->flags & SIM_IF_THERE) && (!there || ask_is_circle(w, peer, stripe, e->node))) {
        queue_put(w, ask_event_of(w, SIM_REFUSED, back, e->node, stripe));
        return;
    }
    ask_turn(w, peer, stripe, e);
    if (p->state != SIM_HERE && p->state != SIM_ABSENT && ask_is_circle(w, peer, stripe, e->node)) {
        /* nodes that go by different lists wait for each other, until one has heard nothing for too long */
        if (p->flow >= 0)
            ask_broken(w, p->flow, false);
        p->turn++;
        ask_registry(w, peer, stripe, SIM_SILENCE_S);
    }
    if (w->nodes[peer].serving >= SIM_SERVES && e->flags == 0 && w->mirror < 0) {
        int slot = ask_other(w, peer, stripe, e->node);
        if (slot >= 0) {
            struct sim_known_node *other = &w->known[(size_t)peer * (size_t)w->stripes + (size_t)stripe].list[slot];
            other->busy++;
            w->result.sent_on++;
            mine->via = peer;
            mine->via_slot = slot;
            struct sim_event on = ask_event_of(w, SIM_SENT_ON, back, e->node, stripe);
            on.peer = other->node;
            queue_put(w, on);
            if (w->o.early)
                ask_learn(w, peer, stripe, e->node);
            return;
        }
    }
    if (p->state == SIM_ABSENT)
        ask_for(w, peer, stripe, e->hops);
    w->nodes[peer].serving++;
    int flow = net_flow_new(w, peer, e->node, stripe, back, mine->have);
    w->flows[flow].via = mine->via;
    w->flows[flow].via_slot = mine->via_slot;
    if (w->o.early && e->flags == 0 && w->mirror < 0)
        ask_learn(w, peer, stripe, e->node);
}

/* Back to the home that had named the node; else the next on the way. */
static void ask_elsewhere(struct sim *w, const struct sim_event *e)
{
    struct sim_piece *p = sim_piece_of(w, e->node, e->stripe);
    int home = p->via;

    ask_return(w, p->via, p->via_slot, e->stripe);
    p->via = -1;
    if (home >= 0 && home != e->peer) {
        p->turn++;
        ask_send(w, e->node, e->stripe, home, SIM_INSIST);
        return;
    }
    if (p->tried <= p->place)
        p->tried = (uint8_t)(p->place + 1);
    ask_next(w, e->node, e->stripe);
}

void ask_event(struct sim *w, const struct sim_event *e)
{
    struct sim_piece *p = sim_piece_of(w, e->node, e->stripe);

    if (!w->nodes[e->node].alive || p->turn != e->turn || p->state != SIM_ASKING) {
        /* nobody waits for it any more */
        if (e->via >= 0)
            ask_return(w, e->via, e->via_slot, e->stripe);
        if (e->kind == SIM_ASK && e->peer == w->total)
            ask_registry_ended(w, e->node, e->stripe);
        return;
    }
    switch (e->kind) {
    case SIM_ASK:
        if (e->peer == w->total) {
            net_flow_new(w, w->total, e->node, e->stripe, w->now + w->o.registry_rtt / 2, p->have);
        } else if (!w->nodes[e->peer].alive || !sim_reaches(w, e->node, e->peer)) {
            struct sim_event failed = *e;
            failed.kind = SIM_FAILED;
            failed.at = w->now + SIM_SILENCE_S;
            queue_put(w, failed);
        } else {
            ask_answer(w, e);
        }
        break;
    case SIM_SENT_ON:
        ask_send(w, e->node, e->stripe, e->peer, SIM_IF_THERE);
        break;
    default: /* refused, or failed */
        if (e->kind == SIM_FAILED)
            ask_note_failure(w, e->node, e->peer);
        ask_elsewhere(w, e);
    }
}

/* ---- its end ---- */

static void ask_release(struct sim *w, const struct sim_flow *f)
{
    if (f->src == w->total)
        ask_registry_ended(w, f->dst, f->stripe);
    else
        w->nodes[f->src].serving--;
    ask_return(w, f->via, f->via_slot, f->stripe);
}

void ask_completed(struct sim *w, int flow)
{
    struct sim_flow f = w->flows[flow];
    struct sim_piece *p = sim_piece_of(w, f.dst, f.stripe);

    net_flow_end(w, flow);
    p->state = SIM_HERE;
    p->turn++;
    net_piece_moves(w, p, SIM_PARENT_HERE);
    if (f.src != w->total && !w->o.early && w->mirror < 0 && w->nodes[f.src].alive)
        ask_learn(w, f.via >= 0 ? f.via : f.src, f.stripe, f.dst);
    ask_release(w, &f);
    pull_has(w, f.dst, f.stripe);
}

/* `told`: the receiver lives, and is to find out. */
void ask_broken(struct sim *w, int flow, bool told)
{
    struct sim_flow f = w->flows[flow];
    struct sim_piece *p = sim_piece_of(w, f.dst, f.stripe);

    net_flow_end(w, flow);
    p->state = SIM_ASKING;
    net_piece_moves(w, p, SIM_PARENT_WAITS);
    ask_release(w, &f);
    p->via = -1;
    p->turn++;
    if (told)
        queue_put(w, ask_event_of(w, SIM_FAILED, w->now + SIM_SILENCE_S, f.dst, f.stripe));
}
