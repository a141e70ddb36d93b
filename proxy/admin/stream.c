/* Answers that are sent bit by bit: lines while long work runs, and pieces of a long list. Neither is made faster than
 * the client reads, so that what is buffered for it is bounded. */
#include "proxy/admin/job.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"

#include <malloc.h>
#include <string.h>

enum { LINES_MAX = 256 << 10 /* bytes that wait */, LOOK_MS = 200 };

/* ---- lines ---- */

struct stream_line {
    struct admin_job *job;
    char *text;
};

void admin_lines_sent(struct admin_job *job)
{
    ON_LOOP(job->loop);
    pthread_mutex_lock(&job->lock);
    job->unsent -= job->handed;
    job->handed = 0;
    pthread_cond_signal(&job->drained);
    pthread_mutex_unlock(&job->lock);
}

static void stream_lines_drained(void *arg)
{
    admin_lines_sent(arg);
}

/* On the connection's loop. The job still exists: its answer is posted after all lines. */
static void stream_send_line(void *arg)
{
    struct stream_line *l = arg;
    struct admin_job *job = l->job;
    size_t len = strlen(l->text);

    ON_LOOP(job->loop);
    job->handed += len;
    if (job->req && !job->streaming) {
        job->streaming = true;
        http_stream(job->req, 200, "application/jsonl", -1, stream_lines_drained, job);
    }
    if (job->req)
        http_stream_data(job->req, l->text, len);
    if (!job->req || http_stream_can_take(job->req))
        admin_lines_sent(job);
    free(l->text);
    free(l);
}

static void stream_wait_drained(struct admin_job *job)
{
    pthread_mutex_lock(&job->lock);
    while (job->unsent > LINES_MAX && !admin_is_stopped(job))
        cond_wait_until(&job->drained, &job->lock, clock_mono_ms() + LOOK_MS);
    pthread_mutex_unlock(&job->lock);
}

void admin_line(struct admin_job *job, json_t *line)
{
    struct stream_line *l = xcalloc(1, sizeof(*l));
    _cleanup_free_ char *text = json_dumps(line, JSON_COMPACT);

    OFF_LOOPS;
    l->job = job;
    l->text = xasprintf("%s\n", text);
    json_decref(line);
    pthread_mutex_lock(&job->lock);
    job->unsent += strlen(l->text);
    pthread_mutex_unlock(&job->lock);
    loop_post(job->loop, stream_send_line, l);
    stream_wait_drained(job);
}

/* ---- pieces ---- */

/* A piece is made by one worker at a time, and only when the connection can take it:
 *
 *     drained ─▶ stream_make_piece() on a worker ─▶ stream_send_piece() on the loop ─▶ drained ... ─▶ end
 *
 * `busy` counts, on the loop, what refers to the job; the connection does as long as there is a request. */
static void stream_release(struct admin_job *job)
{
    ON_LOOP(job->loop);
    if (--job->busy == 0 && !job->req)
        admin_job_free(job);
}

static void stream_send_piece(void *arg)
{
    struct admin_job *job = arg;
    struct buf piece = job->piece;
    enum admin_more more = job->more;

    ON_LOOP(job->loop);
    job->piece = (struct buf){0};
    job->making = false;
    if (job->req && more != ADMIN_FAILED && piece.len > 0)
        http_stream_data(job->req, piece.data, piece.len);
    buf_free(&piece);
    if (job->req && more != ADMIN_MORE) {
        struct http_request *req = job->req;
        job->req = NULL;
        http_on_gone(req, NULL, NULL);
        if (more == ADMIN_END)
            http_stream_end(req, NULL, NULL);
        else
            http_abort(req);
    } else if (job->req) {
        http_stream_more(job->req);
    }
    stream_release(job);
}

static void stream_make_piece(void *arg)
{
    struct admin_job *job = arg;

    OFF_LOOPS;
    job->more = job->produce(job, &job->piece);
    if (job->more != ADMIN_MORE) {
        job->free_state(job->state);
        job->state = NULL;
#ifdef __GLIBC__
        malloc_trim(0); /* a long list used much memory for a moment, in the arenas of several threads */
#endif
    }
    loop_post(job->loop, stream_send_piece, job);
}

static void stream_next_piece(void *arg)
{
    struct admin_job *job = arg;

    ON_LOOP(job->loop);
    if (job->making || job->more != ADMIN_MORE)
        return;
    job->making = true;
    job->busy++;
    pool_run(job->pool, stream_make_piece, job);
}

void admin_pieces_gone(struct admin_job *job)
{
    ON_LOOP(job->loop);
    if (job->busy == 0)
        admin_job_free(job);
}

void admin_send_pieces(struct admin_job *job)
{
    ON_LOOP(job->loop);
    job->busy++;
    if (!job->req) {
        stream_release(job);
        return;
    }
    job->in_pieces = true;
    if (http_method(job->req) == HTTP_METHOD_HEAD) {
        struct http_request *req = job->req;
        job->req = NULL;
        http_on_gone(req, NULL, NULL);
        http_reply_head(req, job->status, "application/json", -1);
    } else {
        http_stream(job->req, job->status, "application/json", -1, stream_next_piece, job);
    }
    stream_release(job);
}
