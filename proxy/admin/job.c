#include "proxy/admin/job.h"

#include "base/assert.h"
#include "base/cond.h"
#include "base/url.h"
#include "base/visible.h"
#include "cache/cache.h"

#include <event2/event.h>
#include <string.h>

struct admin_job *admin_job_new(struct admin *a, struct http_request *req)
{
    struct admin_job *job = xcalloc(1, sizeof(*job));
    const char *body = http_body(req, &job->body_len);

    job->admin = a;
    job->loop = http_loop(req);
    ON_LOOP(job->loop);
    job->req = req;
    job->method = http_method(req) == HTTP_METHOD_HEAD ? HTTP_METHOD_GET : http_method(req);
    job->path = xstrdup(http_path(req));
    job->query = xstrdup(http_query(req));
    job->body = xcalloc(1, job->body_len + 1); /* it may be no text */
    if (job->body_len > 0)
        memcpy(job->body, body, job->body_len);
    job->status = 200;
    job->fd = -1;
    pthread_mutex_init(&job->lock, NULL);
    cond_init(&job->drained);
    job->verified = ingests_verified(cache_ingests(a->puller.cache));
    return job;
}

void admin_job_free(struct admin_job *job)
{
    ON_LOOP(job->loop);
    if (job->fd >= 0) {
        close(job->fd);
        cache_release(job->admin->puller.cache, &job->digest);
    }
    if (job->state)
        job->free_state(job->state);
    if (job->look)
        event_free(job->look);
    pthread_cond_destroy(&job->drained);
    pthread_mutex_destroy(&job->lock);
    buf_free(&job->piece);
    json_decref(job->answer);
    json_decref(job->input);
    body_unref(job->raw);
    free(job->path);
    free(job->query);
    free(job->body);
    free(job);
}

void admin_error(struct admin_job *job, int status, const char *fmt, ...)
{
    char text[ERR_MSG_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_decref(job->answer);
    job->status = status;
    job->answer = json_pack("{s:o}", "error", visible_json(text));
}

int admin_status_of(const struct err *err)
{
    return err->code == ERR_NOT_FOUND   ? 404
           : err->code == ERR_BUSY      ? 423
           : err->code == ERR_NO_SPACE  ? 507
           : err->code == ERR_IO        ? 500
           : err->code == ERR_CORRUPT   ? 500
           : err->code == ERR_CANCELLED ? 503
                                        : 409;
}

void admin_fail(struct admin_job *job, const struct err *err)
{
    admin_error(job, admin_status_of(err), "%s", err->msg);
}

bool admin_is_stopped(void *arg)
{
    struct admin_job *job = arg;

    return atomic_load(&job->gone) || !atomic_load(job->admin->puller.serving);
}

bool admin_parameter(struct admin_job *job, const char *name, char *out, size_t cap)
{
    size_t len = strlen(name);

    out[0] = '\0';
    for (const char *p = job->query; *p; p += strcspn(p, "&"), p += *p == '&') {
        if (strncmp(p, name, len) != 0 || p[len] != '=')
            continue;
        if (url_decode(p + len + 1, strcspn(p + len + 1, "&"), false, out, cap))
            return true;
        out[0] = '\0';
        admin_error(job, 400, "%s is too long, or badly escaped", name);
        return false;
    }
    return true;
}

struct ref *admin_references(struct admin_job *job, const json_t *list, size_t *count)
{
    struct err err = {0};
    json_t *item;
    size_t i;

    *count = json_array_size(list);
    if (*count == 0 || *count > ADMIN_IMAGES_MAX) {
        admin_error(job, 400, "which images? {\"references\": [\"nginx:1.27\"]}, at most %d", (int)ADMIN_IMAGES_MAX);
        return NULL;
    }
    struct ref *refs = xcalloc(*count, sizeof(*refs));
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(item);
        if (text && ref_parse(&refs[i], text, &err))
            continue;
        admin_error(job, 400, "%s", text ? err.msg : "references are strings");
        free(refs);
        return NULL;
    }
    return refs;
}
