#include "base/trouble.h"

#include "base/visible.h"

#include <stdio.h>
#include <string.h>

void trouble_init(struct trouble *t)
{
    *t = (struct trouble){.any = false};
    pthread_mutex_init(&t->lock, NULL);
}

void trouble_destroy(struct trouble *t)
{
    pthread_mutex_destroy(&t->lock);
}

void trouble_note(struct trouble *t, int64_t now_ms, const char *why)
{
    pthread_mutex_lock(&t->lock);
    if (!t->any || now_ms - t->seen.last_ms > TROUBLE_SAME_MS)
        t->seen.since_ms = now_ms;
    t->any = true;
    t->over = false;
    t->seen.last_ms = now_ms;
    snprintf(t->seen.why, sizeof(t->seen.why), "%.*s", (int)text_whole(why, strnlen(why, TROUBLE_WHY_MAX)), why);
    pthread_mutex_unlock(&t->lock);
}

void trouble_pass(struct trouble *t, int64_t begun_ms)
{
    pthread_mutex_lock(&t->lock);
    t->over = t->over || begun_ms > t->seen.last_ms;
    pthread_mutex_unlock(&t->lock);
}

bool trouble_look(struct trouble *t, struct trouble_seen *out)
{
    pthread_mutex_lock(&t->lock);
    bool there = t->any && !t->over;
    if (there)
        *out = t->seen;
    pthread_mutex_unlock(&t->lock);
    return there;
}
