#include "sim.h"

/* An image at a node: a few layers at a time, as containerd does; of each, the stripes that are missing, in order, a
 * few at a time. How large a blob is, the first answer tells: until then there is one exchange. */

static void pull_fill(struct sim *w, int node, int blob)
{
    struct sim_fetch *f = &w->nodes[node].fetches[blob];
    const struct sim_blob *b = &w->blobs[blob];
    int most = f->sized ? SIM_PEER_EXCHANGES : 1;

    /* a node that begins elsewhere still asks for the first stripe first */
    int shift = w->o.spread ? (int)(ring_hash(&node, sizeof(node)) % (uint64_t)b->count) : 0;
    while (f->own < most && f->next < b->count) {
        int k = w->o.sized     ? (f->next + shift) % b->count
                : f->next == 0 ? 0
                               : 1 + (f->next - 1 + shift) % (b->count - 1);
        struct sim_piece *p = sim_piece_of(w, node, b->first + k);
        f->next++;
        if (p->state != SIM_ABSENT)
            continue;
        p->own = true;
        f->own++;
        ask_for(w, node, b->first + k, 0);
    }
}

static void pull_layers(struct sim *w, int node)
{
    struct sim_node *n = &w->nodes[node];

    while (n->active < w->o.layers_at_once && n->next_blob < w->o.layers) {
        int blob = n->next_blob++;
        struct sim_fetch *f = &n->fetches[blob];
        f->wanted = true;
        if (f->view == NULL)
            f->view = life_view_of(w, node);
        if (f->done == w->blobs[blob].count) { /* all of it is here, for others */
            n->blobs_done++;
            continue;
        }
        n->active++;
        f->sized = f->sized || f->done > 0 || w->o.sized;
        pull_fill(w, node, blob);
    }
    if (n->blobs_done == w->o.layers && !n->finished) {
        n->finished = true;
        n->ended = w->now;
        w->pulling--;
    }
}

void pull_begin(struct sim *w, int node)
{
    struct sim_node *n = &w->nodes[node];

    if (!n->alive || n->pulls)
        return;
    n->pulls = true;
    n->began = w->now;
    pull_layers(w, node);
}

/* Some bytes have come: with them, or before, the size. */
void pull_first_bytes(struct sim *w, int node, int blob)
{
    struct sim_fetch *f = &w->nodes[node].fetches[blob];

    if (f->sized)
        return;
    f->sized = true;
    if (f->wanted)
        pull_fill(w, node, blob);
}

void pull_has(struct sim *w, int node, int stripe)
{
    int blob = w->blob_of[stripe];
    struct sim_node *n = &w->nodes[node];
    struct sim_fetch *f = &n->fetches[blob];
    struct sim_piece *p = sim_piece_of(w, node, stripe);

    f->done++;
    if (p->own)
        f->own--;
    p->own = false;
    if (!f->wanted)
        return;
    if (f->done < w->blobs[blob].count) {
        pull_fill(w, node, blob);
        return;
    }
    n->active--;
    n->blobs_done++;
    pull_layers(w, node);
}
