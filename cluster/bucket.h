/* bucket.h - the shared tier: blobs by digest in a bucket of an S3-compatible store, which all nodes read and write.
 *
 *     <prefix>blobs/sha256/<2 hex>/<hex>    one object a blob, whole; its reader checks its bytes
 *
 * A private blob has another name than its digest, which has that of its repository in it: that somebody knows the
 * digest, and writes a manifest that contains it, does not open it. What is named so is read for that repository alone.
 *
 * A bucket is never needed: one that fails rests for a while. Written behind: a blob that was stored is queued, and
 * uploaded by a loop of its own ("bucket"), unless it is there already (If-None-Match: *). Everything is bounded.
 */
#ifndef ENTREPOT_CLUSTER_BUCKET_H
#define ENTREPOT_CLUSTER_BUCKET_H

#include "base/digest.h"
#include "base/loop.h"
#include "config/config.h"
#include "upstream/cred/cred.h"
#include "upstream/transfer.h"

struct bucket;
struct bucket_get;

/* How the bucket gets at a blob that is to be uploaded. Called on the bucket's own loop. */
struct bucket_files {
    /* A descriptor of the stored file, the caller's to close, and its size; -1: it is gone. */
    int (*open)(void *arg, const struct digest *d, int64_t *size);
    void *arg;
};

/* Starts its loop. Everything is borrowed. Errors: ERR_IO, ERR_INVALID. */
struct bucket *bucket_start(const struct config_shared *c, struct cred_workers *workers,
                            const struct bucket_files *files, struct err *err);
/* Gives up what is queued or under way (it is only a copy), ends the loop. Readers have ended before. */
void bucket_stop(struct bucket *b);
/* After that: runs what others have posted to its loop since; whether there was anything. */
bool bucket_settle(struct bucket *b);
/* Whether no transfer, of any loop, and no job of the workers uses anything of it. Any thread; it stays so while
 * nothing is started. */
bool bucket_is_idle(const struct bucket *b);
/* After cred_workers_stop(), or when it is idle. */
void bucket_free(struct bucket *b); /* may be NULL */

/* ---- reading: on the caller's loop, with its engine ---- */

struct bucket_range {
    struct transfer_engine *engine;
    struct loop *loop;
    struct digest digest; /* the name */
    int64_t first, last;  /* inclusive; last -1: to the end */
    /* as in transfer.h; never with another status than 200 or 206: what the bucket lacks or refuses is ERR_NOT_FOUND,
     * what it fails at ERR_UPSTREAM, ERR_TIMEOUT or ERR_UNREACHABLE */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

/* Whether it may be asked now: it does not rest, and is not known to lack this blob (a minute). Any thread. */
bool bucket_may_have(struct bucket *b, const struct digest *d);
/* Callbacks come later, from the loop; on_done once, unless cancelled. It is given up when there is no head within
 * BUCKET_HEAD_MS. */
enum { BUCKET_HEAD_MS = 800 };
struct bucket_get *bucket_get_start(struct bucket *b, const struct bucket_range *range);
void bucket_get_pause(struct bucket_get *g, bool pause);
void bucket_get_cancel(struct bucket_get *g);
/* Its bytes were wrong: the object is not read again, and is replaced by the next upload. Any thread. */
void bucket_note_wrong(struct bucket *b, const struct digest *d);

/* ---- writing ---- */

/* A blob was stored here: it is uploaded some time, unless the queue is full. Any thread. */
void bucket_offer(struct bucket *b, const struct digest *d, const struct digest *name, int64_t size);
/* The name of a private blob of a repository ("docker.io/team/app"); that of a public one is its digest. */
void bucket_name_private(const char *repository, const struct digest *d, struct digest *name);

struct bucket_stats {
    bool up;                          /* its last answer was one */
    char why[200];                    /* what is wrong; "" nothing */
    uint64_t read, written;           /* bytes */
    uint64_t dropped, failed, lacked; /* blobs not queued; uploads that failed; reads of what it has not */
    int queued;
};
/* Any thread. */
void bucket_get_stats(struct bucket *b, struct bucket_stats *out);

#endif
