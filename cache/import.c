#include "cache/import.h"

#include "base/assert.h"
#include "base/clock.h"
#include "cache/private.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 4 };

bool import_look(struct cache *c, const struct digest *d, bool *whole, int64_t *received, struct err *err)
{
    struct err why = {0};
    struct stat st;

    OFF_LOOPS;
    *whole = cache_look(c, d) == FILE_KNOWN;
    *received = 0;
    if (*whole)
        return true;
    _cleanup_close_ int fd = store_open_import(c->store, d, false, &why);
    if (fd < 0 && why.code == ERR_NOT_FOUND)
        return true;
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_set(err, ERR_IO, "%s", why.msg);
    *received = st.st_size;
    return true;
}

bool import_lock(int fd, struct err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    return errno == EWOULDBLOCK ? err_set(err, ERR_BUSY, "another import of it is in progress")
                                : err_errno(err, ERR_IO, "locking what is imported");
}

/* Bytes may be sent again, and a full disk takes part of a write. */
static void note_grown(struct cache *c, off_t *size, int64_t end)
{
    if (end <= *size)
        return;
    ingests_note_parked(c->ingests, end - *size);
    *size = end;
}

bool import_write(struct cache *c, const struct digest *d, int64_t offset, const void *data, size_t len,
                  struct err *err)
{
    struct stat st;
    _cleanup_close_ int fd = store_open_import(c->store, d, true, err);

    OFF_LOOPS;
    if (fd < 0 || !import_lock(fd, err))
        return false;
    if (fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, "reading what was imported");
    if (!(st.st_mode & S_IWUSR)) /* sealed, under the same lock, between our opening and locking: it is a blob now */
        return err_set(err, ERR_BUSY, "another import of it has just ended");
    if (st.st_nlink > 1) /* a folder's file, shared by another import: not to be written into */
        return err_set(err, ERR_BUSY, "another import of it is in progress");
    if (offset > 0 && st.st_size == 0)
        return err_set(err, ERR_NOT_FOUND, "what was sent of it is not there any more");
    if (offset < 0 || offset > st.st_size)
        return err_set(err, ERR_INVALID, "%lld bytes are here, not %lld", (long long)st.st_size, (long long)offset);
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(fd, (const char *)data + at, len - at, offset + (int64_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_IO, "writing what is imported");
        at += (size_t)n;
        note_grown(c, &st.st_size, offset + (int64_t)at);
    }
    return true;
}

void import_remove(struct cache *c, const struct digest *d)
{
    store_remove_import(c->store, d, NULL);
}

/* ---- the image ---- */

struct entering {
    const char *repo, *tag;
    struct digest digest;
    bool pin;
    struct index_txn *t;
    uint64_t id;
    int walked; /* manifests that were looked at, each as often as it is named */
    struct err *err;
};

struct import_walk {
    struct entering *e;
    struct digest manifest;
    int depth;
    int images, whole; /* manifests in an index, and those of them that are here with all they need */
    bool ok;
    struct err missing;
};

static bool import_enter_manifest(struct entering *e, const struct digest *d, int depth, struct err *missing);

/* What came in under a client's identity is not opened by an archive that may only name it. */
static bool import_own(struct entering *e, const struct digest *d, const struct blob_row *row)
{
    char text[DIGEST_TEXT_MAX];

    return !(row->flags & BLOB_PRIVATE) || rows_linked(e->t, e->id, d) ||
           err_set(e->err, ERR_INVALID, "%s is private to another repository here: entrepot rm its images first",
                   digest_format(d, text));
}

static bool import_visit(void *arg, const struct child *c)
{
    struct import_walk *w = arg;
    char text[DIGEST_TEXT_MAX];
    struct blob_row row;

    if (!child_is_content(c))
        return true;
    bool here = rows_get_blob(w->e->t, &c->digest, &row);
    if (here && row.flags & BLOB_MANIFEST) {
        w->images++;
        w->whole += import_enter_manifest(w->e, &c->digest, w->depth + 1, &w->missing);
        return w->e->err->code == ERR_OK;
    }
    if (!here && c->role == CHILD_FOREIGN)
        return true;
    if (!here) { /* a layer, or an image of the index for another platform: the end decides */
        w->ok =
            err_set(&w->missing, ERR_NOT_FOUND, "%s is not among what was imported", digest_format(&c->digest, text));
        return true;
    }
    return import_own(w->e, &c->digest, &row);
}

/* True if it is here with all it needs. A failure of the index is in e->err. */
static bool import_enter_manifest(struct entering *e, const struct digest *d, int depth, struct err *missing)
{
    struct import_walk w = {.e = e, .manifest = *d, .depth = depth, .ok = true};
    struct blob_row row;
    char text[DIGEST_TEXT_MAX];

    if (!rows_get_blob(e->t, d, &row) || !(row.flags & BLOB_MANIFEST))
        return err_set(missing, ERR_NOT_FOUND, "%s is not here as a manifest", digest_format(d, text));
    if (depth > DEPTH_MAX)
        return err_set(missing, ERR_INVALID, "more than %d indexes within one another", (int)DEPTH_MAX);
    if (++e->walked > MANIFEST_WITHIN_MAX) /* the index has no other writer meanwhile */
        return err_set(e->err, ERR_INVALID, "%s:%s has more than %d manifests, in indexes within one another", e->repo,
                       e->tag, (int)MANIFEST_WITHIN_MAX);
    if (!import_own(e, d, &row))
        return false;
    rows_each_child(e->t, d, import_visit, &w);
    if (e->err->code != ERR_OK)
        return false;
    if (manifest_is_index_type(row.media_type) ? w.whole > 0 : w.ok)
        return true;
    *missing = w.missing;
    return false;
}

static bool apply_image(struct index_txn *t, void *arg, struct err *err)
{
    struct entering *e = arg;
    struct err missing = {0};
    struct tag_row row = {.digest = e->digest, .checked_ms = clock_now_ms(), .changed_ms = clock_now_ms()}, old;

    e->t = t;
    e->err = err;
    err->code = ERR_OK;
    if (!rows_intern_repo(t, e->repo, &e->id, err))
        return false;
    /* What is imported is for everybody: it would open what that repository holds. */
    if (rows_repo_is_private(t, e->id))
        return err_set(err, ERR_INVALID, "%s is private here, and an import is for everybody: give it another name",
                       e->repo);
    if (!import_enter_manifest(e, &e->digest, 0, &missing)) {
        if (err->code == ERR_OK)
            *err = missing;
        return false;
    }
    if (rows_get_tag(t, e->id, e->tag, &old) && digest_eq(&old.digest, &row.digest))
        row.changed_ms = old.changed_ms;
    return rows_link(t, e->id, &e->digest, PROOF_BYTES, clock_now_s(), err) &&
           rows_put_tag(t, e->id, e->tag, &row, err) && (!e->pin || rows_pin(t, e->id, e->tag, true, err));
}

struct entering_all {
    const struct import_image *images;
    size_t count, at;
    bool pin;
};

static bool apply_images(struct index_txn *t, void *arg, struct err *err)
{
    struct entering_all *all = arg;

    for (all->at = 0; all->at < all->count; all->at++) {
        const struct import_image *i = &all->images[all->at];
        struct entering e = {.repo = i->repo, .tag = i->tag, .digest = i->digest, .pin = all->pin};
        if (!apply_image(t, &e, err))
            return false;
    }
    return true;
}

bool import_images(struct cache *c, const struct import_image *images, size_t count, bool pin, size_t *failed,
                   struct err *err)
{
    struct entering_all all = {images, count, 0, pin};
    bool ok = index_write_wait(c->index, apply_images, &all, err);

    *failed = MIN(all.at, count - 1);
    if (ok)
        atomic_store(&c->tags_changed, true);
    return ok;
}
