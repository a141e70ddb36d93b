/* sim.h - a cluster of entrepots under a virtual network and clock: which node asks which, and how long it takes.
 *
 * Time goes in steps (sim_options.step). Within a step requests and time-outs are events at their exact times; bytes
 * move at its end: each exchange is a flow over the sender's and the receiver's link, which are shared out in a few
 * rounds (net.c). What a node
 * decides is the product's own: cluster/ring.c and proxy/fetch/stripes.c.
 *
 *     main.c ── table.c ── world.c ┬ life.c    deaths, joins, a zone that is cut off
 *                                  ├ pull.c    an image: layers, and which stripes of them are wanted next
 *                                  ├ ask.c     one stripe: the home, the next, the registry; what a node answers
 *                                  ├ net.c     flows and links
 *                                  └ queue.c   events
 */
#ifndef ENTREPOT_TESTS_SIM_H
#define ENTREPOT_TESTS_SIM_H

#include "proxy/fetch/stripes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_LAYERS_MAX = 16,
    SIM_ZONES_MAX = 8,
    SIM_PEER_EXCHANGES = 6,     /* of a blob that a client of this node wants */
    SIM_REGISTRY_EXCHANGES = 4, /* of a blob */
    SIM_SERVES = 4,             /* exchanges, before a home answers with another node's address */
    SIM_SENDS_EACH = 2,         /* requests that a home has sent to a node, at a time */
    SIM_KNOWN_MAX = 16384,      /* nodes that a home knows to have a stripe */
};
#define SIM_CONNECT_S 0.25 /* until a dead node is noticed before the answer */
#define SIM_SILENCE_S 0.7  /* and behind it */
#define SIM_LEASE_S   10.0 /* until a dead node is off the list */

enum sim_mode { SIM_PEERS, SIM_ALONE, SIM_MIRROR };

struct sim_options {
    enum sim_mode mode;
    int nodes, zones, layers, layers_at_once;
    double image;                           /* bytes */
    double link, mirror_link;               /* bytes a second, each way */
    double registry_link, registry_each;    /* of all exchanges, of one */
    double registry_requests;               /* a second; 0: no limit */
    double zone_rtt, far_rtt, registry_rtt; /* seconds */
    double step;                            /* seconds; 0: by the size */
    int waves;                              /* a rolling update: so many parts of the nodes, one after another */
    double wave_every;                      /* seconds */
    int deaths, joins;                      /* nodes, spread over churn_s */
    double churn_s;
    double cut_at; /* seconds: zone 0 reaches no other one; 0: never */
    bool spread;   /* each node begins at another stripe, not at the first */
    bool sized;    /* the size is known before the first answer: by the manifest */
    int known;     /* nodes that a home remembers for a stripe; 0: SIM_KNOWN_MAX */
    bool early;    /* nodes that are still receiving a stripe count as having it */
};

struct sim_result {
    double upstream;                 /* bytes */
    int64_t requests, asks, sent_on; /* to the registry; between nodes; answered with another node's address */
    int64_t failures;                /* requests to nodes that did not answer */
    double p50, p99, max;            /* seconds of a node's pull */
    double load;              /* of the most loaded node's link, up or down, from the first to the last byte: 0 to 1 */
    double busiest, median;   /* bytes sent by the node that sent most, and by the middle one */
    double between;           /* bytes between zones */
    int finished, unfinished; /* nodes that live */
    bool conserved;           /* each got as many bytes as the image has */
};

struct sim_blob {
    double size;
    int64_t stripe;
    int first, count; /* stripes, in the numbering of all blobs */
    uint64_t key;
};

/* The nodes as a list says them; it does not change. */
struct sim_view {
    struct ring_node *nodes;
    int *ids, count;
    struct stripe_map *maps[SIM_LAYERS_MAX][SIM_ZONES_MAX];   /* of nodes that are no home */
    struct stripe_map *homes[SIM_LAYERS_MAX][RING_HOMES_MAX]; /* of the homes among all nodes */
    struct sim_view *older;
};

enum sim_piece_state { SIM_ABSENT, SIM_ASKING, SIM_ARRIVING, SIM_HERE };

/* A stripe at a node. */
struct sim_piece {
    int from;                   /* whom it was requested from */
    int flow;                   /* that brings it; -1: none */
    int children;               /* first of the flows that wait for what arrives here; -1: none */
    int via;                    /* the home that named `from`; -1: none */
    int via_slot;               /* its place in that home's list */
    uint32_t have;              /* bytes, while no flow brings it */
    uint16_t turn;              /* events of an earlier one are stale */
    uint8_t state, tried, hops; /* `tried`: struct stripe_now */
    uint8_t asks, place;        /* with which hops; struct stripe_choice */
    bool own;                   /* counts among the exchanges of this node's client */
};

struct sim_known {
    int count;
    int size;
    struct sim_known_node {
        int node, busy;
    } * list;
};

/* A blob at a node. */
struct sim_fetch {
    struct sim_view *view;
    int done, next, own, upstream;
    int *queue, queued, queue_size; /* stripes that wait for an exchange with the registry */
    bool wanted, sized;
};

struct sim_rest {
    int peer, failures;
    double until;
};

struct sim_node {
    bool alive, pulls, finished, noticed;
    int zone, active, next_blob, blobs_done;
    int serving; /* exchanges */
    double began, ended;
    struct sim_rest *rests;
    int rest_count, rest_size;
    struct sim_fetch fetches[SIM_LAYERS_MAX];
};

enum { SIM_PARENT_HERE = -1, SIM_PARENT_WAITS = -2 };

struct sim_flow {
    bool used;
    int src, dst, stripe;
    int parent;         /* the flow that brings src the same stripe, or one of the above */
    int before, behind; /* among the children of src's piece */
    int via, via_slot;
    double got, end, start, rate;
};

enum sim_event_kind {
    SIM_BEGIN,   /* node: its client pulls */
    SIM_ASK,     /* node's request for stripe is at peer */
    SIM_SENT_ON, /* node is told to request it from peer */
    SIM_REFUSED, /* peer does not have it */
    SIM_FAILED,  /* peer does not answer */
    SIM_DIES,
    SIM_JOINS,
    SIM_CUT,
    SIM_NOTICED /* the list changes */
};
enum { SIM_INSIST = 1, SIM_IF_THERE = 2 };

struct sim_event {
    double at;
    int64_t order;
    enum sim_event_kind kind;
    int node, peer, stripe;
    int via, via_slot;
    uint16_t turn;
    uint8_t hops, flags;
};

struct sim {
    struct sim_options o;
    struct sim_result result;
    struct sim_blob blobs[SIM_LAYERS_MAX];
    int total;    /* nodes, with those that join; the registry has this number */
    int mirror;   /* the mirror's number; -1: none */
    int stripes;  /* of all blobs */
    int *blob_of; /* by stripe */
    struct sim_node *nodes;
    struct sim_piece *pieces;              /* of node 0, of node 1, ... */
    struct sim_known *known;               /* the same */
    struct sim_view *views[2], *all_views; /* the present list, and that of the zone that is cut off */
    bool cut;
    double now, step, registry_free;
    int pulling; /* nodes that have not finished */
    uint64_t random;
    /* queue.c */
    struct sim_event *heap;
    int events, heap_size;
    int64_t order;
    /* net.c */
    struct sim_flow *flows;
    int flow_top, flow_size, *free_flows, free_count;
    double *capacity, *slack, *sent, *received; /* links: each node's (and the registry's) up, then down */
    int *sharing;
    struct net_share *shares;
    int share_size, *ended, ended_size;
};

/* world.c */
void sim_run(const struct sim_options *o, struct sim_result *out);
struct sim_piece *sim_piece_of(struct sim *w, int node, int stripe);
double sim_stripe_size(const struct sim *w, int stripe);
double sim_rtt(const struct sim *w, int a, int b);
bool sim_reaches(const struct sim *w, int a, int b);
uint32_t sim_random(struct sim *w, uint32_t below);
void *sim_alloc(size_t count, size_t size);
/* For an array of `*size` elements that is to hold one more than `count`. */
void *sim_grow(void *list, int count, int *size, size_t each);

/* queue.c */
void queue_put(struct sim *w, struct sim_event e);
bool queue_take(struct sim *w, double until, struct sim_event *out);

/* net.c */
void net_prepare(struct sim *w);
int net_flow_new(struct sim *w, int src, int dst, int stripe, double start, double got);
void net_flow_end(struct sim *w, int flow);
void net_piece_moves(struct sim *w, struct sim_piece *p, int parent); /* its children now follow this */
void net_step(struct sim *w);

/* ask.c */
void ask_for(struct sim *w, int node, int stripe, int hops);
void ask_event(struct sim *w, const struct sim_event *e);
void ask_completed(struct sim *w, int flow);
void ask_broken(struct sim *w, int flow, bool told);

/* pull.c */
void pull_begin(struct sim *w, int node);
void pull_first_bytes(struct sim *w, int node, int blob);
void pull_has(struct sim *w, int node, int stripe);

/* life.c */
struct sim_view *life_view(struct sim *w, bool is_cut_off);
const struct stripe_map *life_map(struct sim *w, struct sim_view *v, int blob, int node);
void life_view_free(struct sim_view *v);
/* Its place in a list that it is on. */
int life_place(const struct sim_view *v, int node);
struct sim_view *life_view_of(struct sim *w, int node);
void life_plan(struct sim *w);
void life_event(struct sim *w, const struct sim_event *e);

#endif
