/* bucket_private.h - between the files of the bucket, each of which uses those before it: bucket_state.c, bucket_call.c
 * (a signed request), bucket_get.c (reading), bucket_queue.c, bucket_parts.c and bucket_put.c (writing), bucket.c. */
#ifndef ENTREPOT_CLUSTER_BUCKET_PRIVATE_H
#define ENTREPOT_CLUSTER_BUCKET_PRIVATE_H

#include "base/buf.h"
#include "cluster/bucket.h"
#include "cluster/s3.h"

#include "upstream/trust.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

enum {
    BUCKET_QUEUE_MAX = 1024, /* blobs, those under way included */
    BUCKET_UPLOADS = 2,
    BUCKET_TRIES = 3,
    BUCKET_RETRY_MS = 3000, /* after a failed upload; four times as long after the next one */
    BUCKET_LACKS = 4096,    /* slots of a table where a later entry replaces an earlier one */
    BUCKET_WRONGS = 512,
    BUCKET_LACK_MS = 60000,
    BUCKET_REST_MS = 2000, /* after a failure; doubles */
    BUCKET_REST_MAX_MS = 60000,
    BUCKET_WRITES_REST_MS = 600000, /* after uploads were refused */
    BUCKET_SKEW_S = 240,            /* a smaller difference of clocks is not why a request was refused */
    BUCKET_ANSWER_MAX = 64 << 10,   /* bytes of an answer that is no blob */
    BUCKET_STALL_MS = 5000,
    BUCKET_CALL_MS = 30000,      /* of an upload's request, beside the time for its body */
    BUCKET_RATE_MIN = 128 << 10, /* bytes a second of that body */
    BUCKET_SEND_BUFFER = 64 << 10,
    BUCKET_PART = 16 << 20, /* bytes; larger blobs are uploaded in parts */
    BUCKET_PARTS_MAX = 10000,
    BUCKET_ID_MAX = 1024, /* of a multipart upload */
};

struct bucket_slot {
    struct digest digest;
    int64_t until_ms; /* monotonic */
};

/* A blob in the queue. */
struct bucket_upload {
    TAILQ_ENTRY(bucket_upload) entry;
    struct bucket *b;
    struct digest digest, name;
    int64_t size;
    int tries;
    int64_t due_ms; /* monotonic: not before */
    bool active;
    /* owned by the bucket's loop, while it is active */
    int fd; /* -1: closed */
    char *path;
    struct bucket_call *call;
    bool replace; /* what is there is wrong */
    bool bare;    /* without a condition */
    int64_t began_ms;
    struct bucket_parts *parts; /* bucket_parts.c; NULL: it is one PUT */
    void (*free_parts)(struct bucket_parts *parts);
};

struct bucket {
    /* set once */
    struct s3_place place;
    char *name; /* "s3.example.com/images" */
    struct cred *cred;
    struct trust trust;
    const char *named[2];
    struct loop *loop;
    struct transfer_engine *engine;
    struct bucket_files files;
    void (*turn)(void *bucket); /* bucket.c: looks at its queue and its clock; on its loop */
    /* any thread */
    atomic_int users;           /* transfers, of any loop, that use what is set once */
    atomic_int_fast64_t skew_s; /* the store's clock, less this node's */
    /* shared, under lock */
    pthread_mutex_t lock;
    struct bucket_slot *lacks, *wrongs;
    bool resting, write_refused, stopping;
    int failures;      /* in a row */
    int64_t failed_ms; /* monotonic: the last failure */
    int64_t probe_ms;  /* monotonic: when a resting one is tried again */
    int64_t write_ms;  /* monotonic: when uploads go on */
    char why_not[200], why_no_write[200];
    struct bucket_stats counted; /* its figures */
    TAILQ_HEAD(bucket_queue, bucket_upload) queue;
    int queued, active;
    /* owned by its loop */
    struct event *timer;
    struct bucket_get *probe;
    bool no_conditions; /* the store does not implement If-None-Match */
};

/* ---- bucket_state.c: any thread ---- */

/* A request that began at `began_ms` was answered, or failed: one that began before the last failure does not count
 * again. `whole`: what was requested has come; a probe does not say that. */
void bucket_note_good(struct bucket *b, bool whole);
void bucket_note_bad(struct bucket *b, int64_t began_ms, const char *why);
void bucket_note_lack(struct bucket *b, const struct digest *d);
/* It is there now. */
void bucket_note_there(struct bucket *b, const struct digest *d);
bool bucket_is_wrong(struct bucket *b, const struct digest *d);
/* Uploads are refused: they rest. */
void bucket_note_refused(struct bucket *b, const char *why);
void bucket_note_read(struct bucket *b, size_t bytes);

/* ---- bucket_get.c ---- */

/* As bucket_get_start(), to see whether it answers: it may rest, and figures do not count it. */
struct bucket_get *bucket_get_probe(struct bucket *b, const struct bucket_range *range);

/* ---- bucket_queue.c: on the bucket's loop ---- */

/* The next upload that may start, which is active from now on; NULL, and when there is one (monotonic), or -1. */
struct bucket_upload *bucket_queue_take(struct bucket *b, int64_t *when);
/* Gives up all of it. */
void bucket_queue_stop(struct bucket *b);
enum bucket_outcome { BUCKET_PUT_WRITTEN, BUCKET_PUT_THERE, BUCKET_PUT_FAILED, BUCKET_PUT_GONE };
/* The upload has ended. `why`: of BUCKET_PUT_FAILED. */
void bucket_upload_end(struct bucket_upload *u, enum bucket_outcome outcome, const char *why);
struct bucket_answer;
/* The same for an answer that is no success. */
void bucket_upload_fail(struct bucket_upload *u, const struct bucket_answer *a);
/* Whether the store has answered that it does not implement the condition; from then on it is not sent. */
bool bucket_upload_is_bare(struct bucket_upload *u, const struct bucket_answer *a);
/* Bytes of the file; 0: it has become shorter, or cannot be read. */
size_t bucket_upload_read(struct bucket_upload *u, int64_t at, char *out, size_t cap);

/* ---- bucket_parts.c, bucket_put.c: on the bucket's loop ---- */

void bucket_parts_start(struct bucket_upload *u);
/* Starts what may start; returns when to be called again (monotonic), or -1. */
int64_t bucket_put_turn(struct bucket *b);

/* ---- bucket_call.c: a signed request ---- */

struct bucket_answer {
    int status;                        /* 0: none */
    char code[S3_CODE_MAX + 1];        /* "NoSuchKey"; "" none */
    const char *body;                  /* of an answer that on_data did not get; "" none */
    const struct transfer_response *r; /* NULL: none */
    const struct err *err;             /* NULL: it was answered, with whatever status */
};

struct bucket_ask {
    struct bucket *b;
    struct loop *loop;
    struct transfer_engine *engine;
    const char *method;
    const char *path, *query;   /* copied; query "" none */
    const char *line[3];        /* further headers, not signed; copied; NULL: none */
    const struct digest *whole; /* the body is this blob: its digest is signed, and sent for the store to check */
    int64_t size;               /* of a body; -1: there is none */
    int64_t total_ms;           /* 0: no limit */
    bool bulk;
    /* Fills `out` with bytes of the body from `at` on; 0: that failed. */
    size_t (*on_send)(void *arg, int64_t at, char *out, size_t cap);
    /* Of 200 and 206; NULL: the body is gathered. */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    /* Once, unless cancelled; not before bucket_call_start() has returned. */
    void (*on_done)(void *arg, const struct bucket_answer *a);
    void *arg;
};

struct bucket_call;

/* It is sent again, once, if only clock or key were wrong. On `loop`. */
struct bucket_call *bucket_call_start(const struct bucket_ask *ask);
void bucket_call_pause(struct bucket_call *c, bool pause);
void bucket_call_cancel(struct bucket_call *c);
/* "s3.example.com/images answered 503 (SlowDown)": or the error. */
void bucket_answer_describe(const struct bucket *b, const struct bucket_answer *a, char *out, size_t cap);
/* Whether the key, the signature or its time were refused, not what was requested. */
bool bucket_answer_is_of_key(const struct bucket_answer *a);

#endif
