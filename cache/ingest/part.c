/* Parts at rest, as the index knows them: no ingest has to take them up for that. */
#include "cache/ingest/private.h"

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
