/* The disk is full in the middle of a blob: the collector is asked for room, and the download goes on where it was. */
#include "proxy/fetch/private.h"

#include "base/log.h"

enum { QUESTIONS_MAX = 3 /* of one fetch */ };

static void answered(void *arg, bool granted)
{
    struct room_question *q = arg;
    struct fetch *f = q->f;

    free(q);
    if (!f)
        return;
    f->question = NULL;
    bool wanted = ingest_followers(f->ingest) > 0 || !STAILQ_EMPTY(&f->waiters);
    fetch_run(f, granted && wanted && !f->fetcher->stopping ? STEP_ASK : STEP_FAIL);
}

bool fetch_ask_for_room(struct fetch *f)
{
    struct ingests *ingests = cache_ingests(fetch_cache(f));
    int64_t size = ingest_size(f->ingest);

    /* Nothing is let go of for a blob that may never end. */
    if (!ingests_room(ingests)->ask || size < 0 || f->questions++ == QUESTIONS_MAX)
        return false;
    f->question = xcalloc(1, sizeof(*f->question));
    f->question->f = f;
    log_limited(LOG_LEVEL_WARN, "disk full", "the disk is full: asking the collector for room");
    ingests_ask_for_room(ingests, size - ingest_received(f->ingest), ROOM_ON_DISK, answered, f->question,
                         f->fetcher->loop);
    return true;
}
