/* The pulls in flight, and the blobs of each. */
#include "proxy/seen/pull_private.h"

#include "base/assert.h"
#include "base/lookup.h"

#include <string.h>

static uint64_t pull_hash(const struct pull_request *r)
{
    return lookup_hash(r->client, strlen(r->client)) ^ lookup_hash(r->agent, strlen(r->agent)) * 31 ^
           lookup_hash(r->name, strlen(r->name)) * 127;
}

static bool is_same(const struct pull_going *g, const struct pull_request *r, uint64_t hash)
{
    return g->hash == hash && strcmp(g->seen.name, r->name) == 0 && strcmp(g->seen.client, r->client) == 0 &&
           strcmp(g->seen.agent, r->agent) == 0;
}

static bool going_has_child(const struct pull_going *g, const struct digest *d)
{
    for (int i = 0; i < g->child_count; i++)
        if (digest_eq(&g->children[i].digest, d))
            return true;
    return false;
}

static bool has_manifest(const struct pull_going *g, const struct pull_request *r)
{
    if (r->tag[0])
        return strcmp(g->seen.tag, r->tag) == 0;
    for (int i = 0; i < g->image_count; i++)
        if (digest_eq(&g->images[i], &r->asked))
            return true;
    return digest_eq(&g->seen.digest, &r->asked) || going_has_child(g, &r->asked);
}

/* How well a request for a blob fits: it waits for it; it names it; it may. 0: not at all. */
static int blob_fits(const struct pull_going *g, const struct digest *d)
{
    const struct pull_layer *l = going_layer_find(g, d);

    if (l && l->known)
        return l->done && l->under_way == 0 ? 3 : 4;
    return l ? 2 : 1;
}

struct pull_going *going_find(struct pulls *p, const struct pull_request *r)
{
    uint64_t hash = pull_hash(r);
    struct pull_going *g, *best = NULL;
    int most = 0;

    ON_LOOP(p->loop);
    LIST_FOREACH(g, &p->buckets[hash % PULL_BUCKETS], same_hash) {
        if (!is_same(g, r, hash))
            continue;
        int fits = r->blob ? blob_fits(g, &r->asked) : has_manifest(g, r) ? 4 : 0;
        if (fits > most || (fits == most && fits > 0 && best && g->last_ms > best->last_ms)) {
            most = fits;
            best = g;
        }
    }
    return best;
}

struct pull_going *going_begin(struct pulls *p, const struct pull_request *r)
{
    struct pull_going *g = xcalloc(1, sizeof(*g));
    struct pull_seen *s = &g->seen;

    ON_LOOP(p->loop);
    g->hash = pull_hash(r);
    snprintf(s->id, sizeof(s->id), "%s", r->id);
    snprintf(s->client, sizeof(s->client), "%s", r->client);
    snprintf(s->agent, sizeof(s->agent), "%s", r->agent);
    snprintf(s->name, sizeof(s->name), "%s", r->name);
    snprintf(s->tag, sizeof(s->tag), "%s", r->blob ? "" : r->tag);
    s->engine = seen_engine_of(r->agent);
    if (!r->blob)
        s->digest = r->asked;
    s->begun_ms = s->ended_ms = r->at_ms;
    g->last_ms = r->ended_ms;
    LIST_INSERT_HEAD(&p->buckets[g->hash % PULL_BUCKETS], g, same_hash);
    TAILQ_INSERT_HEAD(&p->going, g, entry);
    p->count++;
    return g;
}

void going_free(struct pulls *p, struct pull_going *g)
{
    ON_LOOP(p->loop);
    TAILQ_REMOVE(&p->going, g, entry);
    LIST_REMOVE(g, same_hash);
    p->count--;
    for (int i = 0; i < g->layer_count; i++)
        free(g->layers[i].failure);
    free(g->layers);
    free(g->children);
    free(g->failure);
    free(g->seen.cause);
    free(g);
}

void going_touch(struct pulls *p, struct pull_going *g, int64_t now_ms)
{
    ON_LOOP(p->loop);
    g->last_ms = MAX(g->last_ms, now_ms);
    TAILQ_REMOVE(&p->going, g, entry);
    TAILQ_INSERT_HEAD(&p->going, g, entry);
}

/* ---- blobs ---- */

struct pull_layer *going_layer_find(const struct pull_going *g, const struct digest *d)
{
    for (int i = 0; i < g->layer_count; i++)
        if (digest_eq(&g->layers[i].digest, d))
            return &g->layers[i];
    return NULL;
}

struct pull_layer *going_layer(struct pull_going *g, const struct digest *d)
{
    struct pull_layer *l = going_layer_find(g, d);

    if (l || g->layer_count == PULL_LAYERS_MAX)
        return l;
    if (g->layer_count == g->layer_cap) {
        g->layer_cap = MAX(g->layer_cap * 2, 16);
        g->layers = xrealloc(g->layers, (size_t)g->layer_cap * sizeof(*g->layers));
    }
    l = &g->layers[g->layer_count++];
    *l = (struct pull_layer){.digest = *d, .size = -1, .here = true};
    return l;
}

static void add_layers(struct pull_going *g, const struct pull_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        const struct pull_part *part = &parts->list[i];
        struct pull_layer *l = going_layer(g, &part->digest);
        if (!l || l->known)
            continue;
        l->known = true;
        l->size = part->size;
        l->here = part->here && !l->fetched;
        g->seen.blobs++;
        g->seen.blobs_done += l->done ? 1 : 0;
        g->seen.size += part->size;
        g->seen.missing += l->here ? 0 : part->size;
    }
}

static void add_children(struct pull_going *g, const struct pull_parts *parts)
{
    size_t count = MIN(parts->count, (size_t)PULL_CHILDREN_MAX);

    free(g->children);
    g->children = xcalloc(count + 1, sizeof(*g->children));
    g->child_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        g->children[i].digest = parts->list[i].digest;
        memcpy(g->children[i].platform, parts->list[i].platform, sizeof(g->children[i].platform));
    }
}

void going_add_parts(struct pull_going *g, const struct digest *manifest, const struct pull_parts *parts)
{
    struct pull_seen *s = &g->seen;

    if (parts->is_index) {
        add_children(g, parts);
        return;
    }
    for (int i = 0; i < g->child_count; i++)
        if (digest_eq(&g->children[i].digest, manifest))
            snprintf(s->platform, sizeof(s->platform), "%s", g->image_count > 0 ? "several" : g->children[i].platform);
    if (g->image_count < (int)ARRAY_LEN(g->images))
        g->images[g->image_count++] = *manifest;
    add_layers(g, parts);
}

bool going_is_counted(const struct pulls *p, const struct pull_going *but, const struct digest *d)
{
    const struct pull_going *g;

    TAILQ_FOREACH(g, &p->going, entry) {
        const struct pull_layer *l = g != but ? going_layer_find(g, d) : NULL;
        if (l && l->fetched)
            return true;
    }
    return false;
}

bool going_is_done(const struct pull_going *g)
{
    return g->under_way == 0 && g->seen.blobs > 0 && g->seen.blobs_done == g->seen.blobs;
}
