#include "tests/tools/model/arriving.h"

#include <string.h>
#include <sys/mman.h>

struct shared *S;
struct blob world[BLOBS];
const char *const HOST_NAMES[HOSTS] = {"docker.io", "quay.io"};

/* From nothing over the borders of segments to what is hashed by workers, and checkpointed on its way. */
static int64_t size_of(int blob, uint64_t seed)
{
    switch (blob) {
    case 0:
        return seed % 3 ? 1 + (int64_t)rnd(1000) : 0;
    case 1:
        return SEG * (1 + (int64_t)rnd(3));
    case 2:
        return SEG + (int64_t)rnd(2) * 2 - 1;
    case 3:
        return 1 + (int64_t)rnd(6 * SEG);
    case 4:
        return (14 + (int64_t)rnd(10)) * SEG + (int64_t)rnd(2) * 77;
    default:
        return seed % 4 ? 2 * SEG + (int64_t)rnd(3 * SEG) : (9 << 20) + (int64_t)rnd(SEG);
    }
}

void world_make(uint64_t seed)
{
    for (int k = 0; k < BLOBS; k++) {
        struct blob *b = &world[k];
        b->size = size_of(k, seed);
        b->bytes = xmalloc(CAP);
        uint64_t x = seed * 31 + (uint64_t)k + 1;
        for (size_t at = 0; at < CAP; at += sizeof(x)) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            memcpy(b->bytes + at, &x, sizeof(x));
        }
        digest_of(DIGEST_SHA256, b->bytes, (size_t)b->size, &b->digest);
        S->current[k] = -1;
    }
    for (int g = 0; g < GENS; g++)
        S->gens[g].blob = -1;
}

int64_t seg_end(int64_t size, int64_t s)
{
    return size >= 0 ? MIN(seg_start(s + 1), size) : seg_start(s + 1);
}

int gen_new(int blob, int host, uint64_t inode)
{
    int g = 0;

    while (g < GENS && S->gens[g].blob >= 0)
        g++;
    if (g == GENS)
        abort();
    memset(&S->gens[g], 0, sizeof(S->gens[g]));
    S->gens[g].blob = blob;
    S->gens[g].host = host;
    S->gens[g].inode = inode;
    S->gens[g].size = -1;
    for (int s = 0; s < SEGS; s++)
        S->gens[g].end[s] = seg_start(s);
    return g;
}

void gen_free(int g)
{
    for (int k = 0; k < SLOTS; k++)
        if (slots[k].i && slots[k].gen == g)
            return;
    if (g < 0 || S->current[S->gens[g].blob] == g)
        return;
    S->gens[g].blob = -1;
    madvise(S->bytes[g], CAP, MADV_REMOVE);
}

bool gen_is_whole(const struct gen *g)
{
    for (int s = 0; g->size >= 0 && seg_start(s) < g->size; s++)
        if (g->end[s] < seg_end(g->size, s))
            return false;
    return g->size >= 0;
}

bool gen_is_right(int g)
{
    const struct gen *gen = &S->gens[g];

    return gen_is_whole(gen) && gen->size == world[gen->blob].size &&
           memcmp(S->bytes[g], world[gen->blob].bytes, (size_t)gen->size) == 0;
}
