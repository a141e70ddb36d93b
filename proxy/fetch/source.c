/* One exchange with the registry that brings a range of a blob. */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/secret.h"

#include <event2/event.h>
#include <string.h>

enum {
    GATHER = 256 << 10,         /* bytes of the only source of a blob */
    GATHER_SEVERAL = 128 << 10, /* of one of several */
    GATHER_RELAY = 64 << 10,
    QUICK_MS = 300,          /* an answer that begins so soon says that the registry is not slow with this blob */
    GATHER_FIRST = 16 << 10, /* of a source that begins: who waits for it wants its first byte */
    UNMOVED_MAX = 2,         /* refusals of a signed URL: each is good for one request */
};

void blob_source_free(struct blob_source *s)
{
    struct blob_fetch *b = blob_of(s->fetch);

    ON_LOOP(s->fetch->fetcher->loop);
    supply_cancel(&s->supply);
    peer_unref(s->peer);
    if (s->flush)
        event_free(s->flush);
    buf_free(&s->received);
    free(s->spans);
    TAILQ_REMOVE(&b->sources, s, entry);
    b->source_count--;
    free(s);
}

void blob_sources_cancel(struct blob_fetch *b)
{
    while (!TAILQ_EMPTY(&b->sources))
        blob_source_free(TAILQ_FIRST(&b->sources));
}

void blob_sources_pause(struct blob_fetch *b, bool pause)
{
    struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry)
        supply_pause(&s->supply, pause);
}

void blob_forget_redirect(struct blob_fetch *b)
{
    secret_free(b->moved_to);
    b->moved_to = NULL;
}

/* ---- the head ---- */

static bool source_refuse(struct blob_source *s, const char *why)
{
    err_set(&s->err, ERR_UPSTREAM, "a blob of %s: %s", s->fetch->want.name, why);
    return false;
}

/* The signed URL that one request was redirected to serves the others, unless it is good for one request. */
static void source_note_redirect(struct blob_source *s, const char *moved_to)
{
    struct blob_fetch *b = blob_of(s->fetch);

    if (!moved_to)
        return;
    b->unmoved += s->direct ? 1 : 0; /* the registry was asked after all */
    blob_forget_redirect(b);
    if (b->unmoved < UNMOVED_MAX)
        b->moved_to = xstrdup(moved_to);
}

/* Of another node, or the bucket: the range that was requested, or a shorter one at the end of the blob. */
static bool source_take_nodes_head(struct blob_source *s, const struct transfer_response *r)
{
    struct fetch *f = s->fetch;
    int64_t size = ingest_size(blob_of(f)->ingest);

    f->step = STEP_RECEIVE;
    if (r->status == 307)
        ask_elsewhere(r->peer, s->elsewhere);
    if (r->status != 206 || (s->peer && !r->peer[0]))
        return source_refuse(s, "another node does not have it");
    if (r->range_first != s->first || r->range_total <= 0 || (size >= 0 && r->range_total != size) ||
        r->range_last + 1 != MIN(s->end, r->range_total))
        return source_refuse(s, "another node sent another range than was asked for");
    s->end = s->asked_end = r->range_last + 1;
    return blob_of(f)->source_events->opened(s, r->range_total, r);
}

static bool source_take_head(void *arg, const struct transfer_response *r)
{
    struct blob_source *s = arg;
    struct fetch *f = s->fetch;

    s->status = r->status;
    if (!blob_source_is_registry(s))
        return source_take_nodes_head(s, r);
    s->quick = clock_mono_ms() - s->begun_ms <= QUICK_MS;
    source_note_redirect(s, r->moved_to);
    f->response = *r;
    f->response.moved_to = NULL;
    f->step = STEP_RECEIVE;
    f->result.upstream_status = r->status;
    if (r->status != 200 && r->status != 206)
        return true; /* source_take_end() handles it */
    /* A Content-Encoding is ignored: some object stores label layers with gzip because that is their format. The digest
     * shows whether these are the right bytes. */
    if (r->status == 200 && s->spans)
        return source_refuse(s, "the registry does not serve several ranges at once");
    if (r->status == 200) { /* the whole blob, although a range may have been requested: what is here is skipped */
        s->at = 0;
        ingest_gap(blob_of(f)->ingest, 0, &s->skip, &(int64_t){0});
        s->end = s->asked_end = INT64_MAX;
        return blob_of(s->fetch)->source_events->opened(s, r->content_length, r);
    }
    if (s->spans && strcmp(r->content_type, "multipart/byteranges") == 0) {
        s->in_parts = true; /* each part says where it belongs */
        return blob_of(s->fetch)->source_events->opened(s, ingest_size(blob_of(f)->ingest), r);
    }
    if (s->spans) { /* one of them at least */
        upstream_note_one_range(f->want.site->upstream);
        s->end = MIN(r->range_last + 1, s->spans[0].end);
        s->asked_end = r->range_last + 1 > s->end ? INT64_MAX : s->end; /* it is cut off where it is longer */
        s->span_count = 0;
    }
    if (s->first >= 0 ? r->range_first != s->first : r->range_first < 0)
        return source_refuse(s, "upstream sent another range than was asked for");
    if (r->range_total < 0 && ingest_size(blob_of(f)->ingest) < 0)
        return err_set(&s->err, ERR_CORRUPT, "upstream does not say how large the blob is of which it sends a range");
    if (s->first < 0)
        s->end = s->asked_end = INT64_MAX;
    s->first = s->at = r->range_first;
    return blob_of(s->fetch)->source_events->opened(s, r->range_total, r);
}

/* ---- the body ---- */

/* A buffer is needed from the first byte of a turn to its end: the sources of a loop share a few. */
static void source_take_buffer(struct blob_source *s)
{
    struct fetcher *fr = s->fetch->fetcher;

    if (!s->received.data && fr->spare_count > 0)
        s->received = fr->spare[--fr->spare_count];
}

static void source_drop_buffer(struct blob_source *s)
{
    struct fetcher *fr = s->fetch->fetcher;

    buf_clear(&s->received);
    if (fr->spare_count < FETCH_SPARES)
        fr->spare[fr->spare_count++] = s->received;
    else
        buf_free(&s->received);
    s->received = (struct buf){0};
}

/* libcurl passes 16 KiB at a time. All that one turn of the loop brings are gathered, and written, hashed and announced
 * to followers once. */
static bool source_flush(struct blob_source *s)
{
    struct blob_fetch *b = blob_of(s->fetch);
    size_t len = s->received.len;

    if (len == 0 || s->unwritable)
        return !s->unwritable;
    /* After a piece that was not written, none of the following can be. */
    ingest_note_from(b->ingest, blob_source_from(s));
    s->unwritable = !ingest_write(b->ingest, s->at, s->received.data, len, &s->err);
    source_drop_buffer(s);
    if (s->unwritable)
        return false;
    s->at += (int64_t)len;
    s->brought += (int64_t)len;
    return true;
}

void blob_source_flush(struct blob_source *s)
{
    ON_LOOP(s->fetch->fetcher->loop);
    source_flush(s);
}

/* False: `s` is gone, or what came could not be written. */
static bool source_write(struct blob_source *s)
{
    struct blob_fetch *b = blob_of(s->fetch);

    if (!source_flush(s))
        return false;
    if (s->at >= s->end && s->end < s->asked_end) { /* it was shortened: others bring the rest */
        blob_of(s->fetch)->source_events->ended(s);
        return false;
    }
    if (supply_is_on(&s->supply) && ingest_is_ahead(b->ingest))
        blob_sources_pause(b, true);
    return true;
}

static void source_flush_turn(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    source_write(arg); /* if it fails, the next piece or the end notices */
}

/* How much is gathered before the next write. It ends at a multiple of a power of two: what is written is aligned, for
 * less work in the page cache (ingest_write()). */
static size_t source_room(const struct blob_source *s)
{
    const struct fetch *f = s->fetch;
    int64_t step = s->brought == 0                ? GATHER_FIRST
                   : blob_is_relay(f)             ? GATHER_RELAY
                   : blob_of(f)->source_count > 1 ? GATHER_SEVERAL
                                                  : GATHER;
    int64_t at = s->at + (int64_t)s->received.len, end = (at / step + 1) * step;

    return (size_t)((s->end < s->asked_end ? MIN(end, s->end) : end) - at);
}

/* Bytes that belong at s->at, behind what was received. False: `s` may be gone. */
static bool source_take(struct blob_source *s, const char *data, size_t len)
{
    struct fetch *f = s->fetch;
    int64_t left = s->end - s->at - (int64_t)s->received.len; /* behind its end others bring the bytes */
    size_t n;

    if (left <= 0 && len > 0) { /* it was stuck, and goes on after others have begun with the rest; or it has no end */
        if (source_flush(s))
            blob_of(f)->source_events->ended(s);
        return false;
    }
    if (left < (int64_t)len) { /* nor is more read of an answer that is longer than what was asked for */
        len = (size_t)MAX(left, (int64_t)0);
        s->asked_end = INT64_MAX;
    }
    if (!s->flush)
        s->flush = event_new(loop_base(f->fetcher->loop), -1, 0, source_flush_turn, s);
    for (; len > 0; data += n, len -= n) {
        size_t room = source_room(s);
        n = MIN(len, room);
        if (s->received.len == 0)
            event_active(s->flush, EV_TIMEOUT, 0);
        source_take_buffer(s);
        buf_add(&s->received, data, n);
        if (n == room && !source_write(s))
            return false;
    }
    return !s->unwritable;
}

/* A part begins at `offset`: it has to be one that was requested. */
static bool source_turn(struct blob_source *s, int64_t offset)
{
    if (s->parts.total != ingest_size(blob_of(s->fetch)->ingest) || !source_flush(s))
        return s->unwritable ? false : source_refuse(s, "upstream sent a part of another blob");
    while (s->span < s->span_count && s->spans[s->span].first != offset)
        s->span++;
    if (s->span == s->span_count || s->parts.end > s->spans[s->span].end)
        return source_refuse(s, "upstream sent another range than was asked for");
    s->at = offset;
    s->end = s->asked_end = s->parts.end;
    return true;
}

static bool source_take_parts(struct blob_source *s, const char *data, size_t len)
{
    size_t taken;
    int64_t offset;

    for (; len > 0; data += taken, len -= taken) {
        int64_t n = byteranges_read(&s->parts, data, len, &taken, &offset);
        if (n < 0)
            return source_refuse(s, "upstream's answer with several ranges cannot be read");
        if (n > 0 && offset == s->parts.first && !source_turn(s, offset))
            return false;
        if (n > 0 && !source_take(s, data + taken - n, (size_t)n))
            return false;
    }
    return true;
}

static bool source_take_data(void *arg, const void *data, size_t len)
{
    struct blob_source *s = arg;
    struct cluster *c = s->fetch->fetcher->all->cluster;

    if (c)
        atomic_fetch_add(cluster_received(c), len);
    if (s->status != 200 && s->status != 206)
        return true;
    s->active_ms = clock_mono_ms();
    if (s->heard_ms == 0)
        s->heard_ms = s->active_ms;
    if (s->quick)
        blob_of(s->fetch)->quick_ms = s->active_ms;
    if (s->in_parts)
        return source_take_parts(s, data, len);
    size_t over = (size_t)MIN(s->skip, (int64_t)len);
    s->skip -= (int64_t)over;
    s->at += (int64_t)over;
    return source_take(s, (const char *)data + over, len - over);
}

static void source_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct blob_source *s = arg;
    struct err unwritable = {.code = ERR_CANCELLED};

    s->supply = (struct supply){0};
    if (!source_flush(s))
        err = &unwritable;
    if (!err && (r->status == 200 || r->status == 206))
        blob_of(s->fetch)->source_events->ended(s);
    else
        blob_of(s->fetch)->source_events->failed(s, r, err);
}

/* ---- the request ---- */

static void source_ask_registry(struct blob_source *s, const char *ranges)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);
    const char *validator = ingest_validator(b->ingest);
    struct upstream_request req = {
        .method = "GET",
        .repository = f->want.path,
        .path = path,
        .range_first = s->ranged ? s->first : -1,
        .range_last = s->end == INT64_MAX ? -1 : s->end - 1,
        .range_suffix = s->suffix,
        .ranges = ranges,
        .direct = b->moved_to,
        .if_range = validator[0] && !s->further ? validator : NULL,
        .endpoint_first = b->fruitless,
        .unshared = s->further || blob_is_relay(f),
        .bulk = !s->further && !blob_is_relay(f) && s->end - MAX(s->at, (int64_t)0) > GATHER,
        .further = s->further,
        .lack_ms = f->tags.negative_ttl_ms,
        .on_head = source_take_head,
        .on_data = source_take_data,
        .on_done = source_take_end,
        .arg = s,
    };

    s->direct = b->moved_to;
    fetch_identify(f, &req);
    s->supply.call = upstream_start(f->want.site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
}

static int64_t source_received(void *arg)
{
    const struct blob_source *s = arg;

    return ingest_received(blob_of(s->fetch)->ingest);
}

static int64_t source_registry_quick(void *arg)
{
    const struct blob_source *s = arg;

    return blob_of(s->fetch)->quick_ms;
}

static void source_ask_node(struct blob_source *s)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    _cleanup_free_ char *object = fetch_reference_path(f, "blobs", true);
    const struct client *c = f->want.is_private ? f->want.client : NULL;
    const struct ask ask = {
        .peer = s->peer = peer_ref(b->view->list[s->choice.node]),
        .engine = f->fetcher->engine,
        .loop = f->fetcher->loop,
        .method = "GET",
        .registry = f->want.site->host,
        .path = f->want.path,
        .object = object,
        .authorization = c ? c->authorization : NULL,
        .identity = c && client_is_for(c, f->want.site) ? &c->id : NULL,
        .digest = &f->digest,
        .size = ingest_size(b->ingest) >= 0 ? ingest_size(b->ingest) : f->want.size,
        .range_first = s->first,
        .range_last = s->end == INT64_MAX ? ingest_size(b->ingest) - 1 : s->end - 1,
        .hops = s->choice.from == STRIPE_HAVE || s->choice.named ? ASK_HOPS_MAX : s->choice.hops,
        .have = s->choice.from == STRIPE_HAVE,
        .named = s->choice.named,
        .insist = s->choice.insist,
        .failed = s->choice.insist ? b->view->list[s->choice.other]->who.address : NULL,
        .hurry = b->failed > 0,
        .bulk = true,
        .received = source_received,
        .quick = source_registry_quick,
        .on_head = source_take_head,
        .on_data = source_take_data,
        .on_done = source_take_end,
        .arg = s,
    };

    s->supply.ask = ask_start(f->fetcher->all->cluster, &ask);
}

static void source_ask_bucket(struct blob_source *s)
{
    struct fetch *f = s->fetch;
    const struct bucket_range range = {
        .engine = f->fetcher->engine,
        .loop = f->fetcher->loop,
        .digest = blob_of(f)->bucket_name,
        .first = s->first,
        .last = s->end == INT64_MAX ? -1 : s->end - 1,
        .on_head = source_take_head,
        .on_data = source_take_data,
        .on_done = source_take_end,
        .arg = s,
    };

    s->supply.get = bucket_get_start(cluster_bucket(f->fetcher->all->cluster), &range);
}

static void source_begin(struct fetch *f, int64_t first, int64_t end, const char *ranges, struct blob_source *s)
{
    struct blob_fetch *b = blob_of(f);
    int64_t size = ingest_size(b->ingest);

    ON_LOOP(f->fetcher->loop);
    s->fetch = f;
    s->begun_ms = s->active_ms = clock_mono_ms();
    s->first = s->at = first;
    s->suffix = first < 0 ? end : 0;
    s->end = first < 0 || (!ranges && size >= 0 && end >= size) ? INT64_MAX : end;
    s->asked_end = s->end;
    s->ranged = first != 0 || s->end != INT64_MAX;
    s->ranged_to = s->end;
    TAILQ_INSERT_TAIL(&b->sources, s, entry);
    b->source_count++;
    if (blob_source_is_registry(s))
        source_ask_registry(s, ranges);
    else if (s->choice.from == STRIPE_BUCKET)
        source_ask_bucket(s);
    else
        source_ask_node(s);
}

void blob_source_begin_at(struct fetch *f, int64_t first, int64_t end, bool further, const struct stripe_choice *choice)
{
    struct blob_source *s = xcalloc(1, sizeof(*s));

    s->further = further;
    s->choice = *choice;
    source_begin(f, first, end, NULL, s);
}

void blob_source_begin(struct fetch *f, int64_t first, int64_t end, bool further)
{
    blob_source_begin_at(f, first, end, further, &(struct stripe_choice){.from = STRIPE_REGISTRY});
}

void blob_source_begin_several(struct fetch *f, const struct ingest_span *spans, size_t count, bool further)
{
    struct blob_source *s = xcalloc(1, sizeof(*s));
    _cleanup_buf_ struct buf ranges = {0};

    IN_STATE(count > 1);
    s->further = further;
    s->choice.from = STRIPE_REGISTRY;
    s->spans = xcalloc(count, sizeof(*spans));
    memcpy(s->spans, spans, count * sizeof(*spans));
    s->span_count = count;
    for (size_t k = 0; k < count; k++)
        buf_addf(&ranges, "%s%lld-%lld", k ? "," : "bytes=", (long long)spans[k].first, (long long)spans[k].end - 1);
    source_begin(f, spans[0].first, spans[0].end, ranges.data, s);
}
