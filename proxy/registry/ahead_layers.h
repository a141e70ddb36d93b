/* ahead_layers.h - which image a layer belongs to, and its other layers (readahead.h). One loop. */
#ifndef ENTREPOT_PROXY_REGISTRY_AHEAD_LAYERS_H
#define ENTREPOT_PROXY_REGISTRY_AHEAD_LAYERS_H

#include "cache/cache.h"

enum ahead_state {
    LAYER_UNTOUCHED,
    LAYER_READING, /* it is being read ahead */
    LAYER_READ,    /* it was; no client has requested it since */
    LAYER_LEFT,    /* to clients: requested by one, here already, given up, or not to be read ahead */
};

struct ahead_layer {
    struct digest digest;
    int64_t size;  /* bytes, as the manifest has it */
    bool seekable; /* made to be fetched in pieces */
    enum ahead_state state;
};

/* Each digest once, in the manifest's order. */
struct ahead_layers {
    struct digest manifest;
    struct ahead_layer *list;
    size_t count;
};

/* The image of this repository which names the layer, and of several the one whose manifest was used last, within the
 * last hour. False: there is none that is here. */
bool ahead_layers_find(struct ahead_layers *l, struct cache *c, const char *repo, const struct digest *layer);
/* NULL: it has no such layer. */
struct ahead_layer *ahead_layers_get(const struct ahead_layers *l, const struct digest *d);
void ahead_layers_free(struct ahead_layers *l);

#endif
