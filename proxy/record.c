/* What is written down of clients' requests: a line in the access log, and what pulls are recognised by. */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

bool record_open(struct proxy *p, const struct config *c, struct err *err)
{
    const struct config_access_log *a = &c->access_log;
    bool to_journal = a->path && strcmp(a->path, "-") == 0 && c->log_format == LOG_FORMAT_JOURNAL;

    return access_log_open(p->access_log, a->path,
                           to_journal  ? ACCESS_JOURNAL
                           : a->common ? ACCESS_COMMON
                                       : ACCESS_JSON,
                           err);
}

bool records_start(struct server *s, struct err *err)
{
    struct proxy *p = &s->proxy;

    p->access_log = access_log_new(p->serve_loop_count);
    p->pulls =
        pulls_new(&(struct pulls_options){.look = pull_parts_look, .came = pull_parts_came, .arg = p->cache}, s->loop);
    for (int i = 0; i < p->serve_loop_count; i++) {
        p->serve_loops[i].access = access_log_feed(p->access_log, i);
        p->serve_loops[i].pulls = pull_feed_new(p->serve_loops[i].loop, s->loop, p->pulls);
    }
    return record_open(p, p->config, err);
}

void records_end(struct server *s)
{
    struct proxy *p = &s->proxy;

    for (int i = 0; i < p->serve_loop_count; i++)
        if (p->serve_loops[i].pulls)
            pull_feed_flush(p->serve_loops[i].pulls);
    loop_settle(s->loop);
    if (p->pulls)
        pulls_stop(p->pulls);
}

void records_free(struct server *s)
{
    struct proxy *p = &s->proxy;

    for (int i = 0; i < p->serve_loop_count; i++)
        pull_feed_free(p->serve_loops[i].pulls);
    pulls_free(p->pulls);
    access_log_free(p->access_log);
}

/* ---- the access log ---- */

/* The value that Cache-Status has in the answer, if it is ours: what is passed on may have a registry's. */
static const char *cache_status(const struct http_request *req, size_t *len)
{
    const char *text = http_given_header(req, "Cache-Status", len);

    return text && *len >= strlen("entrepot") && strncmp(text, "entrepot", strlen("entrepot")) == 0 ? text : NULL;
}

int64_t record_waited_us(struct http_request *req)
{
    const struct seen_detail *d = note_of(req)->detail;
    int64_t until = http_first_micros(req) >= 0 ? http_first_micros(req) : http_micros(req);

    return d && d->asked_us >= 0 && note_of(req)->result != RESULT_HIT ? MAX(until - d->asked_us, (int64_t)0) : -1;
}

/* A tag or digest, as the path has it; "" of lists. */
static const char *record_reference(const struct seen_detail *d, const char *path, char out[DIGEST_TEXT_MAX])
{
    size_t len = strlen("sha256:") + 2 * digest_len(&d->digest), path_len = strlen(path);

    if (d->digest.alg == DIGEST_NONE)
        return d->tag;
    bool ends = path_len > len && path[path_len - len - 1] == '/'; /* nearly always, and not escaped then */
    return ends ? path + path_len - len : digest_format(&d->digest, out);
}

/* The target of a request that was refused is as it was sent: a URL in it, or a query, may hold a password. */
static bool record_is_plain(const char *target)
{
    return target[0] == '/' ? !strchr(target, '?') : !strpbrk(target, "/@?");
}

static void record_line(struct serve_loop *sl, struct http_request *req, int64_t duration_us)
{
    const struct seen_detail *d = note_of(req)->detail;
    const struct site *site = note_of(req)->site;
    char digest[DIGEST_TEXT_MAX], host[REF_HOST_MAX + 1], ns[REF_HOST_MAX + 1];
    const char *method = http_method_name(req), *path = http_path(req);
    bool refused = http_was_refused(req);
    struct access_line line = {
        .at_ms = clock_now_ms() - duration_us / 1000,
        .id = http_id(req),
        .client = http_client(req),
        .method = *method == '-' ? NULL : method, /* it could not be read */
        .path = refused && !record_is_plain(path) ? NULL : path,
        .status = http_status(req),
        .bytes = http_sent(req),
        .first_us = http_first_micros(req),
        .duration_us = duration_us,
        .waited_us = record_waited_us(req),
    };

    line.cache = cache_status(req, &line.cache_len);
    if (!refused) {
        line.user_agent = http_header(req, "user-agent");
        line.range = http_header(req, "range");
        line.ns = http_query_get(req, "ns", ns, sizeof(ns)) ? ns : NULL;
    }
    if (d) {
        size_t host_len = MIN(d->host_len, (size_t)REF_HOST_MAX);
        memcpy(host, d->name, host_len);
        host[host_len] = '\0';
        line.upstream = host;
        line.repository = d->name + d->host_len + 1;
        line.reference = record_reference(d, path, digest);
        line.reference = *line.reference ? line.reference : NULL;
    } else if (!refused && http_authority(req)) {
        line.upstream = http_authority(req);
    } else if (site) {
        line.upstream = site->host;
    }
    access_feed_add(sl->access, &line);
}

/* ---- pulls ---- */

static void record_put(char *out, size_t cap, const char *text)
{
    size_t len = strnlen(text ? text : "", cap - 1);

    memcpy(out, text ? text : "", len);
    out[len] = '\0';
}

#define PUT_TEXT(out, text) record_put(out, sizeof(out), text)

/* What is the same at its beginning and its end. */
static struct pull_request *record_pull(struct serve_loop *sl, struct http_request *req, bool blob)
{
    const struct seen_detail *d = note_of(req)->detail;
    struct pull_request *r = pull_feed_next(sl->pulls);

    r->blob = blob;
    r->head = http_method(req) == HTTP_METHOD_HEAD;
    r->asked = d->digest;
    r->digest = (struct digest){0};
    r->bytes = 0;
    r->status = 0;
    r->waited_ms = -1;
    r->duration_ms = 0;
    r->whole = r->relayed = false;
    r->from = PULL_FROM_CACHE;
    r->failure = NULL;
    r->ended_ms = http_now_us(req) / 1000;
    r->at_ms = clock_now_ms();
    PUT_TEXT(r->id, http_id(req));
    PUT_TEXT(r->client, http_client(req));
    PUT_TEXT(r->agent, http_header(req, "user-agent"));
    PUT_TEXT(r->name, d->name);
    PUT_TEXT(r->tag, d->tag);
    return r;
}

void record_begin(struct serve_loop *sl, struct http_request *req, bool blob)
{
    ON_LOOP(sl->loop);
    http_client(req); /* while it can be known */
    if (!blob || http_method(req) != HTTP_METHOD_GET)
        return;
    record_pull(sl, req, true)->begins = true;
    pull_feed_add(sl->pulls);
}

/* What it was answered with; of what is passed on, as the registry has it in the header. */
static struct digest record_answered(const struct http_request *req, const struct seen_detail *d)
{
    struct digest digest = d->answered;
    size_t len;
    const char *text = digest.alg == DIGEST_NONE ? http_given_header(req, "Docker-Content-Digest", &len) : NULL;

    if (text)
        digest_parse(&digest, text, len);
    return digest;
}

/* A manifest from the cache, sent whole, like one that is gathered already: most of them. */
static bool record_again(struct serve_loop *sl, struct http_request *req)
{
    const struct request_note *n = note_of(req);
    const struct seen_detail *d = n->detail;
    struct pull_again again = {.client = http_client(req),
                               .agent = http_header(req, "user-agent"),
                               .name = d->name,
                               .tag = d->tag,
                               .digest = &d->answered,
                               .head = http_method(req) == HTTP_METHOD_HEAD,
                               .bytes = http_sent(req),
                               .ended_ms = http_now_us(req) / 1000};

    return n->kind == KIND_MANIFEST && n->result == RESULT_HIT && http_status(req) == 200 && http_is_whole(req) &&
           !d->failure && d->answered.alg != DIGEST_NONE && pull_feed_again(sl->pulls, &again);
}

static void record_pulled(struct serve_loop *sl, struct http_request *req, int64_t duration_us)
{
    static const enum pull_from FROM[SOURCE_COUNT] = {
        [SOURCE_UPSTREAM] = PULL_FROM_UPSTREAM, [SOURCE_PEERS] = PULL_FROM_PEERS, [SOURCE_SHARED] = PULL_FROM_SHARED};
    const struct request_note *n = note_of(req);
    struct seen_detail *d = n->detail;

    if (!d || (n->kind != KIND_MANIFEST && n->kind != KIND_BLOB) || record_again(sl, req))
        return;
    struct pull_request *r = record_pull(sl, req, n->kind == KIND_BLOB);
    int64_t waited_us = record_waited_us(req);
    if (!r->blob)
        r->digest = record_answered(req, d);
    r->begins = false;
    r->status = http_status(req);
    r->bytes = r->status < 400 ? http_sent(req) : 0;
    r->whole = http_is_whole(req);
    r->from = FROM[n->source];
    r->relayed = n->result == RESULT_BYPASS;
    r->waited_ms = waited_us < 0 ? -1 : waited_us / 1000;
    r->duration_ms = duration_us / 1000;
    r->at_ms -= r->duration_ms;
    r->failure = d->failure;
    d->failure = NULL;
    pull_feed_add(sl->pulls);
}

void record_end(struct serve_loop *sl, struct http_request *req)
{
    ON_LOOP(sl->loop);
    if (http_listener(req) == sl->proxy->admin_listener)
        return;
    int64_t duration_us = http_micros(req);
    if (access_feed_is_on(sl->access))
        record_line(sl, req, duration_us);
    record_pulled(sl, req, duration_us);
}

/* ---- figures ---- */

void record_print(const struct proxy *p, struct buf *out)
{
    static const char *const results[PULLED_RESULTS] = {
        [PULLED_OK] = "ok", [PULLED_FAILED] = "failed", [PULLED_CUT_OFF] = "cut_off"};

    buf_addf(out,
             "# HELP entrepot_access_log_dropped_total Lines of the access log that were not written.\n"
             "# TYPE entrepot_access_log_dropped_total counter\nentrepot_access_log_dropped_total %llu\n",
             (unsigned long long)access_log_dropped(p->access_log));
    buf_adds(out, "# HELP entrepot_pulls_total Pulls of clients that are over, by their result.\n"
                  "# TYPE entrepot_pulls_total counter\n");
    for (int r = PULLED_OK; r < PULLED_RESULTS; r++)
        buf_addf(out, "entrepot_pulls_total{result=\"%s\"} %llu\n", results[r],
                 (unsigned long long)pulls_count(p->pulls, (enum pulled_result)r));
}
