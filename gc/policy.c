#include "gc/policy.h"

#include "base/mem.h"

#include <string.h>

static const struct policy *const POLICIES[] = {&POLICY_GDSF, &POLICY_LRU};

const struct policy *policy_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(POLICIES); i++)
        if (strcmp(POLICIES[i]->name, name) == 0)
            return POLICIES[i];
    return NULL;
}
