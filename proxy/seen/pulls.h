/* pulls.h - who pulled what: a pull is recognised over its requests, from the manifest to the last layer.
 *
 *     HEAD manifests/1.27 ─▶ GET manifests/sha256:index ─▶ GET manifests/sha256:image ─▶ GET blobs/… ─▶ ... ─▶ over
 *     └────────────────────────────── same client, user agent and repository ──────────────────────────┘
 *
 * A request for a manifest belongs to the pull in flight with its tag, or whose manifest or child it names by
 * digest; else it begins one. A request for a blob belongs to the latest pull whose image names the blob, else to
 * the latest one of the repository. What an image consists of is read from the cache. A pull is over when each of
 * its blobs was sent, and nothing was requested for a moment; or, since a client does not request what it has, after
 * pulls_options.quiet_ms without a request; or when its tag has changed. A failure counts unless the same thing was
 * sent later. Which of several identical programs at one address made a request cannot be known: at the same time,
 * of the same image, they are one.
 *
 * HEAD alone (a look whether a tag has changed) is no pull, and is forgotten.
 *
 * Bytes count as fetched if they were fetched for this pull: a fetch that its request began, or (it was read
 * ahead) a blob that was not here when the pull began, unless another pull in flight has it counted already. If other
 * nodes of the cluster or the bucket have sent some of the blob, they are divided by how much of it came from where, as
 * far as pulls_options.came() knows; else they are of the source that answered first.
 *
 * The table is bounded (PULLS_MAX; the longest quiet one ends), and so is what is kept of pulls that are over (a
 * ring of PULLS_KEPT). Everything belongs to one loop, the main one, which the serve loops post to (feed.h);
 * pulls_each() and pulls_since() are for any thread.
 */
#ifndef ENTREPOT_PROXY_SEEN_PULLS_H
#define ENTREPOT_PROXY_SEEN_PULLS_H

#include "base/loop.h"
#include "base/ref.h"
#include "proxy/seen/engines.h"
#include "proxy/seen/parts.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    PULLS_MAX = 1024, /* in flight */
    PULLS_KEPT = 1000,
    PULL_LAYERS_MAX = 1024, /* of one pull that are followed */
    PULL_QUIET_MS = 30000,
    PULL_FAILED_MS = 5000, /* after a manifest that could not be had: engines go elsewhere, or give up */
    PULL_DONE_MS = 1000,   /* after the last blob: skopeo copy --all goes on with the next platform */
    PULL_CLIENT_MAX = 45,
    PULL_AGENT_MAX = 127,
    PULL_ID_MAX = 64,
};

struct pulls;

/* ---- what is seen of one ---- */

enum pulled_result { PULLED_GOING, PULLED_OK, PULLED_FAILED, PULLED_CUT_OFF, PULLED_RESULTS };

struct pull_seen {
    uint64_t number;          /* ascending, in the order of pulls that are over; 0: it is in flight */
    char id[PULL_ID_MAX + 1]; /* of the request that began it */
    char client[PULL_CLIENT_MAX + 1], agent[PULL_AGENT_MAX + 1];
    enum seen_engine engine;
    char name[REF_NAME_MAX + 1];          /* "docker.io/library/nginx" */
    char tag[REF_TAG_MAX + 1];            /* or "": by digest */
    struct digest digest;                 /* of the tag, or that was asked for; DIGEST_NONE: not known */
    char platform[PULL_PLATFORM_MAX + 1]; /* "": not known; "several" */
    bool is_private;                      /* the repository is */
    int64_t begun_ms, ended_ms;           /* since 1970; ended_ms: of the last request that is over */
    int64_t from[PULL_FROMS];             /* bytes sent */
    int requests, blobs, blobs_done;      /* blobs: config and layers that it is known to consist of */
    int64_t size, missing;                /* bytes of these; of those that were not here when it began */
    int64_t waited_ms;                    /* the longest wait for upstream's first byte; 0: none */
    struct digest waited_for;             /* the blob; DIGEST_NONE: a manifest */
    int64_t slowest_ms;                   /* the request that took longest */
    struct digest slowest;
    enum pulled_result result;
    char *cause; /* of a failure; NULL: none. The owner's: not of copies */
};

const char *pulled_result_name(enum pulled_result r);

/* ---- requests ---- */

/* One of a client's, when it begins (blobs only) or is complete. */
struct pull_request {
    bool begins, blob, head;
    int count;                      /* alike ones, of a manifest that is here */
    int64_t at_ms;                  /* its beginning, since 1970 */
    int64_t ended_ms;               /* monotonic */
    int64_t duration_ms, waited_ms; /* waited_ms: -1: not for upstream */
    int64_t bytes;
    int status;
    bool whole;                  /* the client has got all of the answer */
    enum pull_from from;         /* the cache, unless it was fetched for this request */
    bool relayed;                /* not kept: all of it from there */
    struct digest asked, digest; /* that it names; that it was answered with */
    char id[PULL_ID_MAX + 1], client[PULL_CLIENT_MAX + 1], agent[PULL_AGENT_MAX + 1];
    char name[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1];
    char *failure; /* owned */
};

/* ---- its life ---- */

struct pulls_options {
    /* What a manifest consists of; false: it is not known now. On the loop. */
    bool (*look)(void *arg, const char *name, const struct digest *manifest, struct pull_parts *out);
    /* The bytes of a blob by where they have come from, without PULL_FROM_CACHE; false: it is not known. NULL: it never
     * is. On the loop. */
    bool (*came)(void *arg, const struct digest *blob, int64_t from[PULL_FROMS]);
    void *arg;
    int64_t quiet_ms, failed_ms, done_ms; /* 0: as above */
    int most;                             /* 0: PULLS_MAX */
};

struct pulls *pulls_new(const struct pulls_options *o, struct loop *loop);
/* Ends those in flight, as they are. On the loop. */
void pulls_stop(struct pulls *p);
void pulls_free(struct pulls *p);
/* Takes r->failure. On the loop. */
void pulls_take(struct pulls *p, struct pull_request *r);
/* Ends those that are over by `now_ms` (monotonic); a clock does it each second. On the loop. */
void pulls_look(struct pulls *p, int64_t now_ms);
/* Calls fn(arg, event, pull) for each pull that begins, goes on (a blob of it is over) and ends. One subscriber more
 * each time, at most PULLS_SUBSCRIBERS; before the loop runs, or on it. No lock is held; the pull is borrowed. */
enum { PULLS_SUBSCRIBERS = 4 };
enum pull_event { PULL_BEGINS, PULL_GOES_ON, PULL_ENDS };
bool pulls_subscribe(struct pulls *p, void (*fn)(void *arg, enum pull_event event, const struct pull_seen *pull),
                     void *arg);

/* ---- any thread ---- */

/* Those in flight, the latest first; copies. The lock is not held while `fn` runs. */
void pulls_each(struct pulls *p, void (*fn)(void *arg, const struct pull_seen *pull), void *arg);
/* Those that are over with a greater number, the oldest first, at most `most`; as above. The last one's number, or
 * `number`. `since_ms`: that have not ended before. */
uint64_t pulls_since(struct pulls *p, uint64_t number, int64_t since_ms, int most,
                     void (*fn)(void *arg, const struct pull_seen *pull), void *arg);
/* The pull in flight that waits for this blob, or is being sent it; a copy without its cause. False: there is none.
 * *nth: which of its blobs, from 1; 0: not known. */
bool pulls_find(struct pulls *p, const struct digest *blob, struct pull_seen *out, int *nth);
/* How many have ended so. */
uint64_t pulls_count(const struct pulls *p, enum pulled_result r);

#endif
