/* Parts at rest, as the index knows them: no ingest has to take them up for that. */
#include "cache/ingest/private.h"

#include "base/assert.h"

int64_t ingest_part_bytes(struct index_txn *t, const struct digest *d, int64_t *size)
{
    struct ingest_row row;
    int64_t segments = 0;

    if (!rows_get_ingest(t, d, &row) || row.size <= 0)
        return 0;
    int64_t segment = ingest_segment_of(row.size), last = (row.size - 1) / segment;
    for (size_t k = 0; k < row.bitmap_len; k++)
        segments += __builtin_popcount(row.bitmap[k]);
    bool has_last = (size_t)(last / 8) < row.bitmap_len && row.bitmap[last / 8] >> (last % 8) & 1;
    *size = row.size;
    /* The last segment may be shorter. */
    return MIN(segments * segment - (has_last ? (last + 1) * segment - row.size : 0), row.size);
}

/* ---- for whom ---- */

struct reader_query {
    const struct digest *d;
    const char *repo;
    bool may;
};

static void read_readers(struct index_txn *t, void *arg)
{
    struct reader_query *q = arg;
    uint64_t id = rows_repo_id(t, q->repo);
    struct ingest_row row;

    if (id == 0 || !rows_get_ingest(t, q->d, &row))
        return;
    for (size_t i = 0; i < row.repo_count; i++)
        q->may = q->may || row.repos[i].id == id;
    /* That a manifest names a private blob proves nothing: anybody can write one. */
    q->may = q->may || (!row.is_private && rows_linked(t, id, q->d));
}

bool ingests_part_is_of(struct ingests *all, const struct digest *d, const char *repo)
{
    struct reader_query q = {d, repo, false};

    index_read(all->index, read_readers, &q);
    return q.may;
}

/* ---- how large ---- */

struct map_query {
    const struct digest *d;
    struct part_map *map;
    bool found;
};

static void read_size(struct index_txn *t, void *arg)
{
    struct map_query *q = arg;
    struct ingest_row row;

    q->map->size = rows_get_ingest(t, q->d, &row) ? row.size : -1;
}

int64_t ingests_size_of_part(struct ingests *all, const struct digest *d)
{
    struct part_map map;

    index_read(all->index, read_size, &(struct map_query){d, &map, false});
    return map.size;
}

int64_t ingests_size_of_arriving(struct ingests *all, const struct digest *d)
{
    int64_t size = -1;
    struct ingest *i;

    pthread_mutex_lock(&all->lock);
    TAILQ_FOREACH(i, &all->list, entry) {
        if (!digest_eq(&i->digest, d) || i->relay || !i->is_public)
            continue;
        pthread_mutex_lock(&i->lock);
        size = i->state == INGEST_FAILED ? -1 : i->size;
        pthread_mutex_unlock(&i->lock);
    }
    pthread_mutex_unlock(&all->lock);
    return size;
}

/* ---- which bytes ---- */

static void read_map(struct index_txn *t, void *arg)
{
    struct map_query *q = arg;
    struct ingest_row row;

    q->found = rows_get_ingest(t, q->d, &row) && row.size >= 0;
    if (!q->found)
        return;
    *q->map = (struct part_map){.size = row.size, .segment = ingest_segment_of(row.size)};
    q->map->segments = MIN((int64_t)row.bitmap_len * 8, (row.size + q->map->segment - 1) / q->map->segment);
    q->map->bitmap = xmalloc(row.bitmap_len + 1);
    memcpy(q->map->bitmap, row.bitmap, row.bitmap_len);
}

bool ingests_map_part(struct ingests *all, const struct digest *d, struct part_map *map)
{
    struct map_query q = {d, map, false};
    struct ingest *i;

    index_read(all->index, read_map, &q);
    pthread_mutex_lock(&all->lock);
    TAILQ_FOREACH(i, &all->list, entry)
        if (digest_eq(&i->digest, d) && !i->relay)
            break;
    pthread_mutex_unlock(&all->lock);
    if (q.found && i)
        part_map_clear(map);
    return q.found && !i;
}

void part_map_clear(struct part_map *map)
{
    free(map->bitmap);
    map->bitmap = NULL;
}

static bool map_has(const struct part_map *map, int64_t segment)
{
    return map->bitmap[segment / 8] >> (segment % 8) & 1;
}

bool part_map_next(const struct part_map *map, int64_t from, int64_t *first, int64_t *end)
{
    int64_t s = (from + map->segment - 1) / map->segment;

    while (s < map->segments && !map_has(map, s))
        s++;
    *first = s * map->segment;
    bool found = s < map->segments;
    while (s < map->segments && map_has(map, s))
        s++;
    *end = MIN(s * map->segment, map->size);
    return found;
}

bool part_map_eq(const struct part_map *a, const struct part_map *b)
{
    return a->size == b->size && a->segments == b->segments &&
           memcmp(a->bitmap, b->bitmap, (size_t)(a->segments + 7) / 8) == 0;
}
