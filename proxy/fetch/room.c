/* The disk is full in the middle of a blob: the collector makes room, and the fetch goes on where it was. */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/log.h"

enum { QUESTIONS_MAX = 3 /* of one fetch */ };

struct room_question {
    struct blob_fetch *blob; /* NULL: it has ended */
};

static void blob_room_answered(void *arg, bool given)
{
    struct room_question *q = arg;
    struct blob_fetch *b = q->blob;

    free(q);
    if (!b)
        return;
    struct fetch *f = &b->common;
    b->question = NULL;
    bool wanted = ingest_followers(b->ingest) > 0 || !STAILQ_EMPTY(&f->waiters);
    fetch_run(f, given && wanted && !f->fetcher->stopping ? STEP_ASK : STEP_FAIL);
}

bool blob_ask_for_room(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct ingests *ingests = cache_ingests(fetch_cache(f));
    int64_t size = ingest_size(b->ingest);

    ON_LOOP(f->fetcher->loop);
    /* Nothing is evicted for a blob that may never end. */
    if (!ingests_room(ingests)->ask || size < 0 || b->questions++ == QUESTIONS_MAX)
        return false;
    b->question = xcalloc(1, sizeof(*b->question));
    b->question->blob = b;
    b->resting = true;
    log_limited(LOG_LEVEL_WARN, "disk full", "the disk is full: asking the collector for room");
    ingests_ask_for_room(ingests, size - ingest_received(b->ingest), ROOM_ON_DISK, blob_room_answered, b->question,
                         f->fetcher->loop);
    return true;
}

void blob_forget_room(struct blob_fetch *b)
{
    if (b->question)
        b->question->blob = NULL;
}
