/* `rm`, `pin`, `unpin` and `gc`: what changes the cache. */
#include "proxy/admin.h"

#include "gc/gc.h"

#include <string.h>

/* ---- for each reference of the request ---- */

struct named {
    char name[REF_TEXT_MAX], tag[REF_TAG_MAX + 1], text[REF_TEXT_MAX + REF_TAG_MAX + 2];
    struct ref ref;
};

static bool read_reference(struct admin_job *job, const json_t *item, struct named *n)
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

static bool has_references(struct admin_job *job, const json_t *references)
{
    if (json_array_size(references) > 0)
        return true;
    admin_error(job, 400, "which references? {\"references\": [\"nginx:1.27\"]}");
    return false;
}

static int status_of(const struct err *err)
{
    return err->code == ERR_NOT_FOUND ? 404 : err->code == ERR_INVALID ? 409 : 500;
}

void admin_rm(struct admin_job *job, const json_t *input)
{
    const json_t *references = json_object_get(input, "references");
    json_t *removed = json_array(), *item;
    int64_t bytes = 0, blobs = 0;
    struct err err = {0};
    size_t i;

    if (!has_references(job, references)) {
        json_decref(removed);
        return;
    }
    json_array_foreach(references, i, item) {
        struct gc_report report;
        struct named n;
        bool ok = read_reference(job, item, &n);
        if (ok && !gc_remove(job->proxy->gc, n.name, n.tag, &report, &err)) {
            admin_error(job, status_of(&err), "%s", err.msg);
            gc_report_free(&report);
            ok = false;
        }
        if (!ok) {
            json_decref(removed);
            return;
        }
        json_array_append_new(removed, json_string(n.text));
        bytes += report.freed_bytes;
        blobs += report.freed_blobs;
        gc_report_free(&report);
    }
    job->answer = json_pack("{s:o, s:I, s:I}", "removed", removed, "freed_bytes", (json_int_t)bytes, "freed_blobs",
                            (json_int_t)blobs);
}

void admin_pin(struct admin_job *job, const json_t *input, bool pin)
{
    const json_t *references = json_object_get(input, "references");
    json_t *done = json_array(), *item;
    struct err err = {0};
    size_t i;

    if (!has_references(job, references)) {
        json_decref(done);
        return;
    }
    json_array_foreach(references, i, item) {
        struct named n;
        bool ok = read_reference(job, item, &n);
        bool by_digest = ok && n.ref.digest.alg != DIGEST_NONE;
        if (ok && !gc_pin(job->proxy->gc, n.name, n.tag, by_digest ? &n.ref.digest : NULL, pin, &err)) {
            admin_error(job, status_of(&err), "%s", err.msg);
            ok = false;
        }
        if (!ok) {
            json_decref(done);
            return;
        }
        json_array_append_new(done, json_string(n.text));
    }
    job->answer = json_pack("{s:o}", pin ? "pinned" : "unpinned", done);
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

    if (gc_collect(job->proxy->gc, dry, json_is_integer(to) ? json_integer_value(to) : -1, &report, &err)) {
        json_t *names = json_array(), *gone = json_array(), *kept = json_array();
        list_images(&report, true, gone, names);
        list_images(&report, false, kept, NULL);
        job->answer = json_pack("{s:I, s:I, s:b, s:o, s:o, s:o}", "freed_bytes", (json_int_t)report.freed_bytes,
                                "freed_blobs", (json_int_t)report.freed_blobs, "dry_run", dry, "removed_images", names,
                                "removed", gone, "kept", kept);
    } else {
        admin_error(job, 500, "%s", err.msg);
    }
    gc_report_free(&report);
}
