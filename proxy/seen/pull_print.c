#include "proxy/seen/pull_print.h"

#include "base/size.h"
#include "base/visible.h"

#include <time.h>

const char *pulled_result_name(enum pulled_result r)
{
    static const char *const names[PULLED_RESULTS] = {"going on", "ok", "failed", "cut off"};

    return names[r];
}

void pull_print_image(struct buf *out, const struct pull_seen *s)
{
    char text[DIGEST_TEXT_MAX];

    buf_adds(out, s->name);
    if (s->tag[0])
        buf_addf(out, ":%s", s->tag);
    else if (s->digest.alg != DIGEST_NONE)
        buf_addf(out, "@%s", digest_format(&s->digest, text));
}

static const char *waited_for(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    if (d->alg == DIGEST_NONE)
        snprintf(out, DIGEST_TEXT_MAX, "the manifest");
    else
        digest_format(d, out);
    return out;
}

/* Nothing of it came from upstream, and some from other nodes or the bucket. */
static bool is_of_others(const struct pull_seen *s)
{
    return s->from[PULL_FROM_UPSTREAM] == 0 && s->from[PULL_FROM_PEERS] + s->from[PULL_FROM_SHARED] > 0;
}

void pull_print_line(struct buf *out, const struct pull_seen *s)
{
    int64_t ms = s->ended_ms - s->begun_ms;
    char size[SIZE_TEXT], text[DIGEST_TEXT_MAX];

    buf_adds(out, "pull of ");
    pull_print_image(out, s);
    if (s->platform[0])
        buf_addf(out, " (%s)", s->platform);
    buf_addf(out, " by %s %s: %s", s->client, seen_engine_name(s->engine), pulled_result_name(s->result));
    buf_addf(out, ", %s from the cache", size_text(s->from[PULL_FROM_CACHE], size));
    if (s->from[PULL_FROM_PEERS] > 0)
        buf_addf(out, ", %s from other nodes", size_text(s->from[PULL_FROM_PEERS], size));
    if (s->from[PULL_FROM_SHARED] > 0)
        buf_addf(out, ", %s from the bucket", size_text(s->from[PULL_FROM_SHARED], size));
    buf_addf(out, ", %s from upstream, in %lld.%lld s", size_text(s->from[PULL_FROM_UPSTREAM], size),
             (long long)ms / 1000, (long long)ms / 100 % 10);
    if (s->waited_ms > 0)
        buf_addf(out, "; waited %lld ms for %s%s", (long long)s->waited_ms, is_of_others(s) ? "" : "upstream and ",
                 waited_for(&s->waited_for, text));
    if (s->cause)
        buf_addf(out, ": %s", s->cause);
    buf_addf(out, " (request %s)", s->id);
}

static json_t *print_digest(const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return d->alg == DIGEST_NONE ? json_null() : json_string(digest_format(d, text));
}

static json_t *time_json(int64_t at_ms)
{
    time_t sec = (time_t)(at_ms / 1000);
    char text[64];
    struct tm tm;

    if (at_ms == 0)
        return json_null();
    gmtime_r(&sec, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(at_ms % 1000));
    return json_string(text);
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? visible_json(text) : json_null();
}

json_t *pull_json(const struct pull_seen *s)
{
    _cleanup_buf_ struct buf image = {0};
    bool going = s->result == PULLED_GOING;

    pull_print_image(&image, s);
    json_t *j = json_pack("{s:o, s:o, s:s, s:s, s:s, s:o}", "time", time_json(going ? s->begun_ms : s->ended_ms),
                          "begun", time_json(s->begun_ms), "id", s->id, "client", s->client, "engine",
                          seen_engine_name(s->engine), "user_agent", text_or_null(s->agent));
    json_object_set_new(j, "image", visible_json(image.data ? image.data : ""));
    json_object_set_new(j, "repository", visible_json(s->name));
    json_object_set_new(j, "tag", text_or_null(s->tag));
    json_object_set_new(j, "digest", print_digest(&s->digest));
    json_object_set_new(j, "platform", text_or_null(s->platform));
    json_object_set_new(j, "private", json_boolean(s->is_private));
    json_object_set_new(j, "bytes_from_cache", json_integer(s->from[PULL_FROM_CACHE]));
    json_object_set_new(j, "bytes_from_peers", json_integer(s->from[PULL_FROM_PEERS]));
    json_object_set_new(j, "bytes_from_shared", json_integer(s->from[PULL_FROM_SHARED]));
    json_object_set_new(j, "bytes_from_upstream", json_integer(s->from[PULL_FROM_UPSTREAM]));
    json_object_set_new(j, "seconds", json_real((double)(s->ended_ms - s->begun_ms) / 1000));
    json_object_set_new(j, "requests", json_integer(s->requests));
    json_object_set_new(j, "blobs", json_integer(s->blobs));
    json_object_set_new(j, "blobs_done", json_integer(s->blobs_done));
    json_object_set_new(j, "size", json_integer(s->size));
    json_object_set_new(j, "missing", json_integer(s->missing));
    json_object_set_new(j, "waited_ms", json_integer(s->waited_ms));
    json_object_set_new(j, "waited_for",
                        s->waited_ms > 0 && s->waited_for.alg == DIGEST_NONE ? json_string("manifest")
                                                                             : print_digest(&s->waited_for));
    json_object_set_new(j, "slowest_ms", json_integer(s->slowest_ms));
    json_object_set_new(j, "slowest", print_digest(&s->slowest));
    json_object_set_new(j, "result", json_string(pulled_result_name(s->result)));
    json_object_set_new(j, "cause", text_or_null(s->cause));
    if (!going)
        json_object_set_new(j, "number", json_integer((json_int_t)s->number));
    return j;
}
