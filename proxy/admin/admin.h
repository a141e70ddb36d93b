/* admin.h - the admin API: HTTP and JSON on a unix socket (mode 0660).
 *
 * Every request is worked off on a worker of its own pool (what may take long on another one, so that it keeps nothing
 * else waiting), since it may read many manifests or wait for a collection; the answer goes back to the loop of its
 * connection. What looks at the images waits a moment first, for what clients have just been served is not in the index
 * yet (ingests_settled()).
 */
#ifndef ENTREPOT_PROXY_ADMIN_ADMIN_H
#define ENTREPOT_PROXY_ADMIN_ADMIN_H

#include "base/buf.h"
#include "config/config.h"
#include "proxy/http/http.h"
#include "proxy/pull/prefetch.h"

#include <jansson.h>
#include <pthread.h>

/* Figures of the daemon, for `status`. */
struct admin_figures {
    int connections;
    uint64_t requests, hits, from_cache, from_upstream; /* bytes sent */
    uint64_t gone_received;                             /* bytes received from upstreams that are not in use any more */
};

/* What of the daemon is administered. Set by the room above before the loops start; everything is borrowed. */
struct admin {
    const struct config *config;
    struct puller puller;
    struct pool *admin_pool, *long_pool; /* short work; what takes long */
    int64_t started_s;
    void (*figures)(void *arg, struct admin_figures *out); /* any thread */
    void *arg;
};

/* Answers a request to the admin socket, now or later. On its loop. */
void admin_handle(struct admin *a, struct http_request *req);

/* Of an answer in pieces: whether more follow. FAILED: what the client has got is not all, and it is told so by the
 * connection's end. */
enum admin_more { ADMIN_MORE, ADMIN_END, ADMIN_FAILED };

/* One request, while it is worked off. */
struct admin_job {
    struct admin *admin;
    struct loop *loop;
    struct http_request *req; /* NULL: the client is gone; the loop's */
    enum http_method method;
    char *path, *query, *body;
    size_t body_len;
    int status;
    json_t *answer;   /* or */
    struct body *raw; /* with its type */
    char type[MEDIA_TYPE_MAX + 1];
    int fd; /* or a file of that size, with a lease on its blob; -1: none */
    int64_t size;
    struct digest digest;
    uint64_t verified;   /* ingests, when it was asked */
    int64_t patience_ms; /* that is left for them to be kept */
    struct event *look;  /* looks whether they are; the loop's, as is */
    bool waits;          /* whether nothing but `look` knows of the job */
    bool settled;        /* that has been waited for after a miss */
    bool streaming;      /* lines went out; the loop's */
    /* or an answer in pieces (stream.c): `produce` adds one, on a worker, whenever the connection has room */
    enum admin_more (*produce)(struct admin_job *job, struct buf *piece);
    void *state; /* its own, freed after the last piece, or with the job */
    void (*free_state)(void *state);
    enum admin_more more; /* whether more follow; and the piece that is being made: the worker's, then the loop's */
    struct buf piece;
    bool in_pieces, making; /* the loop's */
    int busy;
    /* under lock: bytes of lines that are not with the kernel; of them those handed to the connection (the loop's) */
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t unsent, handed;
    atomic_bool gone; /* the client does not want to know any more: long work may stop */
};

enum { ADMIN_IMAGES_MAX = 4096 };

/* The references of a list, for the caller to free; NULL: it has been said what is wrong. */
struct ref *admin_references(struct admin_job *job, const json_t *list, size_t *count);

/* The value of a parameter of the query, unescaped, "" if it is not there. False: there is no room for it, and the
 * answer says so. */
bool admin_parameter(struct admin_job *job, const char *name, char *out, size_t room);

/* On an admin worker: fill in the answer. */
void admin_images(struct admin_job *job);
void admin_inspect(struct admin_job *job, const char *reference);
/* Long work: sends one line of JSON (the reference is taken) while it is worked on; `answer` is the last line. Waits while
 * the client does not read: not within a read of the index, nor with a lock held. */
void admin_line(struct admin_job *job, json_t *line);
void admin_verify(struct admin_job *job, const json_t *input);
void admin_rm(struct admin_job *job, const json_t *input);
void admin_gc(struct admin_job *job, const json_t *input);
void admin_pull(struct admin_job *job, const json_t *input);
void admin_export(struct admin_job *job, const json_t *input);
void admin_import(struct admin_job *job, const json_t *input);
/* GET: the blob itself. */
void admin_blob(struct admin_job *job, const char *digest);
/* What is here of a blob that is being imported; more of it; that it is all there: verify it, and keep it. */
void admin_import_state(struct admin_job *job);
void admin_import_bytes(struct admin_job *job);
void admin_import_blob(struct admin_job *job);
/* Several small ones at once (admin_batch.c). */
void admin_import_batch(struct admin_job *job);
/* What they share. Room for so many bytes that are to be kept, until kept(); or on a disk that is full. Wait. */
bool admin_reserve(struct admin_job *job, int64_t bytes, struct err *err);
bool admin_free_disk(struct admin_job *job, int64_t bytes);
int admin_status_of(const struct err *err);
void admin_pin(struct admin_job *job, const json_t *input, bool pin);
/* admin.c and stream.c, on the loop. */
struct pool *admin_pool_of(const struct admin_job *job);
void admin_job_free(struct admin_job *job);
void admin_send_pieces(struct admin_job *job);
void admin_pieces_gone(struct admin_job *job); /* the client is */
void admin_lines_sent(struct admin_job *job);
/* Answers with {"error": "..."}. */
void admin_error(struct admin_job *job, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
