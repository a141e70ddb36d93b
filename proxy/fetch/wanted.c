/* How much of a blob is to be fetched, and over how many connections to its registry at most. */
#include "proxy/fetch/blob.h"

enum { LOST_MAX = 4 /* connections of one fetch that failed: then there are no further ones */ };

bool blob_is_whole(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);

    if (blob_is_relay(f)) /* nothing is kept of it */
        return b->whole || b->without_piece || ingest_is_wanted_whole(b->ingest);
    if (b->ahead || (b->ingest && ingest_holds_back(b->ingest))) /* pieces wait for the whole to be verified */
        return true;
    switch (config_fetch_for(f->want.site->all, f->want.site->config)) {
    case CONFIG_FETCH_WHOLE:
        return true;
    case CONFIG_FETCH_LAZY:
        return b->kept;
    default:
        return b->kept || b->whole || ingest_is_wanted_whole(b->ingest);
    }
}

int blob_registry_limit(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);
    bool one = b->ahead || blob_is_relay(f) || !b->waiters_follow || b->lost >= LOST_MAX ||
               ingest_size(b->ingest) < 0 || upstream_is_one_stream(f->want.site->upstream);

    return one ? 1 : f->want.site->config->parallel;
}
