/* The bucket's state: whether it rests, what it lacks, and its figures. Any thread.
 *
 *              a read fails
 *     up ─────────────────────▶ resting (2 s, doubling to 60 s)
 *      ▲                            │ a probe, by the bucket's own loop: no reader waits for what may be gone
 *      └──── an answer ◀────────────┘
 *
 * It begins resting, with a probe at once: what is wrong with the key is known before the first pull. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

/* ---- tables of digests ---- */

static struct bucket_slot *slot_at(struct bucket_slot *table, int slots, const struct digest *d)
{
    return &table[digest_hash(d) % (uint64_t)slots];
}

static bool slot_has(struct bucket_slot *table, int slots, const struct digest *d)
{
    const struct bucket_slot *s = slot_at(table, slots, d);

    return s->until_ms > clock_mono_ms() && digest_eq(&s->digest, d);
}

static void slot_put(struct bucket_slot *table, int slots, const struct digest *d, int64_t until_ms)
{
    *slot_at(table, slots, d) = (struct bucket_slot){*d, until_ms};
}

static void slot_drop(struct bucket_slot *table, int slots, const struct digest *d)
{
    if (slot_has(table, slots, d))
        slot_at(table, slots, d)->until_ms = 0;
}

void bucket_note_lack(struct bucket *b, const struct digest *d)
{
    pthread_mutex_lock(&b->lock);
    b->counted.lacked++;
    slot_put(b->lacks, BUCKET_LACKS, d, clock_mono_ms() + BUCKET_LACK_MS);
    pthread_mutex_unlock(&b->lock);
}

void bucket_note_there(struct bucket *b, const struct digest *d)
{
    pthread_mutex_lock(&b->lock);
    slot_drop(b->lacks, BUCKET_LACKS, d);
    slot_drop(b->wrongs, BUCKET_WRONGS, d);
    pthread_mutex_unlock(&b->lock);
}

void bucket_note_wrong(struct bucket *b, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    log_warn("%s: the bytes of %s are wrong: it is not read again until it has been replaced", b->name,
             digest_format(d, text));
    pthread_mutex_lock(&b->lock);
    slot_put(b->wrongs, BUCKET_WRONGS, d, INT64_MAX);
    pthread_mutex_unlock(&b->lock);
}

bool bucket_is_wrong(struct bucket *b, const struct digest *d)
{
    pthread_mutex_lock(&b->lock);
    bool is = slot_has(b->wrongs, BUCKET_WRONGS, d);
    pthread_mutex_unlock(&b->lock);
    return is;
}

bool bucket_may_have(struct bucket *b, const struct digest *d)
{
    pthread_mutex_lock(&b->lock);
    bool may = d->alg == DIGEST_SHA256 && !b->resting && !b->stopping && !slot_has(b->lacks, BUCKET_LACKS, d) &&
               !slot_has(b->wrongs, BUCKET_WRONGS, d);
    pthread_mutex_unlock(&b->lock);
    return may;
}

/* ---- resting ---- */

void bucket_note_good(struct bucket *b, bool whole)
{
    pthread_mutex_lock(&b->lock);
    bool was_resting = b->resting, had_failed = b->failures > 0;
    b->resting = false;
    b->why_not[0] = '\0';
    if (whole)
        b->failures = 0;
    bool wake = was_resting && !b->stopping;
    if (wake)
        loop_post(b->loop, b->turn, b);
    pthread_mutex_unlock(&b->lock);
    if (was_resting && had_failed)
        log_limited_about(LOG_LEVEL_INFO, "bucket-up", b->name, "%s: it answers again", b->name);
}

void bucket_note_bad(struct bucket *b, int64_t began_ms, const char *why)
{
    int64_t now = clock_mono_ms(), rest = 0;

    pthread_mutex_lock(&b->lock);
    if (began_ms > b->failed_ms) {
        rest = MIN((int64_t)BUCKET_REST_MS << MIN(b->failures, 10), (int64_t)BUCKET_REST_MAX_MS);
        b->failures++;
        b->failed_ms = now;
        b->probe_ms = now + rest;
        b->resting = true;
        snprintf(b->why_not, sizeof(b->why_not), "%s", why);
        if (!b->stopping)
            loop_post(b->loop, b->turn, b);
    }
    pthread_mutex_unlock(&b->lock);
    if (rest > 0)
        log_limited_about(LOG_LEVEL_WARN, "bucket-down", b->name, "the shared tier rests for %d s: %s",
                          (int)(rest / 1000), why);
}

void bucket_note_refused(struct bucket *b, const char *why)
{
    pthread_mutex_lock(&b->lock);
    b->write_refused = true;
    b->write_ms = clock_mono_ms() + BUCKET_WRITES_REST_MS;
    snprintf(b->why_no_write, sizeof(b->why_no_write), "no uploads: %.180s", why);
    pthread_mutex_unlock(&b->lock);
    log_limited_about(LOG_LEVEL_WARN, "bucket-write", b->name, "nothing is uploaded to the shared tier for %d min: %s",
                      BUCKET_WRITES_REST_MS / 60000, why);
}

void bucket_note_read(struct bucket *b, size_t bytes)
{
    pthread_mutex_lock(&b->lock);
    b->counted.read += bytes;
    pthread_mutex_unlock(&b->lock);
}

void bucket_get_stats(struct bucket *b, struct bucket_stats *out)
{
    pthread_mutex_lock(&b->lock);
    *out = b->counted;
    out->up = !b->resting;
    out->queued = b->queued;
    snprintf(out->why, sizeof(out->why), "%s", b->why_not[0] ? b->why_not : b->why_no_write);
    pthread_mutex_unlock(&b->lock);
}
