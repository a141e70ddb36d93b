/* job.h - one request to the admin API, from the loop of its connection to a worker and back; and what its page needs.
 *
 * A page runs on a worker. It sets `answer` (JSON), `raw`, `fd` or `produce`, or calls admin_error(). What belongs to
 * the loop of the connection is not for it.
 */
#ifndef ENTREPOT_PROXY_ADMIN_JOB_H
#define ENTREPOT_PROXY_ADMIN_JOB_H

#include "base/buf.h"
#include "proxy/admin/admin.h"

#include <jansson.h>
#include <pthread.h>

/* Whether more pieces of an answer follow. FAILED: the client has not got all of it, which the end of the connection
 * shows. */
enum admin_more { ADMIN_MORE, ADMIN_END, ADMIN_FAILED };

struct admin_job {
    /* set once */
    struct admin *admin;
    struct pool *pool;             /* of the worker */
    const struct admin_page *page; /* NULL: there is none of that path */
    struct loop *loop;
    enum http_method method; /* GET for HEAD */
    char *path, *query, *body;
    const char *rest; /* of the path, behind the page's own */
    size_t body_len;
    json_t *input; /* the body, if the page takes JSON */

    /* the worker's, then the loop's: the answer */
    int status;
    json_t *answer;   /* or */
    struct body *raw; /* with its type */
    char type[MEDIA_TYPE_MAX + 1];
    int fd; /* or a file of that size, with a lease on its blob; -1: none */
    int64_t size;
    struct digest digest;
    /* or pieces (stream.c): `produce` adds one, on a worker, whenever the connection can take it */
    enum admin_more (*produce)(struct admin_job *job, struct buf *piece);
    void *state; /* its own, freed after the last piece, or with the job */
    void (*free_state)(void *state);
    enum admin_more more;
    struct buf piece;

    /* the loop's */
    struct http_request *req; /* NULL: the client is gone */
    uint64_t verified;        /* ingests, when the request came */
    int64_t patience_ms;      /* how long it still waits for them to be in the index */
    struct event *look;       /* looks whether they are */
    bool waits;               /* for `look`, and nothing else refers to the job */
    bool looked_again;        /* it has waited after a miss; this is the second try */
    bool streaming;           /* lines were sent */
    bool in_pieces, making;   /* the answer is pieces; a worker makes one */
    int busy;                 /* references by workers and messages (stream.c) */

    /* under lock: bytes of lines that the kernel has not taken; of them those handed to the connection (the loop's) */
    pthread_mutex_t lock;
    pthread_cond_t drained;
    size_t unsent, handed;

    atomic_bool gone; /* the client is: long work may stop. Any thread */
};

enum { ADMIN_IMAGES_MAX = 4096 };

/* ---- job.c ---- */

/* Copies the request. On its loop. */
struct admin_job *admin_job_new(struct admin *a, struct http_request *req);
/* With the lease on its blob. On its loop. */
void admin_job_free(struct admin_job *job);
/* Answers with {"error": "..."} in place of what the answer was. */
void admin_error(struct admin_job *job, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with an error's message, and the status of its kind. */
void admin_fail(struct admin_job *job, const struct err *err);
int admin_status_of(const struct err *err);
/* Whether long work is to stop: the client is gone, or the daemon stops. `job` is a struct admin_job. */
bool admin_is_stopped(void *job);
/* The references of a list, for the caller to free; NULL: one is wrong, and the answer is the error. */
struct ref *admin_references(struct admin_job *job, const json_t *list, size_t *count);
/* The value of a parameter of the query, unescaped; "" if absent. False: it is too long, which is the answer then. */
bool admin_parameter(struct admin_job *job, const char *name, char *out, size_t cap);

/* ---- stream.c ---- */

/* Sends a line of JSON (the reference is taken) while the work goes on; `answer` is the last line. Waits while the
 * client does not read: not within a read of the index, nor with a lock held. On the worker. */
void admin_line(struct admin_job *job, json_t *line);
/* On the loop: begins an answer in pieces; ends it because its client is gone; lets further lines come. */
void admin_send_pieces(struct admin_job *job);
void admin_pieces_gone(struct admin_job *job);
void admin_lines_sent(struct admin_job *job);

/* ---- room.c ---- */

/* Room for a blob of so many bytes that is to be cached: it is the caller's until ingests_book_room(). On the worker,
 * waits. Errors: ERR_NO_SPACE, ERR_CANCELLED (the daemon stops). */
bool admin_reserve(struct admin_job *job, int64_t bytes, struct err *err);
/* Room on a disk that is full. On the worker, waits. */
bool admin_free_disk(struct admin_job *job, int64_t bytes);

#endif
