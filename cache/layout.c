#include "cache/layout.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/visible.h"
#include "cache/private.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NAME_OCI        "org.opencontainers.image.ref.name"
#define NAME_CONTAINERD "io.containerd.image.name"
#define CHECKED         "io.entrepot.checked"
#define PINNED          "io.entrepot.pinned"
#define PRIVATE         "io.entrepot.private"

enum { LOAD_BATCH = 256 };

/* ---- writing ---- */

struct save {
    struct index_txn *t;
    struct buf out;
    bool any;
};

static bool layout_add_image(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct save *s = arg;
    char name[REF_NAME_MAX + 1], reference[REF_TEXT_MAX], digest[DIGEST_TEXT_MAX];
    struct blob_row blob;

    if (!rows_get_blob(s->t, &row->digest, &blob) || !rows_repo_name(s->t, repo, name))
        return true;
    /* What is written here counts as proved when it is read back: a private blob's tag that rests on a registry's
     * answer alone is left out. */
    if (blob.flags & BLOB_PRIVATE && !rows_linked(s->t, repo, &row->digest))
        return true;
    ref_join(name, tag, reference);
    buf_adds(&s->out, s->any ? ",{\"mediaType\":\"" : "{\"mediaType\":\"");
    buf_add_json(&s->out, blob.media_type);
    buf_addf(&s->out, "\",\"digest\":\"%s\",\"size\":%lld,\"annotations\":{\"" NAME_OCI "\":\"",
             digest_format(&row->digest, digest), (long long)blob.size);
    buf_add_json(&s->out, reference);
    buf_adds(&s->out, "\",\"" NAME_CONTAINERD "\":\"");
    buf_add_json(&s->out, reference);
    buf_addf(&s->out, "\",\"" CHECKED "\":\"%lld\"%s%s}}", (long long)row->checked_ms,
             rows_pinned(s->t, repo, tag) ? ",\"" PINNED "\":\"true\"" : "",
             rows_repo_is_private(s->t, repo) ? ",\"" PRIVATE "\":\"true\"" : "");
    s->any = true;
    return true;
}

static void read_images(struct index_txn *t, void *arg)
{
    struct save *s = arg;

    s->t = t;
    rows_each_tag(t, 0, layout_add_image, s);
}

static bool write_whole(const char *path, const struct buf *text, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        return err_errno(err, ERR_IO, "creating %s", path);
    if (!io_write(fd, text->data, text->len))
        return err_errno(err, ERR_IO, "writing %s", path);
    return fdatasync(fd) == 0 || err_errno(err, ERR_IO, "syncing %s", path);
}

bool layout_save(struct cache *c, struct err *err)
{
    struct save s = {0};
    _cleanup_free_ char *path = xasprintf("%s/index.json", store_path(c->store)), *fresh = xasprintf("%s.new", path);

    OFF_LOOPS;
    if (atomic_load(&c->rebuilding) || !atomic_exchange(&c->tags_changed, false))
        return true;
    buf_adds(&s.out, "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[");
    index_read(c->index, read_images, &s);
    buf_adds(&s.out, "]}\n");
    bool ok = write_whole(fresh, &s.out, err);
    if (ok && rename(fresh, path) != 0)
        ok = err_errno(err, ERR_IO, "replacing %s", path);
    if (!ok) {
        unlink(fresh);
        atomic_store(&c->tags_changed, true);
    }
    buf_free(&s.out);
    return ok;
}

/* ---- reading ---- */

struct load {
    const json_t *list;
    size_t from, taken;
};

static bool layout_enter(struct index_txn *t, const json_t *image, struct err *err)
{
    const json_t *notes = json_object_get(image, "annotations");
    const char *digest = json_string_value(json_object_get(image, "digest"));
    const char *name = json_string_value(json_object_get(notes, NAME_OCI));
    const char *checked = json_string_value(json_object_get(notes, CHECKED));
    char repo_name[REF_TEXT_MAX], tag[REF_TAG_MAX + 1];
    struct tag_row row = {0};
    struct ref ref;
    uint64_t repo;

    if (!digest || !name || !digest_parse(&row.digest, digest, strlen(digest)) || !ref_parse(&ref, name, NULL))
        return true;
    row.checked_ms = row.changed_ms = checked ? strtoll(checked, NULL, 10) : 0;
    ref_tag(&ref, tag);
    return rows_intern_repo(t, ref_name(&ref, repo_name), &repo, err) && rows_put_tag(t, repo, tag, &row, err) &&
           rows_link(t, repo, &row.digest, PROOF_BYTES, clock_now_s(), err) &&
           (!json_object_get(notes, PINNED) || rows_pin(t, repo, tag, true, err)) &&
           (!json_object_get(notes, PRIVATE) || rows_set_repo_private(t, repo, true, err));
}

static bool apply_load(struct index_txn *t, void *arg, struct err *err)
{
    struct load *l = arg;

    l->taken = 0;
    while (l->taken < LOAD_BATCH && l->from + l->taken < json_array_size(l->list))
        if (!layout_enter(t, json_array_get(l->list, l->from + l->taken++), err))
            return false;
    return true;
}

size_t layout_load(struct cache *c)
{
    _cleanup_free_ char *path = xasprintf("%s/index.json", store_path(c->store));
    json_error_t why;
    struct err err = {0};
    json_t *doc = json_load_file(path, 0, &why);
    struct load l = {.list = json_object_get(doc, "manifests")};

    if (!doc)
        log_warn("%s cannot be read (%s): tags are not known until they are pulled again", path, why.text);
    while (l.from < json_array_size(l.list)) {
        if (!index_write_wait(c->index, apply_load, &l, &err)) {
            log_error("taking tags from %s: %s", path, err.msg);
            break;
        }
        l.from += l.taken;
    }
    if (l.from > 0)
        log_info("%zu tags taken from %s", l.from, path);
    json_decref(doc);
    return l.from;
}
