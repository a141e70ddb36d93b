/* `pulls` and `top`: what clients pull, as it is recognised (proxy/seen/pulls.h).
 *
 * The list is sent from the loop of the connection, a few lines at a time, whenever the client takes them; with
 * follow=1 a timer looks for further ones. So a client that follows for days keeps no worker. */
#include "proxy/admin/pages.h"

#include "base/assert.h"
#include "proxy/seen/pull_print.h"

#include <event2/event.h>
#include <string.h>

enum { AT_ONCE = 32, FOLLOW_MS = 250 };

struct pulls_list {
    uint64_t number; /* of the last one that was sent */
    int64_t since_ms;
    bool follow;
    struct buf lines;
};

static void list_free(void *state)
{
    struct pulls_list *l = state;

    buf_free(&l->lines);
    free(l);
}

static void list_add(void *arg, const struct pull_seen *s)
{
    struct pulls_list *l = arg;
    json_t *j = pull_json(s);
    _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(6));

    buf_adds(&l->lines, text ? text : "{}");
    buf_adds(&l->lines, "\n");
    json_decref(j);
}

/* The last one was sent, and nobody waits for more. */
static void list_end(struct admin_job *job)
{
    struct http_request *req = job->req;

    job->req = NULL;
    http_on_gone(req, NULL, NULL);
    http_stream_end(req, NULL, NULL);
    admin_job_free(job);
}

static void list_more(void *arg)
{
    struct admin_job *job = arg;
    struct pulls_list *l = job->state;

    ON_LOOP(job->loop);
    buf_clear(&l->lines);
    uint64_t before = l->number;
    l->number = pulls_since(job->admin->pulls, before, l->since_ms, AT_ONCE, list_add, l);
    if (l->lines.len > 0)
        http_stream_data(job->req, l->lines.data, l->lines.len);
    else if (!l->follow || !atomic_load(job->admin->puller.serving))
        list_end(job);
}

static void list_look(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct admin_job *job = arg;

    ON_LOOP(job->loop);
    event_add(job->look, &(struct timeval){.tv_usec = FOLLOW_MS * 1000});
    http_stream_more(job->req); /* `job` may be gone after this */
}

void admin_pulls_list(struct admin_job *job)
{
    struct pulls_list *l = xcalloc(1, sizeof(*l));
    char since[32], follow[8];

    ON_LOOP(job->loop);
    job->state = l;
    job->free_state = list_free;
    job->waits = true; /* it belongs to its connection */
    if (!admin_parameter(job, "since", since, sizeof(since)) ||
        !admin_parameter(job, "follow", follow, sizeof(follow))) {
        struct http_request *req = job->req;
        http_on_gone(req, NULL, NULL);
        http_reply(req, 400, "application/json", "{\"error\": \"since is a number of seconds since 1970\"}",
                   strlen("{\"error\": \"since is a number of seconds since 1970\"}"));
        admin_job_free(job);
        return;
    }
    l->since_ms = (int64_t)(strtod(since, NULL) * 1000);
    l->follow = strcmp(follow, "1") == 0;
    if (l->follow) {
        job->look = event_new(loop_base(job->loop), -1, 0, list_look, job);
        event_add(job->look, &(struct timeval){.tv_usec = FOLLOW_MS * 1000});
    }
    http_stream(job->req, 200, "application/jsonl", -1, list_more, job);
}

/* ---- in flight ---- */

static void now_add(void *arg, const struct pull_seen *s)
{
    json_array_append_new(arg, pull_json(s));
}

static json_t *now_transfer(struct admin *a, const struct ingest_info *i)
{
    _cleanup_buf_ struct buf image = {0};
    char text[DIGEST_TEXT_MAX], layer[32] = "";
    struct pull_seen s;
    int nth = 0;

    bool known = a->pulls && pulls_find(a->pulls, &i->digest, &s, &nth);
    if (known)
        pull_print_image(&image, &s);
    if (nth > 0)
        snprintf(layer, sizeof(layer), "%d of %d", nth, s.blobs);
    return json_pack("{s:s, s:o, s:I, s:i, s:o, s:o, s:o, s:o}", "digest", digest_format(&i->digest, text), "size",
                     i->size >= 0 ? json_integer(i->size) : json_null(), "received", (json_int_t)i->received,
                     "followers", i->followers, "image", known ? json_string(image.data) : json_null(), "layer",
                     layer[0] ? json_string(layer) : json_null(), "client", known ? json_string(s.client) : json_null(),
                     "engine", known ? json_string(seen_engine_name(s.engine)) : json_null());
}

struct now_transfers {
    struct admin *admin;
    json_t *list;
};

static void now_add_transfer(void *arg, const struct ingest_info *i)
{
    struct now_transfers *n = arg;

    json_array_append_new(n->list, now_transfer(n->admin, i));
}

json_t *admin_transfers(struct admin *a)
{
    struct now_transfers n = {a, json_array()};

    ingests_each(cache_ingests(a->puller.cache), now_add_transfer, &n);
    return n.list;
}

void admin_pulls_now(struct admin_job *job)
{
    json_t *pulls = json_array();

    pulls_each(job->admin->pulls, now_add, pulls);
    job->answer = json_pack("{s:o, s:o}", "pulls", pulls, "transfers", admin_transfers(job->admin));
}
