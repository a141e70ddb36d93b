/* Blobs of the cache, for the writers: from the cache's folder where this process may read it, else from the daemon. */
#include "cli/archive/export.h"

#include "base/io.h"

#include <fcntl.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

int export_open_blob(const struct export_job *job, const struct export_entry *m)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *path =
        xasprintf("%s/blobs/%s/%s", job->cache, digest_alg_name(&m->digest), digest_hex(&m->digest, hex));

    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

bool export_write(int fd, const void *data, size_t len, struct err *err)
{
    return io_write(fd, data, len) || err_errno(err, ERR_IO, "writing");
}

bool export_is_blob(int fd, const struct export_entry *m)
{
    struct hasher *h = hasher_new(m->digest.alg);
    _cleanup_free_ char *piece = xmalloc(PIECE);
    struct digest seen;
    int64_t at = 0;
    ssize_t n;

    while ((n = io_pread(fd, piece, PIECE, at)) > 0) {
        hasher_update(h, piece, (size_t)n);
        at += n;
    }
    hasher_final(h, &seen);
    hasher_free(h);
    return n == 0 && at == m->size && digest_eq(&seen, &m->digest);
}

struct export_reader {
    const struct export_entry *m;
    struct hasher *hasher;
    int64_t received;
    bool (*take)(void *arg, const void *data, size_t len, struct err *err);
    void *arg;
    struct err *err;
};

static bool export_take_piece(void *arg, const void *data, size_t len)
{
    struct export_reader *r = arg;

    r->received += (int64_t)len;
    if (r->received > r->m->size)
        return err_set(r->err, ERR_DIGEST, "%s is larger than its size", r->m->name);
    hasher_update(r->hasher, data, len);
    return r->take(r->arg, data, len, r->err);
}

static bool export_read_file(struct export_reader *r, int fd)
{
    _cleanup_free_ char *piece = xmalloc(PIECE);
    ssize_t n;

    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while ((n = io_read(fd, piece, PIECE)) != 0) {
        if (n < 0)
            return err_errno(r->err, ERR_IO, "reading %s", r->m->name);
        if (!export_take_piece(r, piece, (size_t)n))
            return false;
    }
    return true;
}

bool export_read_blob(const struct export_job *job, const struct export_entry *m,
                      bool (*take)(void *arg, const void *data, size_t len, struct err *err), void *arg,
                      struct err *err)
{
    struct export_reader r = {m, hasher_new(m->digest.alg), 0, take, arg, err};
    char text[DIGEST_TEXT_MAX];
    struct digest seen;
    _cleanup_free_ char *path = xasprintf("/v1/blobs/%s", digest_format(&m->digest, text));
    _cleanup_close_ int fd = export_open_blob(job, m);
    bool ok = fd >= 0 ? export_read_file(&r, fd) : cli_fetch(job->options, path, export_take_piece, &r, err);

    hasher_final(r.hasher, &seen);
    hasher_free(r.hasher);
    if (ok && (r.received != m->size || !digest_eq(&seen, &m->digest)))
        return err_set(err, ERR_DIGEST, "%s is damaged in the cache: run entrepot verify --repair", text);
    return ok;
}
