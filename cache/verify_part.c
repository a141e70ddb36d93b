/* Parts at rest, against their bitmaps. What is damaged is dropped: it is fetched again when it is requested. */
#include "cache/verify.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

struct part_check {
    struct cache *cache;
    const struct digest *digest;
    const struct verify_pace *pace;
    int64_t *bytes;
    int64_t done, started_ms; /* bytes that were read, since when (monotonic) */
    struct part_map map;
    int fd;
    struct hasher *hasher; /* NULL: not all of it is here */
};

/* A hole is never written: a byte that a bitmap promises is in none. (A file system that makes holes of zeros, ZFS with
 * compression, makes parts with such look damaged; they are fetched again.) */
static bool has_no_hole(struct part_check *c, int64_t first, int64_t end, struct err *err)
{
    off_t hole = lseek(c->fd, first, SEEK_HOLE);

    if (hole >= end || (hole < 0 && errno == EINVAL)) /* there is no such call */
        return true;
    return err_set(err, ERR_CORRUPT, "its part lacks bytes from %lld on that it should have",
                   (long long)MAX((int64_t)hole, first));
}

static bool part_read_range(struct part_check *c, int64_t first, int64_t end, struct err *err)
{
    _cleanup_free_ char *chunk = xmalloc(CHUNK);

    while (first < end) {
        if (c->pace->stop && c->pace->stop(c->pace->arg))
            return err_set(err, ERR_CANCELLED, "stopped");
        ssize_t n = io_pread(c->fd, chunk, (size_t)MIN(end - first, (int64_t)CHUNK), first);
        if (n <= 0)
            return err_set(err, ERR_CORRUPT, "its part cannot be read at %lld: %s", (long long)first,
                           n < 0 ? strerror(errno) : "it ends there");
        if (c->hasher)
            hasher_update(c->hasher, chunk, (size_t)n);
        first += n;
        *c->bytes += n;
        c->done += n;
        if (c->pace->bytes_per_s > 0) {
            posix_fadvise(c->fd, first - n, n, POSIX_FADV_DONTNEED);
            verify_keep_pace(c->pace, c->done, c->started_ms);
        }
    }
    return true;
}

static bool part_check_digest(struct part_check *c, struct err *err)
{
    char got[DIGEST_TEXT_MAX];
    struct digest seen;

    hasher_final(c->hasher, &seen);
    return digest_eq(&seen, c->digest) || err_set(err, ERR_CORRUPT, "its part has all %lld bytes, which hash to %s",
                                                  (long long)c->map.size, digest_format(&seen, got));
}

static bool check_part(struct part_check *c, struct err *err)
{
    int64_t first, end = 0;

    while (part_map_next(&c->map, end, &first, &end)) {
        if (first == 0 && end == c->map.size)
            c->hasher = hasher_new(c->digest->alg);
        if (!has_no_hole(c, first, end, err) || !part_read_range(c, first, end, err))
            return false;
    }
    return !c->hasher || part_check_digest(c, err);
}

/* Whether what was looked at is still what there is. */
static bool is_unchanged(const struct part_check *c)
{
    struct part_map now;
    bool same = ingests_map_part(c->cache->ingests, c->digest, &now);

    if (!same)
        return false;
    same = part_map_eq(&now, &c->map);
    part_map_clear(&now);
    return same;
}

static enum verified verify_part(struct part_check *c, struct err *err)
{
    struct err why = {0}, failed = {0};
    char text[DIGEST_TEXT_MAX];

    c->fd = store_open_part(c->cache->store, c->digest, false, &why);
    if (c->fd < 0 && why.code != ERR_NOT_FOUND) {
        *err = why;
        return VERIFIED_FAILED;
    }
    bool ok =
        c->fd < 0 ? err_set(&why, ERR_NOT_FOUND, "its part is in the index and not on disk") : check_part(c, &why);
    if (ok)
        return VERIFIED_GOOD;
    *err = why;
    if (why.code == ERR_CANCELLED)
        return VERIFIED_FAILED;
    if (!is_unchanged(c))
        return VERIFIED_GOOD; /* it was taken up, or dropped, since */
    log_error("the part of %s is damaged (%s): it is dropped", digest_format(c->digest, text), why.msg);
    if (!ingests_forget(c->cache->ingests, c->digest, &failed)) {
        *err = failed;
        return VERIFIED_FAILED;
    }
    return why.code == ERR_NOT_FOUND ? VERIFIED_MISSING : VERIFIED_CORRUPT;
}

enum verified cache_verify_part(struct cache *cache, const struct digest *d, const struct verify_pace *pace,
                                int64_t *bytes, struct err *err)
{
    struct part_check c = {
        .cache = cache, .digest = d, .pace = pace, .bytes = bytes, .started_ms = clock_mono_ms(), .fd = -1};

    OFF_LOOPS;
    if (!ingests_map_part(cache->ingests, d, &c.map))
        return VERIFIED_GOOD;
    leases_take(cache->leases, d);
    enum verified v = verify_part(&c, err);
    leases_release(cache->leases, d);
    if (c.fd >= 0)
        close(c.fd);
    hasher_free(c.hasher);
    part_map_clear(&c.map);
    return v;
}
