/* `rm`, `pin`, `unpin`, `gc` and `offline`: what changes the cache or the daemon. */
#include "proxy/admin/pages.h"

#include "base/log.h"
#include "base/lookup.h"
#include "gc/gc.h"

#include <string.h>

/* ---- for each reference of the request ---- */

struct change_named {
    char name[REF_TEXT_MAX], tag[REF_TAG_MAX + 1], text[REF_TEXT_MAX + REF_TAG_MAX + 2];
    struct ref ref;
};

static const struct digest *digest_of_named(const struct change_named *n)
{
    return n->ref.digest.alg != DIGEST_NONE ? &n->ref.digest : NULL;
}

static bool read_name(struct admin_job *job, const json_t *item, struct change_named *n)
{
    const char *text = json_string_value(item);
    struct err err = {0};

    if (!text || !ref_parse(&n->ref, text, &err)) {
        admin_error(job, 400, "%s", text ? err.msg : "references are strings");
        return false;
    }
    ref_name(&n->ref, n->name);
    ref_tag(&n->ref, n->tag);
    ref_join(n->name, n->tag, n->text);
    return true;
}

static bool check_name(struct admin_job *job, enum gc_wish wish, const struct change_named *n, bool alone)
{
    struct err err = {0};

    if (gc_check(job->admin->puller.gc, wish, n->name, n->tag, digest_of_named(n), &err))
        return true;
    admin_error(job, admin_status_of(&err), "%s%s", err.msg, alone ? "" : "; nothing was changed");
    return false;
}

/* The names of a request, each once, for the caller to free. NULL: one is wrong; the answer is the error, and nothing
 * is changed. */
static struct change_named *take_names(struct admin_job *job, enum gc_wish wish, size_t *count)
{
    const json_t *references = json_object_get(job->input, "references");
    size_t given = json_array_size(references), i;
    struct change_named *list = xcalloc(given + 1, sizeof(*list));
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

/* The checks before passed, so another request came between. */
static void fail_midway(struct admin_job *job, const struct err *err, const char *done, json_t *names)
{
    _cleanup_free_ char *list = json_dumps(names, JSON_COMPACT);

    admin_error(job, admin_status_of(err), "%s; %s before that: %s", err->msg, done, list);
    json_object_set(job->answer, done, names);
}

/* What would be freed; with "pinned", also by images that rm refuses. */
static void rm_dry(struct admin_job *job)
{
    size_t count;
    bool pinned = json_is_true(json_object_get(job->input, "pinned"));
    struct change_named *list = take_names(job, pinned ? GC_UNPIN : GC_REMOVE, &count);
    struct gc_report report;

    if (!list)
        return;
    struct gc_name *names = xcalloc(count, sizeof(*names));
    json_t *removed = json_array(), *images = json_array();
    for (size_t i = 0; i < count; i++) {
        names[i] = (struct gc_name){list[i].name, list[i].tag};
        json_array_append_new(removed, json_string(list[i].text));
    }
    gc_would_remove(job->admin->puller.gc, names, count, &report);
    for (size_t i = 0; i < report.count; i++)
        json_array_append_new(images, json_pack("{s:s, s:I}", "reference", report.images[i].reference, "freed_bytes",
                                                (json_int_t)report.images[i].bytes));
    job->answer =
        json_pack("{s:O, s:O, s:I, s:I, s:b}", "removed", removed, "images", images, "freed_bytes",
                  (json_int_t)report.freed_bytes, "freed_blobs", (json_int_t)report.freed_blobs, "dry_run", 1);
    gc_report_free(&report);
    json_decref(removed);
    json_decref(images);
    free(names);
    free(list);
}

void admin_rm(struct admin_job *job)
{
    if (json_is_true(json_object_get(job->input, "dry_run"))) {
        rm_dry(job);
        return;
    }
    size_t count;
    struct change_named *list = take_names(job, GC_REMOVE, &count);
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

static void set_pins(struct admin_job *job, bool pin)
{
    size_t count;
    struct change_named *list = take_names(job, pin ? GC_PIN : GC_UNPIN, &count);
    const char *key = pin ? "pinned" : "unpinned";
    struct err err = {0};

    if (!list)
        return;
    json_t *done = json_array();
    for (size_t i = 0; i < count && err.code == ERR_OK; i++)
        if (gc_pin(job->admin->puller.gc, list[i].name, list[i].tag, digest_of_named(&list[i]), pin, &err))
            json_array_append_new(done, json_string(list[i].text));
    if (err.code == ERR_OK)
        job->answer = json_pack("{s:O}", key, done);
    else
        fail_midway(job, &err, key, done);
    json_decref(done);
    free(list);
}

void admin_pin(struct admin_job *job)
{
    set_pins(job, true);
}

void admin_unpin(struct admin_job *job)
{
    set_pins(job, false);
}

/* ---- gc ---- */

/* The answer has a line for each image, so it is made in pieces. */
struct gc_answer {
    struct gc_report report;
    bool dry, opened, any; /* the list is opened; it has an image */
    size_t list, at;
};

enum { GC_PIECE = 16 << 10 };

static const struct gc_list {
    const char *key;
    bool gone, by_name;
} GC_LISTS[] = {{"removed_images", true, true}, {"removed", true, false}, {"kept", false, false}};

static void add_gc_image(struct buf *piece, const struct gc_image *m, bool by_name, bool first)
{
    json_t *row =
        by_name ? json_string(m->reference)
                : json_pack("{s:s, s:s, s:I}", "reference", m->reference, "why", m->why, "bytes", (json_int_t)m->bytes);
    _cleanup_free_ char *text = json_dumps(row, JSON_COMPACT | JSON_ENCODE_ANY);

    buf_addf(piece, "%s\n%s", first ? "" : ",", text);
    json_decref(row);
}

static void add_sums(struct buf *piece, const struct gc_answer *a)
{
    const struct gc_report *r = &a->report;

    buf_addf(piece, "{\"freed_bytes\":%lld,\"freed_blobs\":%lld,\"dry_run\":%s,\"held_bytes\":%lld,\"target_bytes\":",
             (long long)r->freed_bytes, (long long)r->freed_blobs, a->dry ? "true" : "false", (long long)r->held_bytes);
    if (r->target_bytes >= 0)
        buf_addf(piece, "%lld", (long long)r->target_bytes);
    else
        buf_adds(piece, "null");
}

static enum admin_more add_collected(struct admin_job *job, struct buf *piece)
{
    struct gc_answer *a = job->state;

    for (; a->list < ARRAY_LEN(GC_LISTS); a->list++) {
        const struct gc_list *l = &GC_LISTS[a->list];
        if (!a->opened && a->list == 0)
            add_sums(piece, a);
        if (!a->opened)
            buf_addf(piece, ",\"%s\":[", l->key);
        a->opened = true;
        for (; a->at < a->report.count && piece->len < GC_PIECE; a->at++) {
            if (a->report.images[a->at].gone != l->gone)
                continue;
            add_gc_image(piece, &a->report.images[a->at], l->by_name, !a->any);
            a->any = true;
        }
        if (a->at < a->report.count)
            return ADMIN_MORE;
        buf_adds(piece, "]");
        a->at = 0;
        a->opened = a->any = false;
    }
    buf_adds(piece, "}\n");
    return ADMIN_END;
}

static void gc_answer_free(void *state)
{
    struct gc_answer *a = state;

    gc_report_free(&a->report);
    free(a);
}

void admin_gc(struct admin_job *job)
{
    const json_t *to = json_object_get(job->input, "to");
    struct gc_answer *a = xcalloc(1, sizeof(*a));
    struct err err = {0};

    a->dry = json_is_true(json_object_get(job->input, "dry_run"));
    job->state = a;
    job->free_state = gc_answer_free;
    if (gc_collect(job->admin->puller.gc, a->dry, json_is_integer(to) ? json_integer_value(to) : -1, &a->report, &err))
        job->produce = add_collected;
    else
        admin_fail(job, &err);
}

/* ---- offline ---- */

void admin_offline(struct admin_job *job)
{
    const json_t *offline = json_object_get(job->input, "offline");
    struct fetchers *fetchers = job->admin->puller.fetchers;

    if (!json_is_boolean(offline)) {
        admin_error(job, 400, "a boolean is required: {\"offline\": true}");
        return;
    }
    if (fetchers_is_offline(fetchers) != json_is_true(offline))
        log_info("%s by the operator", json_is_true(offline) ? "offline" : "online again");
    fetchers_set_offline(fetchers, json_is_true(offline));
    job->answer = json_pack("{s:b}", "offline", json_is_true(offline));
}
