/* `verify`: a line of JSON for each finding, one for the progress from time to time, the sum at the end. */
#include "proxy/admin/pages.h"

#include "base/visible.h"

#include "gc/gc.h"
#include "proxy/pull/prefetch.h"

static json_t *sum_json(const struct scrub_sum *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "blobs", (json_int_t)s->blobs, "bytes",
                     (json_int_t)s->bytes, "damaged", (json_int_t)s->damaged, "missing", (json_int_t)s->missing,
                     "adopted", (json_int_t)s->adopted, "partial", (json_int_t)s->parts, "partial_damaged",
                     (json_int_t)s->parts_damaged, "references", (json_int_t)s->references, "repaired",
                     (json_int_t)s->repaired, "fetched", (json_int_t)s->fetched, "lost", (json_int_t)s->lost);
}

static void verify_send_progress(void *arg, const struct scrub_sum *sum, int64_t total_bytes)
{
    json_t *line = sum_json(sum);

    json_object_set_new(line, "progress", json_true());
    json_object_set_new(line, "total_bytes", json_integer(total_bytes));
    admin_line(arg, line);
}

static void verify_send_finding(void *arg, const char *digest, const char *what)
{
    admin_line(arg, json_pack("{s:s, s:o}", "digest", digest, "wrong", visible_json(what)));
}

static bool verify_fetch_again(void *arg, const char *repo, const struct digest *d, bool manifest, struct err *err)
{
    struct admin_job *job = arg;
    struct fetch_want want = {.kind = manifest ? FETCH_MANIFEST : FETCH_BLOB, .name = repo, .digest = *d};

    if (fetchers_is_offline(job->admin->puller.fetchers))
        return err_set(err, ERR_NOT_FOUND, "the cache is offline");
    if (!prefetch_site(&job->admin->puller, repo, &want.site, &want.path))
        return err_set(err, ERR_NOT_FOUND, "%s is not of a configured upstream, or too many are in use", repo);
    bool ok = prefetch_wait(&job->admin->puller, job->loop, &want, err);
    site_unref(want.site);
    return ok;
}

void admin_verify(struct admin_job *job)
{
    struct scrub_wish wish = {
        .bytes_per_s = json_integer_value(json_object_get(job->input, "rate")),
        .repair = json_is_true(json_object_get(job->input, "repair")),
        .stop = admin_is_stopped,
        .progress = verify_send_progress,
        .finding = verify_send_finding,
        .fetch = verify_fetch_again,
        .arg = job,
    };
    struct scrub_sum sum;
    struct err err = {0};

    if (gc_scrub(job->admin->puller.gc, &wish, &sum, &err)) {
        job->answer = sum_json(&sum);
        json_object_set_new(job->answer, "ok",
                            json_boolean(sum.damaged + sum.missing + sum.parts_damaged + sum.references == 0));
    } else {
        admin_fail(job, &err);
    }
}
