#include "proxy/admin/admin.h"

#include "base/assert.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "proxy/admin/pages.h"

#include <event2/event.h>
#include <string.h>

enum { INDEX_WAIT_MS = 5000, INDEX_LOOK_MS = 2 };

enum {
    LONG = 1,    /* runs in the pool for long work */
    LOOKS = 2,   /* lists images: waits for the index first */
    MISSES = 4,  /* waits for the index only if it does not find its image at once */
    IMPORTS = 8, /* what it imports is not collected meanwhile */
    BYTES = 16,  /* its body is no JSON */
    REST = 32,   /* more follows in the path */
    LOOPS = 64,  /* runs on the loop of the connection, not on a worker */
};

static const struct admin_page {
    enum http_method method;
    const char *path;
    unsigned traits;
    void (*answer)(struct admin_job *job);
} PAGES[] = {
    {HTTP_METHOD_GET, "/v1/status", 0, admin_status},
    {HTTP_METHOD_GET, "/v1/peers", 0, admin_peers},
    {HTTP_METHOD_GET, "/v1/pulls", LOOPS, admin_pulls_list},
    {HTTP_METHOD_GET, "/v1/pulls/now", 0, admin_pulls_now},
    {HTTP_METHOD_GET, "/v1/metrics", 0, admin_metrics},
    {HTTP_METHOD_GET, "/v1/log", 0, admin_log},
    {HTTP_METHOD_GET, "/v1/dump", 0, admin_dump},
    {HTTP_METHOD_GET, "/v1/images", LOOKS, admin_images},
    {HTTP_METHOD_GET, "/v1/images/", LOOKS | REST, admin_inspect},
    {HTTP_METHOD_GET, "/v1/blobs/", REST, admin_blob},
    {HTTP_METHOD_GET, "/v1/import/blob", LONG | IMPORTS, admin_import_state},
    {HTTP_METHOD_POST, "/v1/import/bytes", LONG | IMPORTS | BYTES, admin_import_bytes},
    {HTTP_METHOD_POST, "/v1/import/batch", LONG | IMPORTS | BYTES, admin_import_batch},
    {HTTP_METHOD_POST, "/v1/import/blob", LONG | IMPORTS | BYTES, admin_import_blob},
    {HTTP_METHOD_POST, "/v1/import", LONG | IMPORTS, admin_import},
    {HTTP_METHOD_POST, "/v1/export", LONG | LOOKS, admin_export},
    {HTTP_METHOD_POST, "/v1/pull", LONG, admin_pull},
    {HTTP_METHOD_POST, "/v1/verify", LONG | LOOKS, admin_verify},
    {HTTP_METHOD_POST, "/v1/gc", LONG | LOOKS, admin_gc},
    {HTTP_METHOD_POST, "/v1/rm", LONG | LOOKS, admin_rm},
    {HTTP_METHOD_POST, "/v1/pin", MISSES, admin_pin},
    {HTTP_METHOD_POST, "/v1/unpin", MISSES, admin_unpin},
    {HTTP_METHOD_POST, "/v1/offline", 0, admin_offline},
    {HTTP_METHOD_GET, "/v1/config", 0, admin_config},
    {HTTP_METHOD_POST, "/v1/reload", LONG, admin_reload},
};

static const struct admin_page *find_page(struct admin_job *job)
{
    for (size_t i = 0; i < ARRAY_LEN(PAGES); i++) {
        const struct admin_page *p = &PAGES[i];
        size_t len = strlen(p->path);
        if (p->method != job->method || strncmp(job->path, p->path, len) != 0 ||
            (job->path[len] && !(p->traits & REST)))
            continue;
        job->rest = job->path + len;
        return p;
    }
    return NULL;
}

static bool has(const struct admin_job *job, unsigned trait)
{
    return job->page && job->page->traits & trait;
}

/* ---- on a worker ---- */

/* A value of another kind would count as absent: {"dry_run": "true"} would collect. */
static bool check_kinds(struct admin_job *job)
{
    static const struct {
        const char *kind, *keys;
    } kinds[] = {
        {"true or false", " dry_run fresh offline pin pinned referrers repair "},
        {"a whole number, 0 or more", " rate to "},
        {"a text", " format platform signatures "},
        {"a list", " images platforms references "},
    };
    const char *key;
    json_t *value;

    json_object_foreach(job->input, key, value) {
        const bool fits[] = {json_is_boolean(value), json_is_integer(value) && json_integer_value(value) >= 0,
                             json_is_string(value), json_is_array(value)};
        _cleanup_free_ char *word = xasprintf(" %s ", key);
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
            if (strstr(kinds[i].keys, word) && !fits[i]) {
                admin_error(job, 400, "\"%s\" has to be %s", key, kinds[i].kind);
                return false;
            }
    }
    return true;
}

static bool read_input(struct admin_job *job)
{
    json_error_t why;

    if (job->method != HTTP_METHOD_POST || has(job, BYTES))
        return true;
    json_decref(job->input); /* it may be the second look */
    job->input =
        json_loadb(job->body_len ? job->body : "{}", job->body_len ? job->body_len : 2, JSON_REJECT_DUPLICATES, &why);
    if (json_is_object(job->input))
        return check_kinds(job);
    admin_error(job, 400, "the body is not a JSON object");
    return false;
}

static void admin_work(struct admin_job *job)
{
    struct importing *importing = has(job, IMPORTS) ? cache_importing(job->admin->puller.cache) : NULL;

    OFF_LOOPS;
    if (!job->page && job->method == HTTP_METHOD_OTHER)
        admin_error(job, 405, "only GET and POST are supported here");
    else if (!job->page)
        admin_error(job, 404, "no such page: %s %s", job->method == HTTP_METHOD_POST ? "POST" : "GET", job->path);
    if (!job->page || !read_input(job))
        return;
    if (importing)
        importing_begin(importing);
    job->page->answer(job);
    if (importing)
        importing_end(importing);
}

static void admin_send(void *arg);
static void admin_look_again(void *arg);

static void work_and_answer(void *arg)
{
    struct admin_job *job = arg;

    admin_work(job);
    if (job->status == 404 && has(job, MISSES) && !job->looked_again) {
        loop_post(job->loop, admin_look_again, job);
        return;
    }
    if (!job->answer && !job->raw && job->fd < 0 && !job->produce)
        admin_error(job, 500, "the answer could not be made");
    loop_post(job->loop, admin_send, job);
}

/* ---- on the loop of the connection ---- */

/* The file has gone out, or the client is gone. */
static void file_sent(void *arg)
{
    admin_job_free(arg);
}

static void admin_send(void *arg)
{
    struct admin_job *job = arg;

    ON_LOOP(job->loop);
    if (job->produce) {
        admin_send_pieces(job);
        return;
    }
    if (job->req && job->fd >= 0) {
        http_on_gone(job->req, NULL, NULL);
        http_reply_file(job->req, 200, "application/octet-stream", job->fd, 0, job->size, file_sent, job);
        return;
    }
    if (job->req && job->raw) {
        http_on_gone(job->req, NULL, NULL);
        http_reply(job->req, job->status, job->type, job->raw->data, job->raw->len);
    } else if (job->req && job->streaming) {
        _cleanup_free_ char *text = json_dumps(job->answer, JSON_COMPACT), *last = xasprintf("%s\n", text);
        http_stream_data(job->req, last, strlen(last));
        if (job->req) {
            http_on_gone(job->req, NULL, NULL);
            http_stream_end(job->req, NULL, NULL);
        }
    } else if (job->req) {
        char *text = json_dumps(job->answer, JSON_COMPACT);
        http_on_gone(job->req, NULL, NULL);
        http_reply(job->req, job->status, "application/json", text, strlen(text));
        free(text);
    }
    admin_job_free(job);
}

static void admin_client_gone(void *arg)
{
    struct admin_job *job = arg;

    ON_LOOP(job->loop);
    job->req = NULL;
    atomic_store(&job->gone, true);
    if (job->waits)
        admin_job_free(job); /* nothing of it has begun; when the daemon stops, nothing would wake it */
    else if (job->in_pieces)
        admin_pieces_gone(job);
    else
        admin_lines_sent(job);
}

static void admin_run(void *arg, const struct err *err UNUSED)
{
    struct admin_job *job = arg;

    pool_run(job->pool, work_and_answer, job);
}

/* `ls` and `export` have to find what an engine has just been served: the job waits until the index has it. While it
 * waits it belongs to the request: admin_client_gone() frees it. */
static void admin_wait_for_index(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    static const struct timeval later = {.tv_usec = INDEX_LOOK_MS * 1000};
    struct admin_job *job = arg;
    struct cache *c = job->admin->puller.cache;

    ON_LOOP(job->loop);
    job->waits = false;
    job->patience_ms -= INDEX_LOOK_MS;
    if (job->patience_ms <= 0 || ingests_ended(cache_ingests(c), job->verified)) {
        cache_barrier(c, admin_run, job, job->loop);
        return;
    }
    if (!job->look)
        job->look = event_new(loop_base(job->loop), -1, 0, admin_wait_for_index, job);
    event_add(job->look, &later);
    job->waits = true;
}

/* The image may be on its way into the index. */
static void admin_look_again(void *arg)
{
    struct admin_job *job = arg;

    ON_LOOP(job->loop);
    if (!job->req) {
        admin_job_free(job);
        return;
    }
    json_decref(job->answer);
    job->answer = NULL;
    job->status = 200;
    job->looked_again = true;
    admin_wait_for_index(-1, 0, job);
}

void admin_handle(struct admin *a, struct http_request *req)
{
    struct admin_job *job = admin_job_new(a, req);

    job->page = find_page(job);
    job->pool = has(job, LONG) ? a->long_pool : a->admin_pool;
    job->patience_ms = INDEX_WAIT_MS;
    http_on_gone(req, admin_client_gone, job);
    if (has(job, LOOPS))
        job->page->answer(job);
    else if (has(job, LOOKS))
        admin_wait_for_index(-1, 0, job);
    else
        admin_run(job, NULL);
}
