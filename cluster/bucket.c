/* The bucket's state: whether it rests, what it lacks, what is queued, and its figures.
 *
 *              a read fails
 *     up ─────────────────────▶ resting (2 s, doubling to 60 s)
 *      ▲                            │ a probe, by the bucket's own loop: no reader waits for a bucket that may be gone
 *      └──── an answer ◀────────────┘
 *
 * It begins resting, with a probe at once: what is wrong with the key is known before the first pull. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
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

static void bucket_wake(void *arg)
{
    bucket_turn(arg);
}

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
        loop_post(b->loop, bucket_wake, b);
    pthread_mutex_unlock(&b->lock);
    if (was_resting && had_failed)
        log_limited_about(LOG_LEVEL_INFO, "bucket-up", b->name, "%s: it answers again", b->name);
}

void bucket_note_bad(struct bucket *b, int64_t began_ms, const char *why)
{
    int64_t now = clock_mono_ms(), rest = 0;

    pthread_mutex_lock(&b->lock);
    if (began_ms >= b->failed_ms) {
        rest = MIN((int64_t)BUCKET_REST_MS << MIN(b->failures, 10), (int64_t)BUCKET_REST_MAX_MS);
        b->failures++;
        b->failed_ms = now;
        b->probe_ms = now + rest;
        b->resting = true;
        snprintf(b->why_not, sizeof(b->why_not), "%s", why);
        if (!b->stopping)
            loop_post(b->loop, bucket_wake, b);
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

/* ---- its loop ---- */

static bool probe_take_head(void *arg UNUSED, const struct transfer_response *r UNUSED)
{
    return false;
}

static bool probe_take_data(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED)
{
    return false;
}

/* What has come of it is noted by now. */
static void probe_take_end(void *arg, const struct transfer_response *r UNUSED, const struct err *err UNUSED)
{
    struct bucket *b = arg;

    b->probe = NULL;
    bucket_turn(b);
}

/* A GET of an object that there is not: its answer has a body, which says what is wrong with the key. */
static void bucket_probe(struct bucket *b)
{
    const struct bucket_range nothing = {.engine = b->engine,
                                         .loop = b->loop,
                                         .digest = {.alg = DIGEST_SHA256},
                                         .last = 0,
                                         .on_head = probe_take_head,
                                         .on_data = probe_take_data,
                                         .on_done = probe_take_end,
                                         .arg = b};

    b->probe = bucket_get_probe(b, &nothing);
}

void bucket_turn(struct bucket *b)
{
    int64_t now = clock_mono_ms(), next = -1;

    ON_LOOP(b->loop);
    pthread_mutex_lock(&b->lock);
    bool stopping = b->stopping, resting = b->resting;
    int64_t probe_ms = b->probe_ms;
    pthread_mutex_unlock(&b->lock);
    if (stopping)
        return;
    if (!resting)
        next = bucket_put_turn(b);
    else if (!b->probe && now >= probe_ms)
        bucket_probe(b);
    else if (!b->probe)
        next = probe_ms;
    if (next < 0)
        return;
    int64_t wait = MAX(next - now, (int64_t)1);
    const struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};
    evtimer_add(b->timer, &tv);
}

static void bucket_on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    bucket_turn(arg);
}

/* ---- its life ---- */

static bool bucket_set_key(struct bucket *b, const struct config_shared *c, struct cred_workers *workers,
                           struct err *err)
{
    struct cred_options o;
    enum cred_source source = cred_options_source(&c->credentials);

    if (source != CRED_FROM_PASSWORD && source != CRED_FROM_ECR)
        return err_set(err, ERR_INVALID,
                       "the credentials of a bucket are username with password_file, or provider: ecr");
    cred_options_copy(&o, &c->credentials);
    if (source == CRED_FROM_ECR && !o.region)
        o.region = xstrdup(b->place.region);
    b->cred = cred_new_aws(&o, b->place.host, workers);
    cred_options_free(&o);
    return true;
}

static bool bucket_set_up(struct bucket *b, const struct config_shared *c, struct cred_workers *workers,
                          struct err *err)
{
    if (!s3_place_set(&b->place, c->s3, c->bucket, c->prefix, c->region, err))
        return err_wrap(err, "the shared tier");
    if (!bucket_set_key(b, c, workers, err))
        return false;
    b->name = xasprintf("%s/%s", b->place.authority, c->bucket);
    trust_copy(&b->trust, &(struct trust){.ca = c->ca});
    b->named[0] = b->place.host;
    b->loop = loop_new("bucket", err);
    b->engine = b->loop ? transfer_engine_new(b->loop, err) : NULL;
    if (!b->engine)
        return false;
    b->timer = evtimer_new(loop_base(b->loop), bucket_on_timer, b);
    b->resting = true;
    snprintf(b->why_not, sizeof(b->why_not), "it has not answered yet");
    loop_post(b->loop, bucket_wake, b);
    return loop_start(b->loop, err);
}

struct bucket *bucket_start(const struct config_shared *c, struct cred_workers *workers,
                            const struct bucket_files *files, struct err *err)
{
    struct bucket *b = xcalloc(1, sizeof(*b));

    b->files = *files;
    pthread_mutex_init(&b->lock, NULL);
    TAILQ_INIT(&b->queue);
    b->lacks = xcalloc(BUCKET_LACKS, sizeof(*b->lacks));
    b->wrongs = xcalloc(BUCKET_WRONGS, sizeof(*b->wrongs));
    if (bucket_set_up(b, c, workers, err))
        return b;
    b->stopping = true; /* its loop has not run */
    bucket_free(b);
    return NULL;
}

/* On its loop: what is under way there ends. */
static void bucket_wind_up(void *arg)
{
    struct bucket *b = arg;

    if (b->probe)
        bucket_get_cancel(b->probe);
    b->probe = NULL;
    bucket_put_stop(b);
    evtimer_del(b->timer);
    loop_stop(b->loop);
}

void bucket_stop(struct bucket *b)
{
    pthread_mutex_lock(&b->lock);
    bool stopped = b->stopping;
    b->stopping = true;
    pthread_mutex_unlock(&b->lock);
    if (stopped)
        return;
    loop_post(b->loop, bucket_wind_up, b);
    loop_join(b->loop);
    transfer_engine_end(b->engine);
}

bool bucket_settle(struct bucket *b)
{
    return loop_settle(b->loop);
}

bool bucket_is_idle(const struct bucket *b)
{
    return atomic_load(&b->users) == 0 && cred_is_idle(b->cred);
}

void bucket_free(struct bucket *b)
{
    if (!b)
        return;
    bucket_stop(b);
    if (b->timer)
        event_free(b->timer);
    if (b->loop)
        loop_settle(b->loop);
    if (b->engine)
        transfer_engine_free(b->engine);
    if (b->loop)
        loop_free(b->loop);
    cred_free(b->cred);
    trust_clear(&b->trust);
    s3_place_clear(&b->place);
    pthread_mutex_destroy(&b->lock);
    free(b->name);
    free(b->lacks);
    free(b->wrongs);
    free(b);
}
