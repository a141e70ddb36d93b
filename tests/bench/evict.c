/* evict FILE: what the policies would have kept. Reads a trace, one request a line ("seconds,digest,bytes"), and prints
 * for caches of 2, 5, 10, 20 and 40 % of the trace's unique bytes
 *
 *     percent,policy,object_hit,byte_hit
 *
 * for the daemon's own policy code (gc/policy.h: gdsf, lru), for what gdsf is measured beside (rivals.h), and for two
 * that see the future. `belady`: what will be used again last goes first, be it what is just coming in; the optimum if
 * all objects had one size, and with different sizes a common yardstick for both ratios. `belady-size` weighs the
 * distance with the size, a greedy approximation of the best possible object hit ratio, which nobody can compute
 * (it is NP-hard). An object that is larger than the cache is not kept.
 */
#include "base/mem.h"
#include "gc/policy.h"
#include "tests/bench/rivals.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* What fetching an object takes, as the daemon would have measured it: 50 ms and 20 MB/s. */
static const double LATENCY_MS = 50, BYTES_PER_MS = 20000;
static const int PERCENTS[] = {2, 5, 10, 20, 40};
enum { NEVER = 1 << 30, LINE = 4096 };

struct request {
    double seconds;
    int object, at, next; /* index in the trace; of the same object's next request */
};

struct object {
    char *digest;
    uint64_t id;
    int64_t bytes;
    /* while one cache is simulated */
    struct policy_item item;
    double rank;
    int place; /* in the heap; -1: not in the cache */
};

struct trace {
    struct request *requests;
    int count, room;
    struct object *objects;
    int object_count, object_room;
    int *table, table_room; /* open addressing: object + 1 */
    int64_t unique_bytes;
};

/* ---- the trace ---- */

static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static int *find_slot(struct trace *t, const char *digest)
{
    uint64_t i = hash(digest) & (uint64_t)(t->table_room - 1);

    while (t->table[i] && strcmp(t->objects[t->table[i] - 1].digest, digest) != 0)
        i = (i + 1) & (uint64_t)(t->table_room - 1);
    return &t->table[i];
}

static void grow_table(struct trace *t)
{
    free(t->table);
    t->table_room = t->table_room ? 2 * t->table_room : 1 << 16;
    t->table = xcalloc((size_t)t->table_room, sizeof(*t->table));
    for (int i = 0; i < t->object_count; i++)
        *find_slot(t, t->objects[i].digest) = i + 1;
}

static int intern(struct trace *t, const char *digest, int64_t bytes)
{
    if (2 * t->object_count >= t->table_room)
        grow_table(t);
    int *slot = find_slot(t, digest);
    if (*slot == 0) {
        if (t->object_count == t->object_room) {
            t->object_room = t->object_room ? 2 * t->object_room : 4096;
            t->objects = xrealloc(t->objects, (size_t)t->object_room * sizeof(*t->objects));
        }
        t->objects[t->object_count] = (struct object){.digest = xstrdup(digest), .id = hash(digest)};
        *slot = ++t->object_count;
    }
    struct object *o = &t->objects[*slot - 1];
    o->bytes = MAX(o->bytes, MAX(bytes, (int64_t)1)); /* a line may tell of a part only */
    return *slot - 1;
}

static int by_time(const void *a, const void *b)
{
    const struct request *x = a, *y = b;

    return x->seconds != y->seconds ? (x->seconds < y->seconds ? -1 : 1) : x->at - y->at;
}

static bool add_line(struct trace *t, char *line)
{
    char *digest = strchr(line, ','), *bytes = digest ? strchr(digest + 1, ',') : NULL, *end;

    if (!bytes)
        return false;
    *digest++ = *bytes++ = '\0';
    double seconds = strtod(line, &end);
    if (end == line || !isfinite(seconds))
        return false;
    double size = strtod(bytes, &end);
    if (end == bytes || !isfinite(size) || size < 0 || size > 1e15)
        return false;
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 65536;
        t->requests = xrealloc(t->requests, (size_t)t->room * sizeof(*t->requests));
    }
    t->requests[t->count] = (struct request){seconds, intern(t, digest, (int64_t)size), t->count, NEVER};
    t->count++;
    return true;
}

static bool load(struct trace *t, FILE *f)
{
    char line[LINE];
    int number = 0, wrong = 0;

    while (fgets(line, sizeof(line), f)) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] && line[0] != '#' && !add_line(t, line) && number > 1 &&
            wrong++ == 0) /* the first may be a heading */
            fprintf(stderr, "evict: line %d is not \"seconds,digest,bytes\" and is passed over\n", number);
    }
    if (wrong > 1)
        fprintf(stderr, "evict: %d lines were passed over\n", wrong);
    if (!t->requests || !t->objects)
        return false;
    qsort(t->requests, (size_t)t->count, sizeof(*t->requests), by_time);
    for (int i = 0; i < t->object_count; i++) {
        t->unique_bytes += t->objects[i].bytes;
        t->objects[i].place = NEVER;
    }
    for (int i = t->count - 1; i >= 0; i--) {
        struct object *o = &t->objects[t->requests[i].object];
        t->requests[i].at = i;
        t->requests[i].next = o->place;
        o->place = i;
    }
    return true;
}

/* ---- a cache: a heap with the lowest rank on top ---- */

struct sim {
    struct trace *t;
    int *heap, count;
    int64_t bytes, capacity;
    double clock;
    void *state; /* the policy's */
    uint32_t version;
};

static double rank_at(const struct sim *s, int place)
{
    return s->t->objects[s->heap[place]].rank;
}

static void swap(struct sim *s, int a, int b)
{
    int x = s->heap[a], y = s->heap[b];

    s->heap[a] = y;
    s->heap[b] = x;
    s->t->objects[y].place = a;
    s->t->objects[x].place = b;
}

static void settle(struct sim *s, int i)
{
    for (; i > 0 && rank_at(s, i) < rank_at(s, (i - 1) / 2); i = (i - 1) / 2)
        swap(s, i, (i - 1) / 2);
    for (int c; (c = 2 * i + 1) < s->count; i = c) {
        if (c + 1 < s->count && rank_at(s, c + 1) < rank_at(s, c))
            c++;
        if (rank_at(s, c) >= rank_at(s, i))
            return;
        swap(s, c, i);
    }
}

static void take_out(struct sim *s, struct object *o)
{
    int place = o->place;

    swap(s, place, --s->count);
    o->place = -1;
    s->bytes -= o->bytes;
    if (place < s->count)
        settle(s, place);
}

/* Policies rank; these two see the future instead. */
static const struct policy BELADY = {.name = "belady"}, BELADY_SIZE = {.name = "belady-size"};

static double rank_of(const struct sim *s, const struct policy *p, struct object *o, const struct request *r)
{
    if (p == &BELADY)
        return -(double)r->next;
    if (p == &BELADY_SIZE)
        return -(double)(r->next - r->at) * (double)o->bytes;
    if (o->item.uses == 0 || s->clock > o->item.clock + rival_spacing(p, &o->item))
        o->item.uses++;
    o->item.clock = s->clock;
    o->item.used = (int64_t)r->seconds;
    if (p->observe)
        p->observe(s->state, &o->item, 1, s->capacity);
    return p->rank(s->state, &o->item);
}

/* What the policy has learned ranks everything in another way. */
static void rank_again(struct sim *s, const struct policy *p)
{
    s->version = p->version(s->state);
    for (int i = 0; i < s->count; i++)
        s->t->objects[s->heap[i]].rank = p->rank(s->state, &s->t->objects[s->heap[i]].item);
    for (int i = s->count / 2 - 1; i >= 0; i--)
        settle(s, i);
}

static void request(struct sim *s, const struct policy *p, const struct request *r)
{
    struct object *o = &s->t->objects[r->object];

    if (o->bytes > s->capacity)
        return;
    if (o->place < 0) {
        o->item = (struct policy_item){
            .id = o->id, .bytes = o->bytes, .cost_ms = LATENCY_MS + (double)o->bytes / BYTES_PER_MS};
        o->place = s->count;
        s->heap[s->count++] = r->object;
        s->bytes += o->bytes;
        o->rank = INFINITY;
    }
    o->rank = rank_of(s, p, o, r);
    settle(s, o->place);
    if (p->version && s->version != p->version(s->state))
        rank_again(s, p);
    while (s->bytes > s->capacity) {
        struct object *gone = &s->t->objects[s->heap[0]];
        if (p->advance)
            s->clock = p->advance(s->clock, gone->rank);
        take_out(s, gone);
    }
}

static void simulate(struct trace *t, const struct policy *p, int percent)
{
    struct sim s = {.t = t, .capacity = t->unique_bytes / 100 * percent};
    double hits = 0, hit_bytes = 0, bytes = 0;

    s.state = p->open ? p->open(NULL, 0) : NULL;
    s.heap = xmalloc((size_t)(t->object_count + 1) * sizeof(*s.heap));
    for (int i = 0; i < t->object_count; i++)
        t->objects[i].place = -1;
    for (int i = 0; i < t->count; i++) {
        struct object *o = &t->objects[t->requests[i].object];
        bytes += (double)o->bytes;
        if (o->place >= 0) {
            hits++;
            hit_bytes += (double)o->bytes;
        }
        request(&s, p, &t->requests[i]);
    }
    printf("%d,%s,%.6f,%.6f\n", percent, p->name, hits / t->count, hit_bytes / bytes);
    if (p->close)
        p->close(s.state);
    free(s.heap);
}

int main(int argc, char **argv)
{
    static const struct policy *const ALL[] = {&POLICY_GDSF, &POLICY_LRU, &BELADY, &BELADY_SIZE, &PLAIN, &DAMPED};
    struct trace t = {0};

    if (argc != 2) {
        fputs("Usage: evict FILE   (FILE: lines of seconds,digest,bytes; - for stdin)\n", stderr);
        return 2;
    }
    FILE *f = strcmp(argv[1], "-") == 0 ? stdin : fopen(argv[1], "r");
    if (!f) {
        fprintf(stderr, "evict: cannot read %s\n", argv[1]);
        return 1;
    }
    if (!load(&t, f)) {
        fprintf(stderr, "evict: %s holds no requests\n", argv[1]);
        return 1;
    }
    fprintf(stderr, "%d requests, %d objects, %.1f GB unique\n", t.count, t.object_count, (double)t.unique_bytes / 1e9);
    for (size_t i = 0; i < ARRAY_LEN(PERCENTS); i++)
        for (size_t k = 0; k < ARRAY_LEN(ALL); k++)
            simulate(&t, ALL[k], PERCENTS[i]);
    return 0;
}
