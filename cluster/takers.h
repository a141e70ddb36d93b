/* takers.h - whom a home has sent a stripe to: while it is busy it names one of them to the next node that asks, so
 * that every node that has parts serves them.
 *
 *     home ─┬─▶ a ─┬─▶ c      Each is named to TAKERS_CHILDREN others at most, the first that came first: a tree, each
 *           │      └─▶ d      of whose nodes sends the stripe on while it still receives it.
 *           └─▶ b ───▶ e
 *
 * A node that is named and does not have it costs one question: the asking node comes back, and says which. Any thread.
 */
#ifndef ENTREPOT_CLUSTER_TAKERS_H
#define ENTREPOT_CLUSTER_TAKERS_H

#include "cluster/peers.h"

enum {
    TAKERS_BUSY = 4, /* nodes that are being sent something: a home with as many names another */
    TAKERS_CHILDREN = 2,
    TAKERS_STRIPES = 256, /* that are remembered; the least recently used one is forgotten */
    TAKERS_NODES = 4096,  /* of one stripe */
    TAKERS_LIFE_MS = 5 * 60 * 1000,
};

struct takers;

struct takers *takers_new(void);
void takers_free(struct takers *t); /* may be NULL */
/* `who` asks for the stripe at `first`; `bad` is the address of one that was named and failed, or NULL. Returns the
 * node that it should ask instead, a reference; NULL: it is to be served here. */
struct peer *takers_choose(struct takers *t, const struct digest *d, int64_t first, struct peer *who, const char *bad);
/* Something is being sent to another node, and no longer. */
void takers_begin(struct takers *t);
void takers_end(struct takers *t);

#endif
