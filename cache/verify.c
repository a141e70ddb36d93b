#include "cache/verify.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/import.h"
#include "cache/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum { CHUNK = 1 << 20, NAP_MS = 200 };

struct file_check {
    struct cache *cache;
    struct digest digest;
    struct file_info info;
    /* of a file that no entry knows: what it is */
    struct blob_row row;
    struct child *children;
    size_t count;
    enum verified result;
};

/* ---- hashing ---- */

void verify_keep_pace(const struct verify_pace *pace, int64_t done, int64_t started_ms)
{
    int64_t due_ms = started_ms + done * 1000 / pace->bytes_per_s, ahead;

    /* In short naps, so that it can be stopped soon. */
    while ((ahead = due_ms - clock_mono_ms()) > 0 && !(pace->stop && pace->stop(pace->arg)))
        nanosleep(&(struct timespec){.tv_nsec = MIN(ahead, (int64_t)NAP_MS) * 1000000L}, NULL);
}

/* `head`, if not NULL, gets the content: of files that may be manifests. */
static bool hash_file(int fd, const struct verify_pace *pace, struct hasher *h, struct buf *head, int64_t *bytes,
                      struct err *err)
{
    int64_t started_ms = clock_mono_ms(), at = 0;
    _cleanup_free_ char *chunk = xmalloc(CHUNK);

    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (;;) {
        if (pace && pace->stop && pace->stop(pace->arg))
            return err_set(err, ERR_CANCELLED, "stopped");
        ssize_t n = io_pread(fd, chunk, CHUNK, at);
        if (n < 0)
            return err_errno(err, ERR_IO, "reading it");
        if (n == 0)
            break;
        hasher_update(h, chunk, (size_t)n);
        if (head)
            buf_add(head, chunk, (size_t)n);
        at += n;
        if (bytes)
            *bytes += n;
        if (pace && pace->bytes_per_s > 0) {
            posix_fadvise(fd, at - n, n, POSIX_FADV_DONTNEED);
            verify_keep_pace(pace, at, started_ms);
        }
    }
    return true;
}

/* ---- what comes of it ---- */

/* A file without an entry may be a manifest: then it holds others. */
static void recognise(struct file_check *c, const struct buf *head)
{
    struct manifest m = {0};

    c->row = (struct blob_row){.size = c->info.size, .created = clock_now_s(), .used = clock_now_s()};
    c->row.ctime_ns = c->info.ctime_ns;
    c->row.flags = c->info.is_private ? BLOB_PRIVATE : 0;
    if (head->len > 0 && head->data[0] == '{' && manifest_parse(&m, head->data, head->len, NULL) &&
        manifest_is_likely(&m)) {
        c->row.flags |= BLOB_MANIFEST;
        snprintf(c->row.media_type, sizeof(c->row.media_type), "%s",
                 m.media_type[0]            ? m.media_type
                 : m.kind == MANIFEST_INDEX ? "application/vnd.oci.image.index.v1+json"
                                            : "application/vnd.oci.image.manifest.v1+json");
        c->children = manifest_children(&m);
        c->count = m.count;
    }
    manifest_free(&m);
}

static bool apply_good(struct index_txn *t, void *arg, struct err *err)
{
    struct file_check *c = arg;
    struct blob_row row;

    c->result = VERIFIED_GOOD;
    if (rows_get_blob(t, &c->digest, &row) && row.size == c->info.size)
        return rows_verified_blob(t, &c->digest, c->info.ctime_ns, err);
    c->result = VERIFIED_ADOPTED;
    if (!rows_put_manifest(t, &c->digest, &c->row, c->children, c->count, err))
        return false;
    return rows_drop_ingest(t, &c->digest, err);
}

static bool apply_bad(struct index_txn *t, void *arg, struct err *err)
{
    struct file_check *c = arg;
    struct blob_row row;

    /* Evicted since it was listed: nothing is missing. */
    if (c->result == VERIFIED_MISSING && !rows_get_blob(t, &c->digest, &row))
        c->result = VERIFIED_GOOD;
    return cache_drop_lost(c->cache, t, &c->digest, err);
}

static enum verified verify_conclude(struct file_check *c,
                                     bool (*apply)(struct index_txn *t, void *arg, struct err *err),
                                     enum verified result, struct err *err)
{
    c->result = result;
    return index_write_wait(c->cache->index, apply, c, err) ? c->result : VERIFIED_FAILED;
}

static enum verified verify_corrupt(struct file_check *c, const struct err *why, struct err *err)
{
    char text[DIGEST_TEXT_MAX];

    log_error("%s is damaged on disk (%s): moved to quarantine/, it will be fetched again",
              digest_format(&c->digest, text), why->msg);
    memory_drop(c->cache->memory, &c->digest);
    if (!store_quarantine_blob(c->cache->store, &c->digest, c->info.inode, err) ||
        verify_conclude(c, apply_bad, VERIFIED_CORRUPT, err) == VERIFIED_FAILED)
        return VERIFIED_FAILED;
    if (err)
        *err = *why;
    return VERIFIED_CORRUPT;
}

static enum verified verify_file(struct file_check *c, const struct verify_pace *pace, int64_t *bytes, struct err *err)
{
    struct err why = {0};
    _cleanup_buf_ struct buf head = {0};
    struct digest seen;
    _cleanup_close_ int fd = store_open_blob(c->cache->store, &c->digest, &c->info, &why);

    if (fd < 0 && why.code == ERR_NOT_FOUND)
        return verify_conclude(c, apply_bad, VERIFIED_MISSING, err);
    struct hasher *h = hasher_new(c->digest.alg);
    bool ok = fd >= 0 && hash_file(fd, pace, h, c->info.size <= MANIFEST_SIZE_MAX ? &head : NULL, bytes, &why);
    hasher_final(h, &seen);
    hasher_free(h);
    if (!ok && why.code != ERR_IO) {
        if (err)
            *err = why;
        return VERIFIED_FAILED;
    }
    if (ok && !digest_eq(&seen, &c->digest))
        ok = err_set(&why, ERR_CORRUPT, "%lld bytes that do not match the digest", (long long)c->info.size);
    if (!ok)
        return verify_corrupt(c, &why, err);
    if (cache_look(c->cache, &c->digest) == FILE_KNOWN)
        return VERIFIED_GOOD; /* nothing to write */
    recognise(c, &head);
    return verify_conclude(c, apply_good, VERIFIED_GOOD, err);
}

/* The open file is the digest's. */
static bool verify_import(struct file_check *c, int fd, const struct verify_pace *pace, struct err *err)
{
    char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];
    _cleanup_buf_ struct buf head = {0};
    struct digest seen;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, "reading what is imported");
    struct hasher *h = hasher_new(c->digest.alg);
    bool ok = hash_file(fd, pace, h, st.st_size <= MANIFEST_SIZE_MAX ? &head : NULL, NULL, err);
    hasher_final(h, &seen);
    hasher_free(h);
    if (!ok)
        return false;
    if (!digest_eq(&seen, &c->digest)) {
        store_remove_import(c->cache->store, &c->digest, NULL);
        return err_set(err, ERR_DIGEST, "%lld bytes that hash to %s were to be imported as %s", (long long)st.st_size,
                       digest_format(&seen, got), digest_format(&c->digest, want));
    }
    if (!store_publish_import(c->cache->store, &c->digest, fd, &c->info, err))
        return false;
    recognise(c, &head);
    return verify_conclude(c, apply_good, VERIFIED_GOOD, err) != VERIFIED_FAILED;
}

bool cache_adopt_import(struct cache *cache, const struct digest *d, const struct verify_pace *pace, struct err *err)
{
    struct file_check c = {.cache = cache, .digest = *d};
    _cleanup_close_ int fd = store_open_import(cache->store, d, false, err);

    OFF_LOOPS;
    if (fd < 0 || !import_lock(fd, err))
        return false;
    leases_take(cache->leases, d);
    bool ok = verify_import(&c, fd, pace, err);
    leases_release(cache->leases, d);
    free(c.children);
    return ok;
}

struct entering_pieces {
    struct file_check *checks;
    size_t count;
};

static bool apply_pieces(struct index_txn *t, void *arg, struct err *err)
{
    const struct entering_pieces *e = arg;

    for (size_t i = 0; i < e->count; i++)
        if (!apply_good(t, &e->checks[i], err))
            return false;
    return true;
}

bool cache_enter_pieces(struct cache *cache, const struct store_piece *list, size_t count, struct err *err)
{
    struct entering_pieces e = {xcalloc(count, sizeof(*e.checks)), count};

    OFF_LOOPS;
    for (size_t i = 0; i < count; i++) {
        const struct buf text = {.data = (char *)list[i].data, .len = list[i].len};
        e.checks[i] = (struct file_check){.cache = cache, .digest = list[i].digest, .info = list[i].info};
        recognise(&e.checks[i], &text);
    }
    bool ok = index_write_wait(cache->index, apply_pieces, &e, err);
    for (size_t i = 0; i < count; i++)
        free(e.checks[i].children);
    free(e.checks);
    return ok;
}

enum verified cache_verify(struct cache *cache, const struct digest *d, const struct verify_pace *pace, int64_t *bytes,
                           struct err *err)
{
    struct file_check c = {.cache = cache, .digest = *d};

    OFF_LOOPS;
    leases_take(cache->leases, d);
    enum verified v = verify_file(&c, pace, bytes, err);
    leases_release(cache->leases, d);
    free(c.children);
    return v;
}
