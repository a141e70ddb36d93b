/* feed.h - requests of one serve loop on their way to the pulls (pulls.h): gathered, and posted to their loop.
 *
 * The first request of its kind goes at once, so that what is not here yet can be told from what was; the same manifest
 * again and again, and blobs, go ten times a second. A feed belongs to its loop.
 */
#ifndef ENTREPOT_PROXY_SEEN_FEED_H
#define ENTREPOT_PROXY_SEEN_FEED_H

#include "proxy/seen/pulls.h"

struct pull_feed;

/* From `from`, to the pulls on `to`; both are borrowed. Before the loop starts. */
struct pull_feed *pull_feed_new(struct loop *from, struct loop *to, struct pulls *pulls);
/* Where the next request is put; none of it is set. */
struct pull_request *pull_feed_next(struct pull_feed *f);
/* A manifest that was sent from the cache; texts and digest are borrowed. agent: NULL: it has none. */
struct pull_again {
    const char *client, *agent, *name, *tag;
    const struct digest *digest;
    bool head;
    int64_t bytes, ended_ms; /* monotonic */
};
/* If one that is the same but for its time is gathered, counts there: nothing is copied. False: there is none. */
bool pull_feed_again(struct pull_feed *f, const struct pull_again *again);
/* It is set: takes it. */
void pull_feed_add(struct pull_feed *f);
/* Posts what there is. */
void pull_feed_flush(struct pull_feed *f);
/* After its loop has ended. */
void pull_feed_free(struct pull_feed *f);

#endif
