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

static int64_t segment_of(const struct ingest *i, int64_t offset)
{
    return offset / i->segment;
}

static int64_t segment_start(const struct ingest *i, int64_t segment)
{
    return segment * i->segment;
}

int64_t ingest_segment_end(const struct ingest *i, int64_t segment)
{
    int64_t end = segment_start(i, segment + 1);

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

/* 7 if the eight segments from this one on are here, as far as one look can tell; else 0. */
static int eight_more(const struct ingest *i, int64_t segment)
{
    return segment % 8 == 0 && i->bitmap[segment / 8] == 0xff ? 7 : 0;
}

int64_t ingest_present(const struct ingest *i, int64_t at)
{
    int64_t to = at, limit = i->size >= 0 ? MIN(i->size, at + INGEST_PRESENT_MAX) : at + INGEST_PRESENT_MAX;

    HOLDS(&i->lock);
    while (to < limit && ingest_has_segment(i, segment_of(i, to)))
        to = ingest_segment_end(i, segment_of(i, to) + eight_more(i, segment_of(i, to)));
    const struct front *f = to < limit ? front_of(i, segment_of(i, to)) : NULL;
    return (f ? MAX(f->end, to) : to) - at;
}

void ingest_count_received(struct ingest *i)
{
    HOLDS(&i->lock);
    i->received = i->prefix = 0;
    for (int64_t s = 0; s < (int64_t)i->bitmap_len * 8; s++)
        if (ingest_has_segment(i, s))
            i->received += ingest_segment_end(i, s) - segment_start(i, s);
    for (size_t k = 0; k < i->front_count; k++)
        i->received += i->fronts[k].end - segment_start(i, i->fronts[k].segment);
    for (int64_t n = -1; n != 0; i->prefix += n)
        n = ingest_present(i, i->prefix);
}

/* The first byte that can be written at or behind `at`, of which none is here: segments are filled from their start. */
static int64_t next_writable(const struct ingest *i, int64_t at)
{
    const struct front *f = front_of(i, segment_of(i, at));

    return (f && f->end == at) || at % i->segment == 0 ? at : segment_start(i, segment_of(i, at) + 1);
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
    int64_t last = segment_of(i, limit - 1) + 1;

    return MIN(segment_start(i, next_begun(i, segment_of(i, at) + 1, last)), limit);
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

void ingest_note_written(struct ingest *i, int64_t offset, int64_t len)
{
    int64_t end = offset + len;

    HOLDS(&i->lock);
    i->received += len;
    while (offset < end) {
        int64_t segment = segment_of(i, offset), to = MIN(end, ingest_segment_end(i, segment));
        if (to == ingest_segment_end(i, segment)) {
            set_segment(i, segment);
            drop_front(i, segment);
        } else {
            set_front(i, segment, to);
        }
        offset = to;
    }
    for (int64_t n = -1; n != 0; i->prefix += n)
        n = ingest_present(i, i->prefix);
}

void ingest_choose_segment(struct ingest *i)
{
    i->segment = ingest_segment_of(i->size);
}

/* One past the last byte that is here. */
static int64_t last_end(const struct ingest *i)
{
    int64_t last = (int64_t)i->bitmap_len * 8 - 1;

    HOLDS(&i->lock);
    while (last >= 0 && !ingest_has_segment(i, last))
        last--;
    int64_t end = ingest_segment_end(i, last);
    for (size_t k = 0; k < i->front_count; k++)
        end = MAX(end, i->fronts[k].end);
    return end;
}

/* In segments of another size: only what is here at the beginning counts. */
static void begin_again(struct ingest *i, int64_t prefix)
{
    if (i->bitmap_len > 0)
        memset(i->bitmap, 0, i->bitmap_len);
    i->front_count = 0;
    i->received = i->prefix = 0;
    ingest_note_written(i, 0, prefix);
}

bool ingest_set_size(struct ingest *i, int64_t size)
{
    int64_t before = i->segment;

    HOLDS(&i->lock);
    IN_STATE(i->size < 0 || i->size == size);
    if (i->size == size)
        return true;
    if (last_end(i) > size)
        return false;
    i->size = size;
    ingest_choose_segment(i);
    struct front *f = front_of(i, segment_of(i, size));
    if (i->segment != before) {
        begin_again(i, i->prefix);
    } else if (f && f->end == size) { /* its end was not known to be one */
        set_segment(i, f->segment);
        drop_front(i, f->segment);
    }
    return true;
}

void ingest_note_end(struct ingest *i)
{
    HOLDS(&i->lock);
    begin_again(i, i->prefix); /* what is behind a gap is of no use */
    ingest_set_size(i, i->prefix);
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
    const struct front *f = front_of(i, segment_of(i, from));
    *first = f ? f->end : segment_start(i, segment_of(i, from));
    *end = missing_end(i, *first, limit);
    if (i->size < 0 && *end >= limit)
        *end = INT64_MAX;
    bool missing = i->size < 0 || from < i->size;
    pthread_mutex_unlock(&i->lock);
    return missing;
}
