/* What upstream said, and is not asked again for a while: that it does not have something, and what it listed. Each
 * fetch loop keeps its own, of the keys that belong to it. */
#include "proxy/fetch_private.h"

#include "base/clock.h"

#include <jansson.h>
#include <string.h>

enum {
    ABSENCES_MAX = 1024,
    LISTINGS_BYTES = 16 << 20,
    LISTING_TTL_MAX_MS = 3600000 /* a list grows even if no tag ever moves */
};

static void free_absence(struct fetcher *fr, struct absence *a)
{
    TAILQ_REMOVE(&fr->absences, a, entry);
    fr->absence_count--;
    free(a->key);
    free(a);
}

struct absence *fetch_find_absence(struct fetcher *fr, const char *key)
{
    struct absence *a, *next;
    int64_t now = clock_mono_ms();

    for (a = TAILQ_FIRST(&fr->absences); a; a = next) {
        next = TAILQ_NEXT(a, entry);
        if (a->until_ms <= now || (fr->absence_count > ABSENCES_MAX && !next))
            free_absence(fr, a);
        else if (strcmp(a->key, key) == 0)
            return a;
    }
    return NULL;
}

void fetch_note_absence(struct fetch *f)
{
    int64_t ttl = f->tags.negative_ttl_ms;
    const struct err *e = &f->result.err;

    if (e->code != ERR_NOT_FOUND || f->result.upstream_status != 404 || ttl <= 0 || f->is_private ||
        fetch_find_absence(f->fetcher, f->key))
        return;
    struct absence *a = xcalloc(1, sizeof(*a));
    a->key = xstrdup(f->key);
    a->until_ms = clock_mono_ms() + ttl;
    a->err = *e;
    TAILQ_INSERT_HEAD(&f->fetcher->absences, a, entry);
    f->fetcher->absence_count++;
}

/* ---- listings ---- */

static size_t weight(const struct listing_said *l)
{
    return sizeof(*l) + l->result.body->len;
}

static void free_listing(struct fetcher *fr, struct listing_said *l)
{
    TAILQ_REMOVE(&fr->listings, l, entry);
    fr->listings_bytes -= weight(l);
    fetch_result_clear(&l->result);
    free(l->key);
    free(l);
}

const struct fetch_result *fetch_find_listing(struct fetcher *fr, const char *key)
{
    struct listing_said *l, *next;
    int64_t now = clock_now_ms();

    for (l = TAILQ_FIRST(&fr->listings); l; l = next) {
        next = TAILQ_NEXT(l, entry);
        if (l->until_ms <= now)
            free_listing(fr, l);
        else if (strcmp(l->key, key) == 0)
            return &l->result;
    }
    return NULL;
}

/* That nothing refers to an image is a word like "there is no such tag": it may be about to be signed. */
static int64_t life_ms(const struct fetch *f)
{
    const struct body *b = f->result.body;
    json_t *doc = json_loadb(b->data, b->len, 0, NULL), *list = json_object_get(doc, "manifests");
    bool nothing = json_is_array(list) && json_array_size(list) == 0;

    json_decref(doc);
    return MIN(nothing ? f->tags.negative_ttl_ms : f->tags.ttl_ms, (int64_t)LISTING_TTL_MAX_MS);
}

void fetch_note_listing(struct fetch *f)
{
    struct fetcher *fr = f->fetcher;

    if (f->kind != FETCH_LISTING || !f->result.body || f->result.how == HOW_HIT)
        return;
    int64_t life = life_ms(f);
    struct listing_said *old, *next;
    for (old = TAILQ_FIRST(&fr->listings); old; old = next) {
        next = TAILQ_NEXT(old, entry);
        if (strcmp(old->key, f->key) == 0)
            free_listing(fr, old);
    }
    if (life <= 0)
        return;
    struct listing_said *l = xcalloc(1, sizeof(*l));
    l->key = xstrdup(f->key);
    l->until_ms = clock_now_ms() + life;
    l->result = f->result;
    body_ref(l->result.body);
    TAILQ_INSERT_HEAD(&fr->listings, l, entry);
    fr->listings_bytes += weight(l);
    while (fr->listings_bytes > LISTINGS_BYTES)
        free_listing(fr, TAILQ_LAST(&fr->listings, listings_said));
}

void fetch_forget_said(struct fetcher *fr)
{
    while (!TAILQ_EMPTY(&fr->absences))
        free_absence(fr, TAILQ_FIRST(&fr->absences));
    while (!TAILQ_EMPTY(&fr->listings))
        free_listing(fr, TAILQ_FIRST(&fr->listings));
}
