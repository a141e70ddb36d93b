/* What was not used for longest goes first. There is nothing to learn. */
#include "gc/policy.h"

#include "base/mem.h"

static void *lru_open(const void *saved UNUSED, size_t len UNUSED)
{
    return NULL;
}

static void lru_close(void *state UNUSED)
{
}

static void lru_observe(void *state UNUSED, const struct policy_item *i UNUSED, uint32_t times UNUSED,
                        int64_t capacity UNUSED)
{
}

static uint32_t lru_version(const void *state UNUSED)
{
    return 0;
}

static size_t lru_save(const void *state UNUSED, uint8_t out[POLICY_SAVED_MAX] UNUSED)
{
    return 0;
}

static double lru_rank(const void *state UNUSED, const struct policy_item *i)
{
    return i->used > 0 ? (double)i->used : 0;
}

static double lru_advance(double clock, double gone UNUSED)
{
    return clock;
}

const struct policy POLICY_LRU = {"lru",       lru_open, lru_close, lru_observe,
                                  lru_version, lru_save, lru_rank,  lru_advance};
