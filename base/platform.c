#include "base/platform.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART_MAX = 31, EXACT = 100 };

struct parts {
    char os[PART_MAX + 1], arch[PART_MAX + 1], variant[PART_MAX + 1];
};

static bool split(const char *text, struct parts *p)
{
    const char *rest = text;
    char *parts[] = {p->os, p->arch, p->variant};

    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < ARRAY_LEN(parts) && rest; i++) {
        size_t len = strcspn(rest, "/");
        if (len == 0 || len > PART_MAX)
            return false;
        memcpy(parts[i], rest, len);
        rest = rest[len] == '/' ? rest + len + 1 : NULL;
    }
    return !rest && p->arch[0];
}

bool platform_is_valid(const char *text)
{
    struct parts p;

    return split(text, &p) &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")] == '\0';
}

/* The number of a variant ("v7": 7); what goes without saying, if it is not said. */
static int version(const struct parts *p)
{
    if (p->variant[0] == 'v')
        return atoi(p->variant + 1);
    if (p->variant[0])
        return -1;
    return strcmp(p->arch, "arm64") == 0 ? 8 : strcmp(p->arch, "arm") == 0 ? 7 : 1;
}

int platform_score(const char *wants, const char *has)
{
    struct parts w, h;

    if (!split(wants, &w) || !split(has, &h) || strcmp(w.os, h.os) != 0 || strcmp(w.arch, h.arch) != 0)
        return 0;
    if (strcmp(w.variant, h.variant) == 0)
        return EXACT;
    int wanted = version(&w), there = version(&h);
    if (wanted < 0 || there < 0 || there > wanted)
        return 0;
    return MAX(EXACT - 1 - (wanted - there), 1);
}
