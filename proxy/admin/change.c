/* `rm`, `pin`, `unpin` and `gc`: what changes the cache. */
#include "proxy/admin/admin.h"

#include "base/lookup.h"
#include "gc/gc.h"

#include <string.h>

/* ---- for each reference of the request ---- */

struct named {
    char name[REF_TEXT_MAX], tag[REF_TAG_MAX + 1], text[REF_TEXT_MAX + REF_TAG_MAX + 2];
    struct ref ref;
};

static int status_of(const struct err *err)
{
    return err->code == ERR_NOT_FOUND ? 404 : err->code == ERR_INVALID ? 409 : 500;
}

static const struct digest *digest_of_named(const struct named *n)
{
    return n->ref.digest.alg != DIGEST_NONE ? &n->ref.digest : NULL;
}

static bool read_name(struct admin_job *job, const json_t *item, struct named *n)
{
    const char *text = json_string_value(item);
    struct err err = {0};

    if (!text || !ref_parse(&n->ref, text, &err)) {
        admin_error(job, 400, "%s", text ? err.msg : "references are strings");
        return false;
    }
    ref_name(&n->ref, n->name);
    ref_tag(&n->ref, n->tag);
    snprintf(n->text, sizeof(n->text), "%s%c%s", n->name, strchr(n->tag, ':') ? '@' : ':', n->tag);
    return true;
}

static bool check_name(struct admin_job *job, enum gc_wish wish, const struct named *n, bool alone)
{
    struct err err = {0};

    if (gc_check(job->admin->puller.gc, wish, n->name, n->tag, digest_of_named(n), &err))
        return true;
    admin_error(job, status_of(&err), "%s%s", err.msg, alone ? "" : "; nothing was changed");
    return false;
}

/* The names of a request, each once, for the caller to free. NULL: one cannot be had, which has been said, and nothing
 * is done. */
static struct named *take_names(struct admin_job *job, const json_t *input, enum gc_wish wish, size_t *count)
{
    const json_t *references = json_object_get(input, "references");
    size_t given = json_array_size(references), i;
    struct named *list = xcalloc(given + 1, sizeof(*list));
    _cleanup_text_set_ struct text_set known = {0};
    bool ok = given > 0;
    json_t *item;

    if (!ok)
        admin_error(job, 400, "which references? {\"references\": [\"nginx:1.27\"]}");
    *count = 0;
    json_array_foreach(references, i, item) {
        ok = ok && read_name(job, item, &list[*count]);
        if (!ok || !text_set_add(&known, list[*count].text))
            continue;
        ok = check_name(job, wish, &list[*count], given == 1);
        ++*count;
    }
    if (ok)
        return list;
    free(list);
    return NULL;
}

/* Another request came between. */
static void fail_midway(struct admin_job *job, const struct err *err, const char *done, json_t *names)
{
    _cleanup_free_ char *list = json_dumps(names, JSON_COMPACT);

    admin_error(job, status_of(err), "%s; %s before that: %s", err->msg, done, list);
    json_object_set(job->answer, done, names);
}

void admin_rm(struct admin_job *job, const json_t *input)
{
    size_t count;
    struct named *list = take_names(job, input, GC_REMOVE, &count);
    int64_t bytes = 0, blobs = 0;
    struct err err = {0};

    if (!list)
        return;
    json_t *removed = json_array();
    for (size_t i = 0; i < count && err.code == ERR_OK; i++) {
        struct gc_report report;
        if (gc_remove(job->admin->puller.gc, list[i].name, list[i].tag, &report, &err))
            json_array_append_new(removed, json_string(list[i].text));
        bytes += report.freed_bytes;
        blobs += report.freed_blobs;
        gc_report_free(&report);
    }
    if (err.code == ERR_OK)
        job->answer = json_pack("{s:O, s:I, s:I}", "removed", removed, "freed_bytes", (json_int_t)bytes, "freed_blobs",
                                (json_int_t)blobs);
    else
        fail_midway(job, &err, "removed", removed);
    json_decref(removed);
    free(list);
}

void admin_pin(struct admin_job *job, const json_t *input, bool pin)
{
    size_t count;
    struct named *list = take_names(job, input, pin ? GC_PIN : GC_UNPIN, &count);
    const char *word = pin ? "pinned" : "unpinned";
    struct err err = {0};

    if (!list)
        return;
    json_t *done = json_array();
    for (size_t i = 0; i < count && err.code == ERR_OK; i++)
        if (gc_pin(job->admin->puller.gc, list[i].name, list[i].tag, digest_of_named(&list[i]), pin, &err))
            json_array_append_new(done, json_string(list[i].text));
    if (err.code == ERR_OK)
        job->answer = json_pack("{s:O}", word, done);
    else
        fail_midway(job, &err, word, done);
    json_decref(done);
    free(list);
}

/* ---- gc ---- */

static void list_images(const struct gc_report *r, bool gone, json_t *list, json_t *names)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct gc_image *m = &r->images[i];
        if (m->gone != gone)
            continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "reference", m->reference, "why", m->why, "bytes",
                                              (json_int_t)m->bytes));
        if (names)
            json_array_append_new(names, json_string(m->reference));
    }
}

void admin_gc(struct admin_job *job, const json_t *input)
{
    const json_t *to = json_object_get(input, "to");
    bool dry = json_is_true(json_object_get(input, "dry_run"));
    struct gc_report report;
    struct err err = {0};

    if (gc_collect(job->admin->puller.gc, dry, json_is_integer(to) ? json_integer_value(to) : -1, &report, &err)) {
        json_t *names = json_array(), *gone = json_array(), *kept = json_array();
        list_images(&report, true, gone, names);
        list_images(&report, false, kept, NULL);
        job->answer =
            json_pack("{s:I, s:I, s:b, s:o, s:o, s:o, s:I, s:o}", "freed_bytes", (json_int_t)report.freed_bytes,
                      "freed_blobs", (json_int_t)report.freed_blobs, "dry_run", dry, "removed_images", names, "removed",
                      gone, "kept", kept, "held_bytes", (json_int_t)report.held_bytes, "target_bytes",
                      report.target_bytes >= 0 ? json_integer(report.target_bytes) : json_null());
    } else {
        admin_error(job, 500, "%s", err.msg);
    }
    gc_report_free(&report);
}
