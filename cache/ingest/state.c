/* What an ingest is made of, as its other files see it: references, the bitmap of its segments, how far it is. */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <sys/mman.h>

/* ---- references ---- */

struct ingest *ingest_new(struct ingests *all, const struct digest *digest, struct loop *loop)
{
    struct ingest *i = xcalloc(1, sizeof(*i));

    i->all = all;
    i->digest = *digest;
    i->loop = loop;
    i->fd = i->sent.fd = -1;
    i->size = -1;
    i->refs = 1;
    i->taken = -1;
    i->started_ms = clock_mono_ms();
    pthread_mutex_init(&i->lock, NULL);
    TAILQ_INIT(&i->followers);
    SLIST_INIT(&i->repos);
    return i;
}

struct ingest *ingest_ref(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    i->refs++;
    pthread_mutex_unlock(&i->lock);
    return i;
}

void ingest_unref(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    bool last = --i->refs == 0;
    pthread_mutex_unlock(&i->lock);
    if (!last)
        return;
    ingest_unlist(i);
    leases_release(i->all->leases, &i->digest);
    if (i->window)
        munmap(i->window, (size_t)i->size);
    if (i->fd >= 0)
        close(i->fd);
    if (i->sent.fd >= 0)
        close(i->sent.fd);
    ingest_leave_relays(i);
    hasher_free(i->hasher);
    while (!SLIST_EMPTY(&i->repos)) {
        struct repo_name *r = SLIST_FIRST(&i->repos);
        SLIST_REMOVE_HEAD(&i->repos, entry);
        free(r->name);
        free(r);
    }
    free(i->bitmap);
    pthread_mutex_destroy(&i->lock);
    free(i);
}

/* ---- segments ---- */

static int64_t segments_of(int64_t size)
{
    return (size + INGEST_SEGMENT - 1) / INGEST_SEGMENT;
}

int64_t ingest_segment_end(const struct ingest *i, int64_t segment)
{
    int64_t end = (segment + 1) * INGEST_SEGMENT;

    return i->size >= 0 ? MIN(end, i->size) : end;
}

bool ingest_has_segment(const struct ingest *i, int64_t segment)
{
    size_t byte = (size_t)segment / 8;

    HOLDS(&i->lock);
    return byte < i->bitmap_len && i->bitmap[byte] >> (segment % 8) & 1;
}

void ingest_set_segment(struct ingest *i, int64_t segment)
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

void ingest_count_received(struct ingest *i)
{
    HOLDS(&i->lock);
    i->received = 0;
    for (int64_t s = 0; s < (int64_t)i->bitmap_len * 8; s++)
        if (ingest_has_segment(i, s))
            i->received += ingest_segment_end(i, s) - s * INGEST_SEGMENT;
}

/* The first segment from `from` on whose presence is `present`; the number of segments if there is none. */
static int64_t next_segment(const struct ingest *i, int64_t from, bool present)
{
    int64_t end = i->size >= 0 ? segments_of(i->size) : (int64_t)i->bitmap_len * 8;

    HOLDS(&i->lock);
    while (from < end && ingest_has_segment(i, from) != present)
        from++;
    return from;
}

int64_t ingest_contiguous(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t at = next_segment(i, 0, false) * INGEST_SEGMENT;
    if (i->size >= 0)
        at = MIN(at, i->size);
    if (i->frontier == at)
        at = i->front;
    pthread_mutex_unlock(&i->lock);
    return at;
}

bool ingest_gap(struct ingest *i, int64_t *first, int64_t *last)
{
    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    int64_t from = next_segment(i, 0, false), to = next_segment(i, from, true);
    bool missing = i->size < 0 || from < segments_of(i->size);
    *first = from * INGEST_SEGMENT;
    *last = i->size < 0 || to >= segments_of(i->size) ? -1 : to * INGEST_SEGMENT - 1;
    pthread_mutex_unlock(&i->lock);
    return missing;
}

/* ---- how far it is ---- */

enum ingest_state ingest_state(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    enum ingest_state state = i->state;
    pthread_mutex_unlock(&i->lock);
    return state;
}

bool ingest_is_stopping(struct ingest *i)
{
    ON_LOOP(i->loop);
    return i->over && !ingest_is_verified(ingest_state(i));
}

int64_t ingest_size(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t size = i->size;
    pthread_mutex_unlock(&i->lock);
    return size;
}

int64_t ingest_received(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int64_t received = i->received;
    pthread_mutex_unlock(&i->lock);
    return received;
}

int64_t ingest_resumed(const struct ingest *i)
{
    return i->resumed;
}

int ingest_followers(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    int n = i->follower_count;
    pthread_mutex_unlock(&i->lock);
    return n;
}

const char *ingest_validator(struct ingest *i)
{
    return i->validator;
}
