/* Which bytes of a blob are here: a bitmap of whole segments, and for each segment that is arriving the end of what is
 * here of it, its front. Sources may fill any number of segments at the same time, each from its start; what is here is
 * never written again.
 *
 *     blob     |xxxxxxxxxxxxxxxxxx|xxxx      |          |xxxxxxxxxxx|xx        |
 *     bitmap    1   1   1   1   1      0          0        1    1       0
 *     fronts                          ^ end                              ^ end
 *     prefix   ──────────────────────▶
 */
#include "cache/ingest/private.h"

#include "base/array.h"
#include "base/assert.h"

enum {
    PRESENT_MAX = 16 << 20, /* bytes that are looked at, at a time */
};

static int64_t segment_of(int64_t offset)
{
    return offset / INGEST_SEGMENT;
}

static int64_t segment_start(int64_t segment)
{
    return segment * INGEST_SEGMENT;
}

int64_t ingest_segment_end(const struct ingest *i, int64_t segment)
{
    int64_t end = segment_start(segment + 1);

    return i->size >= 0 ? MIN(end, i->size) : end;
}

bool ingest_has_segment(const struct ingest *i, int64_t segment)
{
    size_t byte = (size_t)segment / 8;

    HOLDS(&i->lock);
    return byte < i->bitmap_len && i->bitmap[byte] >> (segment % 8) & 1;
}

static void set_segment(struct ingest *i, int64_t segment)
{
    size_t byte = (size_t)segment / 8;

    HOLDS(&i->lock);
    if (byte >= i->bitmap_len) {
        size_t len = MAX(byte + 1, 2 * i->bitmap_len);
        i->bitmap = xrealloc(i->bitmap, len);
        memset(i->bitmap + i->bitmap_len, 0, len - i->bitmap_len);
        i->bitmap_len = len;
    }
    i->bitmap[byte] |= (uint8_t)(1 << (segment % 8));
}

/* ---- fronts ---- */

static struct front *front_of(const struct ingest *i, int64_t segment)
{
    HOLDS(&i->lock);
    for (size_t k = 0; k < i->front_count; k++)
        if (i->fronts[k].segment == segment)
            return &i->fronts[k];
    return NULL;
}

static void set_front(struct ingest *i, int64_t segment, int64_t end)
{
    struct front *f = front_of(i, segment);

    if (f)
        f->end = end;
    else
        *ARRAY_NEXT(i->fronts, i->front_count, i->front_cap) = (struct front){segment, end}, i->front_count++;
}

static void drop_front(struct ingest *i, int64_t segment)
{
    struct front *f = front_of(i, segment);

    if (f)
        *f = i->fronts[--i->front_count];
}

void ingest_drop_fronts(struct ingest *i)
{
    HOLDS(&i->lock);
    i->front_count = 0;
    ingest_count_received(i);
}

/* ---- what is here ---- */

int64_t ingest_present(const struct ingest *i, int64_t at)
{
    int64_t to = at, limit = i->size >= 0 ? MIN(i->size, at + PRESENT_MAX) : at + PRESENT_MAX;

    HOLDS(&i->lock);
    while (to < limit && ingest_has_segment(i, segment_of(to)))
        to = ingest_segment_end(i, segment_of(to));
    const struct front *f = to < limit ? front_of(i, segment_of(to)) : NULL;
    return (f ? MAX(f->end, to) : to) - at;
}

void ingest_count_received(struct ingest *i)
{
    HOLDS(&i->lock);
    i->received = i->prefix = 0;
    for (int64_t s = 0; s < (int64_t)i->bitmap_len * 8; s++)
        if (ingest_has_segment(i, s))
            i->received += ingest_segment_end(i, s) - segment_start(s);
    for (size_t k = 0; k < i->front_count; k++)
        i->received += i->fronts[k].end - segment_start(i->fronts[k].segment);
    for (int64_t n = -1; n != 0; i->prefix += n)
        n = ingest_present(i, i->prefix);
}

/* The first byte that can be written at or behind `at`, of which none is here: segments are filled from their start. */
static int64_t next_writable(const struct ingest *i, int64_t at)
{
    const struct front *f = front_of(i, segment_of(at));

    return (f && f->end == at) || at % INGEST_SEGMENT == 0 ? at : segment_start(segment_of(at) + 1);
}

/* The first segment from `s` on, before `end`, of which a byte is here; `end` if there is none. */
static int64_t next_begun(const struct ingest *i, int64_t s, int64_t end)
{
    HOLDS(&i->lock);
    for (size_t k = 0; k < i->front_count; k++)
        if (i->fronts[k].segment >= s)
            end = MIN(end, i->fronts[k].segment);
    int64_t known = MIN(end, (int64_t)i->bitmap_len * 8);
    while (s < known && !ingest_has_segment(i, s))
        s += s % 8 == 0 && i->bitmap[s / 8] == 0 ? 8 : 1;
    return s < known ? s : end;
}

/* One past the last byte that is missing from `at` on, at most `limit`. */
static int64_t missing_end(const struct ingest *i, int64_t at, int64_t limit)
{
    int64_t last = segment_of(limit - 1) + 1;

    return MIN(segment_start(next_begun(i, segment_of(at) + 1, last)), limit);
}

int64_t ingest_writable(const struct ingest *i, int64_t offset, int64_t len, int64_t *skip)
{
    int64_t at = offset, n;

    HOLDS(&i->lock);
    while (at < offset + len) {
        if ((n = ingest_present(i, at)) > 0)
            at += n;
        else if (next_writable(i, at) > at)
            at = next_writable(i, at);
        else
            break;
    }
    *skip = MIN(at - offset, len);
    return *skip == len ? 0 : missing_end(i, at, offset + len) - at;
}

int ingest_note_written(struct ingest *i, int64_t offset, int64_t len)
{
    int64_t end = offset + len;
    int completed = 0;

    HOLDS(&i->lock);
    i->received += len;
    while (offset < end) {
        int64_t segment = segment_of(offset), to = MIN(end, ingest_segment_end(i, segment));
        if (to == ingest_segment_end(i, segment)) {
            set_segment(i, segment);
            drop_front(i, segment);
            completed++;
        } else {
            set_front(i, segment, to);
        }
        offset = to;
    }
    for (int64_t n = -1; n != 0; i->prefix += n)
        n = ingest_present(i, i->prefix);
    return completed;
}

bool ingest_note_size(struct ingest *i, int64_t size)
{
    int64_t last = (int64_t)i->bitmap_len * 8 - 1, end = 0;

    HOLDS(&i->lock);
    while (last >= 0 && !ingest_has_segment(i, last))
        last--;
    end = MAX(end, i->size < 0 ? segment_start(last + 1) : 0);
    for (size_t k = 0; k < i->front_count; k++)
        end = MAX(end, i->fronts[k].end);
    if (end > size)
        return false;
    i->size = size;
    struct front *f = front_of(i, segment_of(size));
    if (f && f->end == size) { /* its end was not known to be one */
        set_segment(i, f->segment);
        drop_front(i, f->segment);
    }
    return true;
}

void ingest_note_end(struct ingest *i)
{
    HOLDS(&i->lock);
    i->size = i->prefix;
    int64_t count = (i->size + INGEST_SEGMENT - 1) / INGEST_SEGMENT;
    for (int64_t s = count; s < (int64_t)i->bitmap_len * 8; s++)
        i->bitmap[s / 8] &= (uint8_t) ~(1 << (s % 8)); /* behind a gap: of no use */
    if (i->size % INGEST_SEGMENT > 0)
        set_segment(i, count - 1);
    i->front_count = 0;
    ingest_count_received(i);
}

int64_t ingest_prefix(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t n = i->prefix;
    pthread_mutex_unlock(&i->lock);
    return n;
}

bool ingest_gap(struct ingest *i, int64_t from, int64_t *first, int64_t *end)
{
    int64_t n, limit;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    from = MAX(from, i->prefix);
    while ((n = ingest_present(i, from)) > 0)
        from += n;
    limit = i->size >= 0 ? i->size : INGEST_SIZE_MAX;
    const struct front *f = front_of(i, segment_of(from));
    *first = f ? f->end : segment_start(segment_of(from));
    *end = missing_end(i, *first, limit);
    if (i->size < 0 && *end >= limit)
        *end = INT64_MAX;
    bool missing = i->size < 0 || from < i->size;
    pthread_mutex_unlock(&i->lock);
    return missing;
}
