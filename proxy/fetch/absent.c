/* Negative caching: what upstream answered 404 to is not requested again for a while. Each fetch loop keeps the answers
 * of its own keys. */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

enum { ABSENCES_MAX = 1024 };

static void free_absence(struct fetcher *fr, struct absence *a)
{
    TAILQ_REMOVE(&fr->absences, a, entry);
    fr->absence_count--;
    free(a->key);
    free(a->why);
    free(a);
}

struct absence *fetch_find_old_absence(struct fetcher *fr, const char *key)
{
    struct absence *a;

    TAILQ_FOREACH(a, &fr->absences, entry)
        if (strcmp(a->key, key) == 0)
            return a;
    return NULL;
}

struct absence *fetch_find_absence(struct fetcher *fr, const char *key)
{
    struct absence *a = fetch_find_old_absence(fr, key);

    return a && a->until_ms > clock_mono_ms() ? a : NULL;
}

void fetch_recall_absence(const struct absence *a, struct err *err)
{
    err_set(err, ERR_NOT_FOUND, "%s", a->why);
    err->status = 404;
}

void fetch_note_absence(struct fetch *f)
{
    int64_t ttl = f->tags.negative_ttl_ms;
    const struct err *e = &f->result.err;

    ON_LOOP(f->fetcher->loop);
    if (e->code != ERR_NOT_FOUND || f->result.upstream_status != 404 || ttl <= 0 || f->want.is_private ||
        fetch_find_absence(f->fetcher, f->key))
        return;
    struct absence *a = fetch_find_old_absence(f->fetcher, f->key);
    if (a)
        free_absence(f->fetcher, a);
    a = xcalloc(1, sizeof(*a));
    a->key = xstrdup(f->key);
    a->until_ms = clock_mono_ms() + ttl;
    a->why = xstrdup(e->msg);
    a->no_api = f->result.no_api;
    TAILQ_INSERT_HEAD(&f->fetcher->absences, a, entry);
    if (++f->fetcher->absence_count > ABSENCES_MAX)
        free_absence(f->fetcher, TAILQ_LAST(&f->fetcher->absences, absences));
}

void fetch_forget_absences(struct fetcher *fr)
{
    while (!TAILQ_EMPTY(&fr->absences))
        free_absence(fr, TAILQ_FIRST(&fr->absences));
}

void fetch_forget_absences_of(struct fetcher *fr, const char *name)
{
    struct absence *a, *next;

    ON_LOOP(fr->loop);
    for (a = TAILQ_FIRST(&fr->absences); a; a = next) {
        next = TAILQ_NEXT(a, entry);
        if (strncmp(a->key, "blob ", 5) == 0 || fetch_key_is_of(a->key, name))
            free_absence(fr, a);
    }
}
