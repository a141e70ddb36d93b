#include "sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One run, from the options to the figures. */

#define SIM_END_S 7200.0 /* a run that takes longer is given up */

void *sim_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);

    if (p == NULL)
        abort();
    return p;
}

void *sim_grow(void *list, int count, int *size, size_t each)
{
    if (count < *size)
        return list;
    *size = *size ? 2 * *size : 16;
    list = realloc(list, (size_t)*size * each);
    if (list == NULL)
        abort();
    return list;
}

struct sim_piece *sim_piece_of(struct sim *w, int node, int stripe)
{
    return &w->pieces[(size_t)node * (size_t)w->stripes + (size_t)stripe];
}

double sim_stripe_size(const struct sim *w, int stripe)
{
    const struct sim_blob *b = &w->blobs[w->blob_of[stripe]];
    double left = b->size - (double)(stripe - b->first) * (double)b->stripe;

    return left < (double)b->stripe ? left : (double)b->stripe;
}

double sim_rtt(const struct sim *w, int a, int b)
{
    return w->nodes[a].zone == w->nodes[b].zone ? w->o.zone_rtt : w->o.far_rtt;
}

bool sim_reaches(const struct sim *w, int a, int b)
{
    return !w->cut || (w->nodes[a].zone == 0) == (w->nodes[b].zone == 0);
}

/* xorshift64*: the same in every run. */
uint32_t sim_random(struct sim *w, uint32_t below)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (uint32_t)((w->random * 0x2545f4914f6cdd1dULL >> 32) % below);
}

/* Each layer is a little more than half of the one before. */
static void sim_image(struct sim *w)
{
    double weight = 0, left = floor(w->o.image);

    for (int i = 0; i < w->o.layers; i++)
        weight += pow(0.6, i);
    for (int i = 0; i < w->o.layers; i++) {
        struct sim_blob *b = &w->blobs[i];
        char digest[32];
        int len = snprintf(digest, sizeof(digest), "sha256:layer-%d", i);
        b->size = i + 1 < w->o.layers ? floor(w->o.image * pow(0.6, i) / weight) : left;
        left -= b->size;
        b->stripe = ring_stripe((int64_t)b->size);
        b->first = w->stripes;
        b->count = (int)ceil(b->size / (double)b->stripe);
        b->key = ring_hash(digest, (size_t)len);
        w->stripes += b->count;
    }
    w->blob_of = sim_alloc((size_t)w->stripes, sizeof(int));
    for (int i = 0; i < w->o.layers; i++)
        for (int k = 0; k < w->blobs[i].count; k++)
            w->blob_of[w->blobs[i].first + k] = i;
}

static void sim_build(struct sim *w, const struct sim_options *o)
{
    w->o = *o;
    w->random = 88172645463325252ULL;
    w->mirror = o->mode == SIM_MIRROR ? o->nodes + o->joins : -1;
    w->total = o->nodes + o->joins + (o->mode == SIM_MIRROR);
    w->step = o->step > 0 ? o->step : o->nodes > 3000 ? 0.025 : o->nodes > 300 ? 0.01 : 0.005;
    if (o->step == 0 && o->mode != SIM_PEERS) /* few events, which last for long */
        w->step = o->nodes > 300 ? 0.1 : 0.02;
    if (o->step == 0 && o->link > 2e8)
        w->step /= 4;
    sim_image(w);
    w->nodes = sim_alloc((size_t)w->total, sizeof(*w->nodes));
    w->pieces = sim_alloc((size_t)w->total * (size_t)w->stripes, sizeof(*w->pieces));
    w->known = sim_alloc((size_t)w->total * (size_t)w->stripes, sizeof(*w->known));
    for (size_t i = 0; i < (size_t)w->total * (size_t)w->stripes; i++)
        w->pieces[i].flow = w->pieces[i].children = w->pieces[i].via = -1;
    for (int i = 0; i < w->total; i++) {
        w->nodes[i].zone = i % o->zones;
        w->nodes[i].alive = w->nodes[i].noticed = i < o->nodes || i == w->mirror;
    }
    if (o->known == 0)
        w->o.known = SIM_KNOWN_MAX;
    w->pulling = o->nodes + o->joins;
    w->views[0] = w->views[1] = life_view(w, false);
    net_prepare(w);
    life_plan(w);
}

static int sim_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void sim_figures(struct sim *w)
{
    struct sim_result *r = &w->result;
    double *took = sim_alloc((size_t)w->total, sizeof(double)), last = 0;
    double *sent = sim_alloc((size_t)w->total, sizeof(double));
    int n = 0;

    r->conserved = true;
    for (int i = 0; i < w->total; i++) {
        struct sim_node *node = &w->nodes[i];
        r->unfinished += node->alive && !node->finished && i != w->mirror;
        sent[i] = w->sent[i];
        if (!node->finished || !node->alive)
            continue;
        took[n++] = node->ended - node->began;
        last = node->ended > last ? node->ended : last;
        r->conserved = r->conserved && fabs(w->received[i] - w->o.image) < 1e-6 * w->o.image + 1;
    }
    qsort(took, (size_t)n, sizeof(*took), sim_compare);
    qsort(sent, (size_t)w->total, sizeof(*sent), sim_compare);
    for (int i = 0; i < w->total; i++) {
        double most = w->sent[i] > w->received[i] ? w->sent[i] : w->received[i];
        double load = last > 0 ? most / w->capacity[(size_t)2 * (size_t)i] / last : 0;
        r->load = load > r->load ? load : r->load;
    }
    r->finished = n;
    r->p50 = n ? took[(n - 1) / 2] : 0;
    r->p99 = n ? took[(int)ceil(0.99 * n) - 1] : 0;
    r->max = n ? took[n - 1] : 0;
    r->busiest = sent[w->total - 1];
    r->median = sent[w->total / 2];
    r->upstream = w->sent[w->total];
    free(took);
    free(sent);
}

static void sim_free(struct sim *w)
{
    for (size_t i = 0; i < (size_t)w->total * (size_t)w->stripes; i++)
        free(w->known[i].list);
    for (int i = 0; i < w->total; i++) {
        free(w->nodes[i].rests);
        for (int k = 0; k < SIM_LAYERS_MAX; k++)
            free(w->nodes[i].fetches[k].queue);
    }
    for (struct sim_view *v = w->all_views, *older; v; v = older) {
        older = v->older;
        life_view_free(v);
    }
    void *parts[] = {w->blob_of,  w->nodes, w->pieces, w->known,    w->heap,    w->flows,  w->free_flows,
                     w->capacity, w->slack, w->sent,   w->received, w->sharing, w->shares, w->ended};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        free(parts[i]);
}

void sim_run(const struct sim_options *o, struct sim_result *out)
{
    struct sim w = {0};
    struct sim_event e;

    sim_build(&w, o);
    while (w.pulling > 0 && w.now < SIM_END_S) {
        double until = w.now + w.step, started = w.now;
        while (queue_take(&w, until, &e)) {
            w.now = e.at > started ? e.at : started;
            if (e.kind == SIM_BEGIN)
                pull_begin(&w, e.node);
            else if (e.kind >= SIM_DIES)
                life_event(&w, &e);
            else
                ask_event(&w, &e);
        }
        w.now = started;
        net_step(&w);
    }
    sim_figures(&w);
    *out = w.result;
    sim_free(&w);
}
