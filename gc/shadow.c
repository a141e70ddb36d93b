#include "gc/shadow.h"

#include "base/assert.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum {
    FIRST_ROOM = 64,
    DECAY_EVERY = 16, /* requests; a whole number of these is a half-life */
    ABSENT = -1,
};

struct shadow_object {
    uint64_t id;
    int64_t bytes;
    uint64_t seen; /* number of the request */
    uint32_t uses;
    int32_t places[SHADOWS]; /* in each heap */
    double ranks[SHADOWS];
};

struct shadow {
    int32_t *heap; /* objects, the lowest rank first */
    int32_t count;
    int64_t bytes;
    double clock;
    struct shadow_sums sums;
    double moved, turned; /* recently, by the clock and in capacities evicted */
};

/* Of requests that one of two shadows had and the other had not. */
struct disagreement {
    double count, bytes, squares;
};

struct shadows {
    struct shadow_object *objects;
    int32_t count, room;
    int32_t *slots;    /* open addressing, 2 x room: object + 1 */
    unsigned left_out; /* of an id, so many bits must be 0 */
    uint64_t requests;
    struct shadow shadows[SHADOWS];
    struct disagreement apart[SHADOWS][SHADOWS];
};

/* ---- objects by id ---- */

static uint64_t shadow_mix(uint64_t id)
{
    id = (id ^ id >> 32) * 0x9e3779b97f4a7c15u;
    return id ^ id >> 29;
}

static bool is_left_out(const struct shadows *s, uint64_t id)
{
    return (shadow_mix(id) >> 40 & ((1u << s->left_out) - 1)) != 0;
}

static int32_t *slot_of(const struct shadows *s, uint64_t id)
{
    uint64_t mask = 2 * (uint64_t)s->room - 1, i = shadow_mix(id) & mask;

    while (s->slots[i] && s->objects[s->slots[i] - 1].id != id)
        i = (i + 1) & mask;
    return &s->slots[i];
}

static void shadows_index(struct shadows *s)
{
    memset(s->slots, 0, 2 * (size_t)s->room * sizeof(*s->slots));
    for (int32_t i = 0; i < s->count; i++)
        *slot_of(s, s->objects[i].id) = i + 1;
}

static void shadows_grow(struct shadows *s)
{
    s->room = s->room ? 2 * s->room : FIRST_ROOM;
    s->objects = xrealloc(s->objects, (size_t)s->room * sizeof(*s->objects));
    s->slots = xrealloc(s->slots, 2 * (size_t)s->room * sizeof(*s->slots));
    for (size_t k = 0; k < SHADOWS; k++)
        s->shadows[k].heap = xrealloc(s->shadows[k].heap, (size_t)s->room * sizeof(*s->shadows[k].heap));
    shadows_index(s);
}

struct shadows *shadows_new(void)
{
    struct shadows *s = xcalloc(1, sizeof(*s));

    shadows_grow(s);
    return s;
}

void shadows_free(struct shadows *s)
{
    if (!s)
        return;
    for (size_t k = 0; k < SHADOWS; k++)
        free(s->shadows[k].heap);
    free(s->objects);
    free(s->slots);
    free(s);
}

uint32_t shadows_uses(const struct shadows *s, uint64_t id)
{
    int32_t object = *slot_of(s, id);

    return object ? s->objects[object - 1].uses : 0;
}

size_t shadows_memory(const struct shadows *s)
{
    return sizeof(*s) + (size_t)s->room * (sizeof(*s->objects) + 2 * sizeof(*s->slots) + SHADOWS * sizeof(int32_t));
}

/* ---- one shadow's order ---- */

static double rank_at(const struct shadows *s, size_t k, int32_t place)
{
    return s->objects[s->shadows[k].heap[place]].ranks[k];
}

static void heap_set(struct shadows *s, size_t k, int32_t place, int32_t object)
{
    s->shadows[k].heap[place] = object;
    s->objects[object].places[k] = place;
}

static void heap_swap(struct shadows *s, size_t k, int32_t a, int32_t b)
{
    int32_t x = s->shadows[k].heap[a];

    heap_set(s, k, a, s->shadows[k].heap[b]);
    heap_set(s, k, b, x);
}

static void heap_settle(struct shadows *s, size_t k, int32_t i)
{
    for (; i > 0 && rank_at(s, k, i) < rank_at(s, k, (i - 1) / 2); i = (i - 1) / 2)
        heap_swap(s, k, i, (i - 1) / 2);
    for (int32_t c; (c = 2 * i + 1) < s->shadows[k].count; i = c) {
        if (c + 1 < s->shadows[k].count && rank_at(s, k, c + 1) < rank_at(s, k, c))
            c++;
        if (rank_at(s, k, c) >= rank_at(s, k, i))
            return;
        heap_swap(s, k, c, i);
    }
}

static void shadow_take_out(struct shadows *s, size_t k, int32_t object)
{
    struct shadow *x = &s->shadows[k];
    int32_t place = s->objects[object].places[k];

    heap_swap(s, k, place, --x->count);
    s->objects[object].places[k] = ABSENT;
    x->bytes -= s->objects[object].bytes;
    if (place < x->count)
        heap_settle(s, k, place);
}

static void shadow_evict(struct shadows *s, size_t k, int64_t capacity)
{
    struct shadow *x = &s->shadows[k];

    while (x->bytes > capacity) {
        const struct shadow_object *gone = &s->objects[x->heap[0]];
        x->moved += fmax(gone->ranks[k] - x->clock, 0);
        x->turned += (double)gone->bytes / (double)capacity;
        x->clock = fmax(gone->ranks[k], x->clock);
        shadow_take_out(s, k, x->heap[0]);
    }
}

/* ---- room for another object ---- */

static bool shadow_is_held(const struct shadow_object *o)
{
    for (size_t k = 0; k < SHADOWS; k++)
        if (o->places[k] != ABSENT)
            return true;
    return false;
}

static int by_seen(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The request before which the older half of what no shadow holds was last seen; 0: that is not worth it. */
static uint64_t middle_of_unheld(const struct shadows *s)
{
    _cleanup_free_ uint64_t *seen = xmalloc((size_t)s->count * sizeof(*seen));
    size_t n = 0;

    for (int32_t i = 0; i < s->count; i++)
        if (!shadow_is_held(&s->objects[i]))
            seen[n++] = s->objects[i].seen;
    if (n < SHADOW_OBJECTS / 8)
        return 0;
    qsort(seen, n, sizeof(*seen), by_seen);
    return seen[n / 2];
}

static void shadows_move(struct shadows *s, int32_t from, int32_t to)
{
    s->objects[to] = s->objects[from];
    for (size_t k = 0; k < SHADOWS; k++)
        if (s->objects[to].places[k] != ABSENT)
            s->shadows[k].heap[s->objects[to].places[k]] = to;
}

static void shadows_make_room(struct shadows *s)
{
    uint64_t before = middle_of_unheld(s);
    int32_t kept = 0;

    s->left_out += before == 0;
    for (int32_t i = 0; i < s->count; i++) {
        const struct shadow_object *o = &s->objects[i];
        if (before > 0 ? o->seen >= before || shadow_is_held(o) : !is_left_out(s, o->id)) {
            if (kept != i)
                shadows_move(s, i, kept);
            kept++;
            continue;
        }
        for (size_t k = 0; k < SHADOWS; k++)
            if (o->places[k] != ABSENT)
                shadow_take_out(s, k, i);
    }
    s->count = kept;
    shadows_index(s);
}

static struct shadow_object *shadow_object(struct shadows *s, uint64_t id)
{
    if (*slot_of(s, id))
        return &s->objects[*slot_of(s, id) - 1];
    if (s->count == SHADOW_OBJECTS)
        shadows_make_room(s);
    if (is_left_out(s, id))
        return NULL;
    if (s->count == s->room)
        shadows_grow(s);
    struct shadow_object *o = &s->objects[s->count++];
    *o = (struct shadow_object){.id = id};
    for (size_t k = 0; k < SHADOWS; k++)
        o->places[k] = ABSENT;
    *slot_of(s, id) = s->count;
    return o;
}

/* ---- requests ---- */

static void note_disagreements(struct shadows *s, unsigned had, double bytes)
{
    if (had == 0 || had == (1u << SHADOWS) - 1)
        return;
    for (size_t a = 0; a < SHADOWS; a++) {
        for (size_t b = 0; b < a; b++) {
            if ((had >> a & 1) == (had >> b & 1))
                continue;
            s->apart[a][b].count++;
            s->apart[a][b].bytes += bytes;
            s->apart[a][b].squares += bytes * bytes;
        }
    }
}

static void shadows_decay(struct shadows *s)
{
    const double by = pow(0.5, (double)DECAY_EVERY / (double)SHADOW_HALF_LIFE);

    for (size_t a = 0; a < SHADOWS; a++) {
        struct shadow *x = &s->shadows[a];
        x->sums.hits *= by;
        x->sums.bytes *= by;
        x->moved *= by;
        x->turned *= by;
        for (size_t b = 0; b < a; b++) {
            s->apart[a][b].count *= by;
            s->apart[a][b].bytes *= by;
            s->apart[a][b].squares *= by;
        }
    }
}

/* Whether the shadow had it. What came in for a first of several requests was there for the others. */
static bool shadow_request(struct shadows *s, size_t k, int32_t object, int64_t grown, uint32_t times, double value)
{
    struct shadow *x = &s->shadows[k];
    struct shadow_object *o = &s->objects[object];
    bool had = o->places[k] != ABSENT;
    double hits = (double)times - !had;

    x->sums.hits += hits;
    x->sums.bytes += hits * (double)o->bytes;
    if (!had) {
        o->ranks[k] = INFINITY;
        heap_set(s, k, x->count++, object);
    }
    x->bytes += had ? grown : o->bytes;
    o->ranks[k] = k == 0 ? (double)s->requests : x->clock + value;
    heap_settle(s, k, o->places[k]);
    return had;
}

bool shadows_request(struct shadows *s, uint64_t id, int64_t bytes, uint32_t times, const double values[SHADOWS],
                     int64_t capacity)
{
    struct shadow_object *o = shadow_object(s, id);
    unsigned had = 0;

    if (!o)
        return false;
    capacity >>= s->left_out;
    int32_t object = (int32_t)(o - s->objects);
    int64_t grown = bytes - o->bytes;
    o->bytes = bytes;
    o->uses = o->uses > UINT32_MAX - times ? UINT32_MAX : o->uses + times;
    o->seen = ++s->requests;
    for (size_t k = 0; k < SHADOWS; k++) {
        had |= (unsigned)shadow_request(s, k, object, grown, times, values[k]) << k;
        if (bytes > capacity)
            shadow_take_out(s, k, object); /* nothing else goes for what cannot stay */
        shadow_evict(s, k, capacity);
    }
    note_disagreements(s, had, (double)bytes);
    if (s->requests % DECAY_EVERY == 0)
        shadows_decay(s);
    return true;
}

/* ---- what came of it ---- */

struct shadow_sums shadows_sums(const struct shadows *s, size_t shadow)
{
    return s->shadows[shadow].sums;
}

double shadows_pace(const struct shadows *s, size_t shadow)
{
    const struct shadow *x = &s->shadows[shadow];

    return x->turned > 0 ? x->moved / x->turned : 0;
}

double shadows_variance(const struct shadows *s, size_t a, size_t b, double hit, double byte)
{
    const struct disagreement *d = a > b ? &s->apart[a][b] : &s->apart[b][a];

    return d->count * hit * hit + 2 * d->bytes * hit * byte + d->squares * byte * byte;
}
