/* What is being fetched, for those who look for what hangs. */
#include "proxy/fetch/blob.h"

#include "base/buf.h"
#include "base/clock.h"

enum { LINES_MAX = 128 };

static double seconds_since(int64_t ms)
{
    return (double)(clock_mono_ms() - ms) / 1000;
}

static int count_of(const struct fetch_waiters *waiters)
{
    const struct fetch_waiter *w;
    int n = 0;

    STAILQ_FOREACH(w, waiters, entry)
        n++;
    return n;
}

static void print_source(const struct blob_source *s, struct buf *out)
{
    const char *whom = s->peer ? s->peer->who.address : s->choice.from == STRIPE_BUCKET ? "the bucket" : "the registry";

    buf_addf(out, "    connection to %s: at %lld", whom, (long long)s->at);
    if (s->end != INT64_MAX)
        buf_addf(out, " of the bytes before %lld", (long long)s->end);
    if (s->heard_ms == 0)
        buf_addf(out, ", no answer yet for %.1f s", seconds_since(s->active_ms));
    else
        buf_addf(out, ", brought %lld at %lld bytes/s, the last %.1f s ago", (long long)s->brought, (long long)s->rate,
                 seconds_since(s->active_ms));
    buf_addf(out, "%s\n", s->stuck ? ", given up as stuck" : "");
}

static void print_blob(const struct blob_fetch *b, struct buf *out)
{
    const struct blob_source *s;

    if (b->ingest)
        buf_addf(out, "    %lld bytes of %lld are here, %d followers%s\n", (long long)ingest_received(b->ingest),
                 (long long)ingest_size(b->ingest), ingest_followers(b->ingest),
                 ingest_is_ahead(b->ingest) ? "; waits for room, the disk or the hash" : "");
    if (b->resting)
        buf_addf(out, "    waits before attempt %d\n", b->attempts + 1);
    if (b->denied_ms)
        buf_adds(out, "    waits for a client whose token is not refused\n");
    if (b->question)
        buf_adds(out, "    the collector looks for room on the disk\n");
    TAILQ_FOREACH(s, &b->sources, entry)
        print_source(s, out);
}

static void print_fetch(const struct fetch *f, struct buf *out)
{
    buf_addf(out, "  %.300s: %s, for %.1f s, %d waiters%s%s\n", f->key, fetch_step_name(f->step),
             seconds_since(f->started_ms), count_of(&f->waiters), f->call ? ", asks the registry" : "",
             f->for_cache ? ", for the cache itself" : "");
    if (f->type == &BLOB_FETCH)
        print_blob(blob_of(f), out);
}

void fetchers_print(const struct fetchers *all, const struct loop *loop, struct buf *out)
{
    const struct fetch *f;
    int left = LINES_MAX;

    ON_LOOP(loop);
    for (int i = 0; i < all->count; i++) {
        if (all->list[i].loop != loop)
            continue;
        LIST_FOREACH(f, &all->list[i].active, entry) {
            if (left-- == 0) {
                buf_adds(out, "  ... and more\n");
                return;
            }
            print_fetch(f, out);
        }
    }
}
