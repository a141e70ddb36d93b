/* Reading from the bucket: what comes is checked against what was requested before any of it is passed on. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "upstream/response.h"

#include <event2/event.h>
#include <string.h>

struct bucket_get {
    struct bucket *b;
    struct bucket_range range;
    struct bucket_call *call;
    struct event *timer;
    bool is_probe;
    int64_t began_ms, expected, received;
    char wrong[160]; /* what is wrong with the answer; "" nothing */
};

static void get_free(struct bucket_get *g)
{
    event_free(g->timer);
    free(g);
}

/* Tells its owner the end, and frees it. */
static void get_end(struct bucket_get *g, const struct transfer_response *r, const struct err *err)
{
    struct transfer_response none;

    if (!r) {
        response_reset(&none);
        r = &none;
    }
    g->range.on_done(g->range.arg, r, err);
    get_free(g);
}

static void get_fail(struct bucket_get *g, const struct transfer_response *r, enum err_code code, const char *why)
{
    struct err err = {0};

    err_set(&err, code, "%s", why);
    err.status = r ? r->status : 0;
    get_end(g, r, &err);
}

/* ---- the head ---- */

/* What is wrong with the head of a 200 or 206; NULL: nothing. Sets how many bytes have to come. */
static const char *get_fault(struct bucket_get *g, const struct transfer_response *r)
{
    const struct bucket_range *want = &g->range;
    int64_t last = want->last;

    if (r->content_length < 0 || r->chunked)
        return "it does not tell the length";
    if (r->content_encoded || strcmp(r->content_type, "text/html") == 0)
        return "it sent something else than the object";
    g->expected = r->content_length;
    if (r->status == 200)
        return want->first > 0 || (last >= 0 && r->content_length > last + 1) ? "it sent another range than requested"
                                                                              : NULL;
    if (last < 0 || (r->range_total > 0 && last >= r->range_total))
        last = r->range_total - 1;
    if (r->status != 206 || r->range_first != want->first || r->range_last != last ||
        r->content_length != r->range_last - r->range_first + 1)
        return "it sent another range than requested";
    return NULL;
}

static bool get_take_head(void *arg, const struct transfer_response *r)
{
    struct bucket_get *g = arg;
    const char *fault = get_fault(g, r);

    evtimer_del(g->timer);
    if (fault) {
        snprintf(g->wrong, sizeof(g->wrong), "%.90s: %s", g->b->name, fault);
        return false;
    }
    return !g->is_probe && g->range.on_head(g->range.arg, r); /* which may cancel: then `g` is gone */
}

static bool get_take_data(void *arg, const void *data, size_t len)
{
    struct bucket_get *g = arg;

    g->received += (int64_t)len;
    bucket_note_read(g->b, len);
    return g->range.on_data(g->range.arg, data, len);
}

/* ---- the end ---- */

/* An answer that is no object. */
static void get_take_refusal(struct bucket_get *g, const struct bucket_answer *a)
{
    char why[200];
    bool lacks = a->status == 404 || a->status == 403 || a->status == 416;
    bool is_of_bucket = strcmp(a->code, "NoSuchBucket") == 0 || bucket_answer_is_of_key(a) ||
                        (a->r && strcmp(a->r->content_type, "text/html") == 0);

    bucket_answer_describe(g->b, a, why, sizeof(why));
    if (lacks && !is_of_bucket) {
        bucket_note_good(g->b, !g->is_probe);
        if (!g->is_probe)
            bucket_note_lack(g->b, &g->range.digest);
    } else {
        bucket_note_bad(g->b, g->began_ms, why);
    }
    get_fail(g, a->r, lacks || a->status == 401 ? ERR_NOT_FOUND : ERR_UPSTREAM, why);
}

static void get_take_end(void *arg, const struct bucket_answer *a)
{
    struct bucket_get *g = arg;

    g->call = NULL;
    evtimer_del(g->timer);
    if (g->wrong[0]) {
        bucket_note_bad(g->b, g->began_ms, g->wrong);
        get_fail(g, a->r, ERR_UPSTREAM, g->wrong);
    } else if (a->err && a->err->code == ERR_CANCELLED) {
        if (g->is_probe && a->status / 100 == 2)
            bucket_note_good(g->b, false);
        get_end(g, a->r, a->err);
    } else if (a->err) {
        bool is_its = a->err->code == ERR_UNREACHABLE || a->err->code == ERR_TIMEOUT;
        bucket_note_bad(g->b, g->began_ms, a->err->msg);
        get_fail(g, a->r, is_its ? a->err->code : ERR_UPSTREAM, a->err->msg); /* or the key's: ERR_IO, ERR_DENIED */
    } else if (a->status != 200 && a->status != 206) {
        get_take_refusal(g, a);
    } else {
        bucket_note_good(g->b, true);
        get_end(g, a->r, NULL);
    }
}

static void get_on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct bucket_get *g = arg;
    char why[200];

    snprintf(why, sizeof(why), "%.120s has not answered for %d ms", g->b->name, (int)BUCKET_HEAD_MS);
    bucket_call_cancel(g->call);
    bucket_note_bad(g->b, g->began_ms, why);
    get_fail(g, NULL, ERR_TIMEOUT, why);
}

/* ---- the start ---- */

static struct bucket_get *get_start(struct bucket *b, const struct bucket_range *range, bool is_probe)
{
    struct bucket_get *g = xcalloc(1, sizeof(*g));
    const struct timeval patience = {.tv_sec = BUCKET_HEAD_MS / 1000, .tv_usec = BUCKET_HEAD_MS % 1000 * 1000};
    _cleanup_free_ char *path = s3_blob_path(&b->place, &range->digest), *line = NULL;

    ON_LOOP(range->loop);
    IN_STATE(range->first >= 0);
    g->b = b;
    g->range = *range;
    g->is_probe = is_probe;
    g->began_ms = clock_mono_ms();
    g->timer = evtimer_new(loop_base(range->loop), get_on_timer, g);
    evtimer_add(g->timer, &patience);
    if (range->last >= 0)
        line = xasprintf("Range: bytes=%lld-%lld", (long long)range->first, (long long)range->last);
    else if (range->first > 0)
        line = xasprintf("Range: bytes=%lld-", (long long)range->first);
    g->call = bucket_call_start(&(struct bucket_ask){.b = b,
                                                     .loop = range->loop,
                                                     .engine = range->engine,
                                                     .method = "GET",
                                                     .path = path,
                                                     .line = {line},
                                                     .size = -1,
                                                     .bulk = true,
                                                     .on_head = get_take_head,
                                                     .on_data = get_take_data,
                                                     .on_done = get_take_end,
                                                     .arg = g});
    return g;
}

struct bucket_get *bucket_get_start(struct bucket *b, const struct bucket_range *range)
{
    return get_start(b, range, false);
}

struct bucket_get *bucket_get_probe(struct bucket *b, const struct bucket_range *range)
{
    return get_start(b, range, true);
}

void bucket_get_pause(struct bucket_get *g, bool pause)
{
    ON_LOOP(g->range.loop);
    if (g->call)
        bucket_call_pause(g->call, pause);
}

void bucket_get_cancel(struct bucket_get *g)
{
    ON_LOOP(g->range.loop);
    if (g->call)
        bucket_call_cancel(g->call);
    get_free(g);
}
