#include "proxy/seen/parts.h"

#include "cache/cache.h"

struct parts_search {
    const struct manifest *m;
    struct pull_parts *out;
};

static bool is_shown(const struct part *p, bool is_index)
{
    return is_index ? p->role == PART_MANIFEST
                    : (p->role == PART_CONFIG || p->role == PART_LAYER) && !part_is_foreign(p);
}

static void parts_list(struct index_txn *t, void *arg)
{
    const struct parts_search *s = arg;
    struct blob_row row;

    for (size_t i = 0; i < s->m->count && s->out->count < PULL_PARTS_MAX; i++) {
        const struct part *part = &s->m->parts[i];
        struct pull_part *to = &s->out->list[s->out->count];
        if (!is_shown(part, s->out->is_index))
            continue;
        to->digest = part->digest;
        to->size = part->size;
        to->here = rows_get_blob(t, &part->digest, &row);
        snprintf(to->platform, sizeof(to->platform), "%s", part->platform);
        s->out->count++;
    }
}

bool pull_parts_look(void *cache, const char *name, const struct digest *manifest, struct pull_parts *out)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit;

    *out = (struct pull_parts){0};
    cache_find(cache, name, NULL, manifest, &hit);
    out->is_private = hit.repo_private;
    if (!hit.stored || !(hit.blob.flags & BLOB_MANIFEST))
        return false;
    _cleanup_body_ struct body *body = cache_manifest_at_hand(cache, manifest);
    if (!body || !manifest_parse(&m, body->data, body->len, NULL))
        return false;
    out->is_index = m.kind == MANIFEST_INDEX;
    out->list = xcalloc(m.count + 1, sizeof(*out->list));
    cache_read(cache, parts_list, &(struct parts_search){&m, out});
    return true;
}

bool pull_parts_came(void *cache, const struct digest *blob, int64_t from[PULL_FROMS])
{
    int64_t came[INGEST_FROMS];

    if (!ingests_came(cache_ingests(cache), blob, came))
        return false;
    from[PULL_FROM_CACHE] = 0;
    from[PULL_FROM_UPSTREAM] = came[INGEST_FROM_REGISTRY];
    from[PULL_FROM_PEERS] = came[INGEST_FROM_NODES];
    from[PULL_FROM_SHARED] = came[INGEST_FROM_BUCKET];
    return true;
}

void pull_parts_clear(struct pull_parts *p)
{
    free(p->list);
    *p = (struct pull_parts){0};
}
