/* `pull`: a line of JSON for everything that happens. */
#include "proxy/admin/pages.h"

#include "base/platform.h"
#include "base/visible.h"
#include "proxy/pull/pull.h"

#include <string.h>

static bool pull_is_stopped(void *arg)
{
    struct admin_job *job = arg;

    return atomic_load(&job->gone);
}

static json_t *digest_json(const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return json_string(digest_format(d, text));
}

static void pull_send_blob(void *arg, const struct pull_blob *b)
{
    static const char *const kinds[] = {"manifest", "config", "layer", "list"}, *const statuses[] = {
                                                                                    "waiting", "pulling", "exists",
                                                                                    "done", "failed"};
    json_t *j = json_pack("{s:s, s:s, s:o, s:s, s:s}", "event", "blob", "reference", b->reference, "digest",
                          digest_json(b->digest), "kind", kinds[b->kind], "status", statuses[b->status]);

    if (b->size >= 0)
        json_object_set_new(j, "size", json_integer(b->size));
    if (b->platform[0])
        json_object_set_new(j, "platform", visible_json(b->platform));
    if (b->status == PULL_RUNNING)
        json_object_set_new(j, "received", json_integer(b->received));
    if (b->status == PULL_FAILED)
        json_object_set_new(j, "error", visible_json(b->error));
    admin_line(arg, j);
}

static void pull_send_image(void *arg, const struct pull_image *i)
{
    static const char *const statuses[] = {"resolving", "pulling", "done", "done", "failed"};
    json_t *j =
        json_pack("{s:s, s:s, s:s}", "event", "image", "reference", i->reference, "status", statuses[i->status]);

    if (i->digest.alg != DIGEST_NONE)
        json_object_set_new(j, "digest", digest_json(&i->digest));
    if (i->status == PULL_DONE || i->status == PULL_FAILED) {
        json_object_set_new(j, "size", json_integer(i->size));
        json_object_set_new(j, "fetched", json_integer(i->fetched));
        /* What failed before its manifest came was not checked. */
        json_object_set_new(j, "checked", json_boolean(i->digest.alg != DIGEST_NONE && !i->unchecked[0]));
        if (i->platform[0])
            json_object_set_new(j, "other_platform", visible_json(i->platform));
        if (i->unchecked[0])
            json_object_set_new(j, "unchecked", visible_json(i->unchecked));
    }
    if (i->status == PULL_FAILED)
        json_object_set_new(j, "error", visible_json(i->error));
    admin_line(arg, j);
}

static void pull_send_note(void *arg, const char *reference, const char *text)
{
    admin_line(arg, json_pack("{s:s, s:s, s:o}", "event", "note", "reference", reference, "text", visible_json(text)));
}

static bool pull_take_platforms(struct admin_job *job, const json_t *list, struct pull_wish *wish)
{
    size_t i;
    json_t *item;

    if (json_array_size(list) > PULL_PLATFORMS_MAX) {
        admin_error(job, 400, "at most %d platforms", (int)PULL_PLATFORMS_MAX);
        return false;
    }
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(item);
        bool is_all = text && strcmp(text, "all") == 0;
        if (!text || (!is_all && !platform_normalize(text, wish->platforms[i]))) {
            admin_error(job, 400, "\"%s\" is not a platform such as linux/amd64 or linux/arm/v7, nor all",
                        text ? text : "");
            return false;
        }
        if (is_all) {
            memset(wish->platforms, 0, sizeof(wish->platforms));
            return true;
        }
    }
    return true;
}

void admin_pull(struct admin_job *job)
{
    struct pull_wish wish = {
        .referrers = json_is_true(json_object_get(job->input, "referrers")),
        .pin = json_is_true(json_object_get(job->input, "pin")),
        .fresh = json_is_true(json_object_get(job->input, "fresh")),
        .stop = pull_is_stopped,
        .on_blob = pull_send_blob,
        .on_image = pull_send_image,
        .on_note = pull_send_note,
        .arg = job,
    };
    struct pull_sum sum;

    if (!pull_take_platforms(job, json_object_get(job->input, "platforms"), &wish))
        return;
    struct ref *refs = admin_references(job, json_object_get(job->input, "references"), &wish.count);
    if (!refs)
        return;
    wish.references = refs;
    pull_run(&job->admin->puller, job->loop, &wish, &sum);
    free(refs);
    job->answer =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "images", (json_int_t)sum.images, "failed", (json_int_t)sum.failed,
                  "unchecked", (json_int_t)sum.unchecked, "size", (json_int_t)sum.size, "fetched",
                  (json_int_t)sum.fetched, "ok", sum.failed == 0 && !sum.stopped);
    if (sum.stopped)
        admin_error(job, 503, "the cache is being stopped; what came stays, so that pulling again goes on from there");
}
