#include "proxy/admin/admin.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/url.h"
#include "base/visible.h"
#include "gc/gc.h"

#include <event2/event.h>
#include <string.h>

enum { SETTLE_MS = 5000, SETTLE_LOOK_MS = 2 };

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

bool admin_parameter(struct admin_job *job, const char *name, char *out, size_t room)
{
    size_t len = strlen(name);

    out[0] = '\0';
    for (const char *p = job->query; *p; p += strcspn(p, "&"), p += *p == '&') {
        if (strncmp(p, name, len) != 0 || p[len] != '=')
            continue;
        _cleanup_free_ char *value = xstrndup(p + len + 1, strcspn(p + len + 1, "&"));
        url_decode(value);
        snprintf(out, room, "%s", value);
        if (strlen(value) < room)
            return true;
        admin_error(job, 400, "%s is too long", name);
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

/* ---- status ---- */

static json_t *number_or_null(int64_t n)
{
    return n >= 0 ? json_integer(n) : json_null();
}

static void add_transfer(void *arg, const struct ingest_info *i)
{
    char text[DIGEST_TEXT_MAX];

    json_array_append_new(arg, json_pack("{s:s, s:o, s:I, s:i}", "digest", digest_format(&i->digest, text), "size",
                                         number_or_null(i->size), "received", (json_int_t)i->received, "followers",
                                         i->followers));
}

static void add_limit(void *arg, const struct budget_info *b)
{
    json_t *j = json_pack("{s:o, s:i, s:I, s:s}", "identity", visible_json(b->who), "endpoint", b->endpoint,
                          "held_seconds", (json_int_t)((b->held_ms + 999) / 1000), "source", b->source);

    json_object_set_new(j, "limit", number_or_null(b->limit));
    json_object_set_new(j, "remaining", number_or_null(b->remaining));
    json_object_set_new(j, "window_seconds", number_or_null(b->window_s));
    json_array_append_new(arg, j);
}

static json_t *list_upstreams(struct admin *a, uint64_t *received)
{
    _cleanup_sites_ struct site_list sites;
    json_t *list = json_array();
    struct upstream_stats st;

    sites_list(a->puller.sites, &sites);
    for (int i = 0; i < sites.count; i++) {
        const struct site *s = sites.list[i];
        upstream_get_stats(s->upstream, &st);
        *received += st.received_bytes;
        json_t *u = json_pack("{s:s, s:b, s:I}", "name", s->host, "up", st.up, "requests", (json_int_t)st.requests);
        json_object_set_new(u, "ratelimit_remaining", number_or_null(st.ratelimit_remaining));
        json_object_set_new(u, "ratelimit_limit", number_or_null(st.ratelimit_limit));
        json_object_set_new(u, "held_seconds", json_integer((st.limited_ms + 999) / 1000));
        json_object_set_new(u, "credentials_refused", json_boolean(st.login_is_refused));
        json_t *limits = json_array();
        upstream_each_budget(s->upstream, add_limit, limits);
        json_object_set_new(u, "limits", limits);
        json_array_append_new(list, u);
    }
    return list;
}

static void status(struct admin_job *job)
{
    struct admin *a = job->admin;
    struct cache *cache = a->puller.cache;
    struct admin_figures f;
    struct totals totals;
    struct gc_stats g;

    a->figures(a->arg, &f);
    uint64_t received = f.gone_received;
    json_t *transfers = json_array(), *upstreams = list_upstreams(a, &received);
    cache_totals(cache, &totals);
    gc_get_stats(a->puller.gc, &g);
    ingests_each(cache_ingests(cache), add_transfer, transfers);
    job->answer = json_pack(
        "{s:s, s:I, s:b, s:{s:I, s:I}, s:{s:I, s:I, s:I}, s:{s:o, s:I, s:I, s:I, s:I, s:I}, s:i, s:i, s:o, s:o}",
        "version", ENTREPOT_VERSION, "uptime_seconds", (json_int_t)(clock_now_s() - a->started_s), "offline",
        fetchers_is_offline(a->puller.fetchers), "requests", "total", (json_int_t)f.requests, "hits",
        (json_int_t)f.hits, "bytes", "sent", (json_int_t)(f.from_cache + f.from_upstream), "from_cache",
        (json_int_t)f.from_cache, "from_upstream", (json_int_t)received, "cache", "path",
        visible_json(a->config->cache_path), "bytes", (json_int_t)totals.bytes, "limit_bytes",
        (json_int_t)g.limit_bytes, "blobs", (json_int_t)totals.blobs, "manifests", (json_int_t)totals.manifests,
        "blob_max_bytes", (json_int_t)a->config->blob_max, "ingests", ingests_count(cache_ingests(cache)),
        "connections", f.connections, "upstreams", upstreams, "transfers", transfers);
}

/* ---- offline ---- */

static void set_offline(struct admin_job *job, const json_t *input)
{
    const json_t *offline = json_object_get(input, "offline");
    struct fetchers *fetchers = job->admin->puller.fetchers;

    if (!json_is_boolean(offline)) {
        admin_error(job, 400, "offline or not? {\"offline\": true}");
        return;
    }
    if (fetchers_is_offline(fetchers) != json_is_true(offline))
        log_info("%s by the operator", json_is_true(offline) ? "offline" : "online again");
    fetchers_set_offline(fetchers, json_is_true(offline));
    job->answer = json_pack("{s:b}", "offline", json_is_true(offline));
}

/* ---- the pages ---- */

static void post(struct admin_job *job)
{
    json_error_t why;

    if (strcmp(job->path, "/v1/import/bytes") == 0) { /* its body is no JSON */
        admin_import_bytes(job);
        return;
    }
    if (strcmp(job->path, "/v1/import/batch") == 0) { /* nor is this one's */
        admin_import_batch(job);
        return;
    }
    if (strcmp(job->path, "/v1/import/blob") == 0) {
        admin_import_blob(job);
        return;
    }
    json_t *input =
        json_loadb(job->body_len ? job->body : "{}", job->body_len ? job->body_len : 2, JSON_REJECT_DUPLICATES, &why);

    if (!json_is_object(input))
        admin_error(job, 400, "the body is not a JSON object");
    else if (strcmp(job->path, "/v1/rm") == 0)
        admin_rm(job, input);
    else if (strcmp(job->path, "/v1/gc") == 0)
        admin_gc(job, input);
    else if (strcmp(job->path, "/v1/pull") == 0)
        admin_pull(job, input);
    else if (strcmp(job->path, "/v1/export") == 0)
        admin_export(job, input);
    else if (strcmp(job->path, "/v1/import") == 0)
        admin_import(job, input);
    else if (strcmp(job->path, "/v1/offline") == 0)
        set_offline(job, input);
    else if (strcmp(job->path, "/v1/verify") == 0)
        admin_verify(job, input);
    else if (strcmp(job->path, "/v1/pin") == 0 || strcmp(job->path, "/v1/unpin") == 0)
        admin_pin(job, input, job->path[4] == 'p');
    else
        admin_error(job, 404, "no such page: POST %s", job->path);
    json_decref(input);
}

static void do_page(struct admin_job *job)
{
    if (job->method == HTTP_METHOD_POST)
        post(job);
    else if (job->method == HTTP_METHOD_OTHER)
        admin_error(job, 405, "GET and POST are understood here");
    else if (strcmp(job->path, "/v1/status") == 0)
        status(job);
    else if (strcmp(job->path, "/v1/images") == 0)
        admin_images(job);
    else if (strncmp(job->path, "/v1/blobs/", 10) == 0)
        admin_blob(job, job->path + 10);
    else if (strcmp(job->path, "/v1/import/blob") == 0)
        admin_import_state(job);
    else if (strncmp(job->path, "/v1/images/", 11) == 0)
        admin_inspect(job, job->path + 11);
    else
        admin_error(job, 404, "no such page: GET %s", job->path);
}

static void work(struct admin_job *job)
{
    struct importing *importing =
        strncmp(job->path, "/v1/import", 10) == 0 ? cache_importing(job->admin->puller.cache) : NULL;

    if (importing)
        importing_begin(importing);
    do_page(job);
    if (importing)
        importing_end(importing);
}

/* ---- to an admin worker and back ---- */

static void nothing(void *arg UNUSED)
{
}

void admin_job_free(struct admin_job *job)
{
    if (job->fd >= 0) {
        close(job->fd);
        cache_release(job->admin->puller.cache, &job->digest);
    }
    if (job->state)
        job->free_state(job->state);
    if (job->look)
        event_free(job->look);
    pthread_cond_destroy(&job->room);
    pthread_mutex_destroy(&job->lock);
    buf_free(&job->piece);
    json_decref(job->answer);
    body_unref(job->raw);
    free(job->path);
    free(job->query);
    free(job->body);
    free(job);
}

/* The file has gone out, or the client is gone. */
static void file_sent(void *arg)
{
    admin_job_free(arg);
}

static void answer(void *arg)
{
    struct admin_job *job = arg;

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
            http_stream_end(job->req, nothing, NULL);
        }
    } else if (job->req) {
        char *text = json_dumps(job->answer, JSON_COMPACT);
        http_on_gone(job->req, NULL, NULL);
        http_reply(job->req, job->status, "application/json", text, strlen(text));
        free(text);
    }
    admin_job_free(job);
}

/* LONG: what is short does not wait for it. LOOKS: at what images there are. MISSES: does so only if it does not find
 * its image at once; who pins one that is here does not wait for what is on its way in. */
enum { LONG = 1, LOOKS = 2, MISSES = 4 };

static unsigned traits(const struct admin_job *job);
static void look_again(void *arg);

static void work_and_answer(void *arg)
{
    struct admin_job *job = arg;

    work(job);
    if (job->status == 404 && traits(job) & MISSES && !job->settled) {
        loop_post(job->loop, look_again, job);
        return;
    }
    if (!job->answer && !job->raw && job->fd < 0 && !job->produce)
        admin_error(job, 500, "the answer could not be written down");
    loop_post(job->loop, answer, job);
}

static void client_gone(void *arg)
{
    struct admin_job *job = arg;

    job->req = NULL;
    atomic_store(&job->gone, true);
    if (job->waits)
        admin_job_free(job); /* nothing of it has begun; when the daemon stops, nothing would wake it */
    else if (job->in_pieces)
        admin_pieces_gone(job);
    else
        admin_lines_sent(job);
}

static unsigned traits(const struct admin_job *job)
{
    static const struct {
        const char *path;
        unsigned traits;
    } pages[] = {
        {"/v1/pull", LONG},           {"/v1/import", LONG},       {"/v1/import/blob", LONG},
        {"/v1/import/batch", LONG},   {"/v1/import/bytes", LONG}, {"/v1/export", LONG | LOOKS},
        {"/v1/verify", LONG | LOOKS}, {"/v1/gc", LONG | LOOKS},   {"/v1/rm", LONG | LOOKS},
        {"/v1/images", LOOKS},        {"/v1/pin", MISSES},        {"/v1/unpin", MISSES},
    };

    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (strcmp(job->path, pages[i].path) == 0)
            return pages[i].traits;
    return strncmp(job->path, "/v1/images/", 11) == 0 ? LOOKS : 0;
}

struct pool *admin_pool_of(const struct admin_job *job)
{
    return traits(job) & LONG ? job->admin->long_pool : job->admin->admin_pool;
}

static void run(void *arg, const struct err *err UNUSED)
{
    struct admin_job *job = arg;

    pool_run(admin_pool_of(job), work_and_answer, job);
}

/* What an engine has just been served, `entrepot ls` and `export` find: they wait until the index has it. While it
 * waits the job belongs to the request: client_gone() frees it. */
static void settle(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    static const struct timeval later = {.tv_usec = SETTLE_LOOK_MS * 1000};
    struct admin_job *job = arg;
    struct cache *c = job->admin->puller.cache;

    ON_LOOP(job->loop);
    job->waits = false;
    job->patience_ms -= SETTLE_LOOK_MS;
    if (job->patience_ms <= 0 || ingests_settled(cache_ingests(c), job->verified)) {
        cache_barrier(c, run, job, job->loop);
        return;
    }
    if (!job->look)
        job->look = event_new(loop_base(job->loop), -1, 0, settle, job);
    event_add(job->look, &later);
    job->waits = true;
}

/* The image may be on its way into the index. */
static void look_again(void *arg)
{
    struct admin_job *job = arg;

    if (!job->req) {
        admin_job_free(job);
        return;
    }
    json_decref(job->answer);
    job->answer = NULL;
    job->status = 200;
    job->settled = true;
    settle(-1, 0, job);
}

void admin_handle(struct admin *a, struct http_request *req)
{
    struct admin_job *job = xcalloc(1, sizeof(*job));
    const char *body = http_body(req, &job->body_len);

    job->admin = a;
    job->loop = http_loop(req);
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
    pthread_cond_init(&job->room, NULL);
    http_on_gone(req, client_gone, job);
    job->verified = ingests_verified(cache_ingests(a->puller.cache));
    job->patience_ms = SETTLE_MS;
    if (traits(job) & LOOKS)
        settle(-1, 0, job);
    else
        run(job, NULL);
}
