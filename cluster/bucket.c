/* The bucket's loop: its probe, its turns, its life. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <event2/event.h>
#include <string.h>

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
    b->turn(b);
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

static void bucket_turn(void *arg)
{
    struct bucket *b = arg;
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
    b->turn = bucket_turn;
    b->resting = true;
    snprintf(b->why_not, sizeof(b->why_not), "it has not answered yet");
    loop_post(b->loop, bucket_turn, b);
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
    bucket_queue_stop(b);
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
