/* A tar archive, compressed or not, read by libarchive. */
#include "cli/archive/private.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

enum { PIECE = 1 << 20 };

/* The target of a symlink: "../abc/layer.tar" in "def/layer.tar" is "abc/layer.tar". */
static char *tar_resolve_link(const char *name, const char *target)
{
    const char *slash = strrchr(name, '/');
    size_t folder = slash ? (size_t)(slash - name) : 0;

    target = archive_plain_name(target);
    while (strncmp(target, "../", 3) == 0) {
        while (folder > 0 && name[folder - 1] != '/')
            folder--;
        folder -= folder > 0;
        target += 3;
    }
    return folder > 0 ? xasprintf("%.*s/%s", (int)folder, name, target) : xstrdup(target);
}

static void tar_refuse(struct archive *in, const char *path, struct err *err)
{
    err_set(err, ERR_INVALID, "%s cannot be read as a tar archive: %s", path, archive_error_string(in));
}

static struct archive *tar_open(struct archive_files *a, struct err *err)
{
    struct archive *in = archive_read_new();

    archive_read_support_format_tar(in);
    archive_read_support_filter_gzip(in);
    archive_read_support_filter_zstd(in);
    archive_read_support_filter_xz(in);
    archive_read_support_filter_bzip2(in);
    archive_read_support_filter_lz4(in);
    int rc = a->pipe >= 0 ? archive_read_open(in, a, NULL, archive_read_pipe, NULL)
                          : archive_read_open_filename(in, a->opened ? a->opened : a->path, PIECE);
    if (rc == ARCHIVE_OK)
        return in;
    tar_refuse(in, a->path, err);
    archive_read_free(in);
    return NULL;
}

static bool tar_next_entry(struct archive *in, const char *path, struct archive_entry **e, struct err *err)
{
    int rc = archive_read_next_header(in, e);

    if (rc == ARCHIVE_OK || rc == ARCHIVE_WARN)
        return true;
    if (rc != ARCHIVE_EOF)
        tar_refuse(in, path, err);
    return false;
}

/* Reads an entry once for both its digest and the digest of its decompressed content. */
struct tar_feed {
    struct archive *in;
    struct archive_content *c;
    char *piece;
    size_t room;        /* bytes that `piece` has room for */
    la_ssize_t pending; /* bytes of `piece` that the decompressor has not read */
    bool bad;
};

/* Most files of some archives are tiny. */
static size_t tar_piece_size(const struct archive_file *f)
{
    return (size_t)MIN(MAX(f->size, (int64_t)4096), (int64_t)PIECE);
}

static la_ssize_t tar_next_piece(struct tar_feed *f)
{
    la_ssize_t n = archive_read_data(f->in, f->piece, f->room);

    f->bad = f->bad || n < 0;
    if (n > 0)
        archive_take_content(f->c, f->piece, (size_t)n);
    return n;
}

static la_ssize_t tar_read_pending(struct archive *unpacker UNUSED, void *arg, const void **out)
{
    struct tar_feed *f = arg;
    la_ssize_t n = f->pending ? f->pending : tar_next_piece(f);

    f->pending = 0;
    *out = f->piece;
    return n;
}

/* Hashes the decompressed content; false: it cannot be decompressed. */
static bool tar_decompress(struct tar_feed *f, struct digest *diff_id)
{
    struct archive *u = archive_read_new();
    struct archive_entry *e;
    struct hasher *h = hasher_new(DIGEST_SHA256);
    _cleanup_free_ char *piece = xmalloc(PIECE);
    la_ssize_t n = -1;

    archive_read_support_filter_gzip(u);
    archive_read_support_filter_zstd(u);
    archive_read_support_format_raw(u);
    archive_read_support_format_empty(u);
    if (archive_read_open(u, f, NULL, tar_read_pending, NULL) == ARCHIVE_OK) {
        int rc = archive_read_next_header(u, &e);
        n = rc == ARCHIVE_EOF ? 0 : rc == ARCHIVE_OK ? 1 : -1;
        while (n > 0 && (n = archive_read_data(u, piece, PIECE)) > 0)
            hasher_update(h, piece, (size_t)n);
    }
    archive_read_free(u);
    hasher_final(h, diff_id);
    hasher_free(h);
    while (tar_next_piece(f) > 0) /* what follows the compressed data belongs to the file, too */
        ;
    return n == 0;
}

/* Reads a whole entry: digest, text, digest of the decompressed content. */
static bool tar_read_entry(struct tar_feed *f, struct err *err)
{
    struct archive_file *file = f->c->f;
    la_ssize_t n = tar_next_piece(f);
    bool packed = n > 0 && f->c->hasher && *archive_packing(file), ok = true;

    f->pending = n;
    if (packed)
        ok = tar_decompress(f, &file->diff_id);
    while (!packed && n > 0)
        n = tar_next_piece(f);
    if (f->bad)
        return err_set(err, ERR_INVALID, "%s: %s: %s", f->c->all->path, file->name, archive_error_string(f->in));
    if (!ok)
        return err_set(err, ERR_INVALID, "%s: %s is compressed and cannot be decompressed", f->c->all->path,
                       file->name);
    ok = archive_end_content(f->c, err);
    if (!packed)
        file->diff_id = file->digest;
    return ok;
}

static bool tar_list_entry(struct archive_files *a, struct archive *in, struct archive_entry *e, struct err *err)
{
    const char *name = archive_entry_pathname(e), *symlink = archive_entry_symlink(e),
               *hardlink = archive_entry_hardlink(e);
    struct digest d;

    if (!name || (!symlink && !hardlink && archive_entry_filetype(e) != AE_IFREG))
        return true;
    struct archive_file *f = archive_add(a, name, archive_entry_size(e), err);
    if (!f)
        return false;
    if (a->pipe >= 0 && archive_filter_code(in, 0) == ARCHIVE_FILTER_NONE && !archive_has_space(a, f->size, err))
        return false;
    if (symlink || hardlink) {
        f->target = hardlink ? xstrdup(archive_plain_name(hardlink)) : tar_resolve_link(f->name, symlink);
        return true;
    }
    struct archive_content c = {.all = a, .f = f, .may_be_text = f->size <= ARCHIVE_TEXT_MAX};
    c.hasher = archive_blob_digest(f->name, &d) ? NULL : hasher_new(DIGEST_SHA256);
    size_t room = tar_piece_size(f);
    _cleanup_free_ char *piece = xmalloc(room);
    struct tar_feed from = {.in = in, .c = &c, .piece = piece, .room = room};
    bool ok = tar_read_entry(&from, err);
    if (c.hasher)
        hasher_free(c.hasher);
    buf_free(&c.head);
    return ok;
}

bool archive_list_tar(struct archive_files *a, struct err *err)
{
    struct archive *in = tar_open(a, err);
    struct archive_entry *e;
    bool ok = in != NULL;

    err->code = ok ? ERR_OK : err->code;
    while (ok && tar_next_entry(in, a->path, &e, err))
        ok = tar_list_entry(a, in, e, err);
    if (in)
        archive_read_free(in);
    return ok && err->code == ERR_OK;
}

static bool tar_pass_on(struct archive *in, const struct archive_file *f, const struct archive_visit *v,
                        struct err *err)
{
    size_t room = tar_piece_size(f);
    _cleanup_free_ char *piece = xmalloc(room);
    la_ssize_t n;

    while ((n = archive_read_data(in, piece, room)) > 0)
        if (!v->data(v->arg, piece, (size_t)n, err))
            return false;
    return n == 0 ? v->end(v->arg, err) : err_set(err, ERR_INVALID, "%s: %s", f->name, archive_error_string(in));
}

bool archive_read_tar(struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    struct archive *in = tar_open(a, err);
    struct archive_entry *e;
    bool ok = in != NULL;

    err->code = ok ? ERR_OK : err->code;
    while (ok && tar_next_entry(in, a->path, &e, err)) {
        const char *name = archive_entry_pathname(e);
        const struct archive_file *f = name ? archive_find_exact(a, archive_plain_name(name)) : NULL;
        bool wanted = false;
        if (!f || f->target || archive_entry_filetype(e) != AE_IFREG)
            continue;
        ok = v->begin(v->arg, f, &wanted, err) && (!wanted || tar_pass_on(in, f, v, err));
    }
    if (in)
        archive_read_free(in);
    return ok && err->code == ERR_OK;
}
