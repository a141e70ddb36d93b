#include "cli/archive/private.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20, LINKS_MAX = 8 };

void archive_files_free(struct archive_files *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->list[i].name);
        free(a->list[i].target);
        free(a->list[i].text);
    }
    free(a->list);
    places_free(&a->names);
    free(a->opened);
    free(a->piece);
    if (a->path && a->fd >= 0)
        close(a->fd);
    if (a->path && a->pipe >= 0)
        close(a->pipe);
    memset(a, 0, sizeof(*a));
}

bool archive_blob_digest(const char *name, struct digest *d)
{
    char text[DIGEST_TEXT_MAX + 1];
    const char *slash = strncmp(name, "blobs/", 6) == 0 ? strchr(name + 6, '/') : NULL;

    if (!slash || strchr(slash + 1, '/'))
        return false;
    int n = snprintf(text, sizeof(text), "%.*s:%s", (int)(slash - name - 6), name + 6, slash + 1);
    return n < (int)sizeof(text) && digest_parse(d, text, (size_t)n);
}

static const char *plain(const char *name)
{
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    return name;
}

static struct archive_file *find_exact(const struct archive_files *a, const char *name)
{
    int64_t at = places_find(&a->names, name, strlen(name));

    return at >= 0 ? &a->list[at] : NULL;
}

const struct archive_file *archive_find(const struct archive_files *a, const char *name)
{
    const struct archive_file *f = find_exact(a, plain(name));

    for (int i = 0; f && f->target && i < LINKS_MAX; i++)
        f = find_exact(a, f->target);
    return f && !f->target ? f : NULL;
}

struct archive_file *archive_add(struct archive_files *a, const char *name, int64_t size, struct err *err)
{
    if (a->count == ARCHIVE_FILES_MAX) {
        err_set(err, ERR_TOO_LARGE, "%s has more than %d files", a->path, (int)ARCHIVE_FILES_MAX);
        return NULL;
    }
    if (a->count == a->room) {
        a->room = a->room ? 2 * a->room : 64;
        a->list = xrealloc(a->list, a->room * sizeof(*a->list));
    }
    struct archive_file *f = &a->list[a->count++];
    memset(f, 0, sizeof(*f));
    f->name = xstrdup(plain(name));
    f->size = size;
    places_add(&a->names, f->name, strlen(f->name), f - a->list); /* of two files of one name the first */
    return f;
}

/* "../abc/layer.tar", seen from "def/layer.tar", is "abc/layer.tar". */
static char *resolve(const char *name, const char *target)
{
    const char *slash = strrchr(name, '/');
    size_t folder = slash ? (size_t)(slash - name) : 0;

    target = plain(target);
    while (strncmp(target, "../", 3) == 0) {
        while (folder > 0 && name[folder - 1] != '/')
            folder--;
        folder -= folder > 0;
        target += 3;
    }
    return folder > 0 ? xasprintf("%.*s/%s", (int)folder, name, target) : xstrdup(target);
}

/* ---- a tar archive ---- */

static struct archive *open_tar(struct archive_files *a, struct err *err)
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
    err_set(err, ERR_INVALID, "%s: %s", a->path, archive_error_string(in));
    archive_read_free(in);
    return NULL;
}

static bool next_entry(struct archive *in, const char *path, struct archive_entry **e, struct err *err)
{
    int rc = archive_read_next_header(in, e);

    if (rc == ARCHIVE_OK || rc == ARCHIVE_WARN)
        return true;
    if (rc != ARCHIVE_EOF)
        err_set(err, ERR_INVALID, "%s: %s", path, archive_error_string(in));
    return false;
}

void archive_take_content(struct archive_content *c, const void *data, size_t len)
{
    if (c->hasher)
        hasher_update(c->hasher, data, len);
    for (size_t i = 0; i < len && c->head.len + i < sizeof(c->f->magic); i++)
        c->f->magic[c->head.len + i] = ((const uint8_t *)data)[i];
    if (c->may_be_text || c->head.len < sizeof(c->f->magic))
        buf_add(&c->head, data, c->may_be_text ? len : MIN(len, sizeof(c->f->magic)));
    /* A document begins with a brace, or the bracket of docker's manifest.json. */
    c->may_be_text = c->may_be_text && c->head.len > 0 && strchr("{[", c->head.data[0]) && c->head.data[0];
}

bool archive_end_content(struct archive_content *c, struct err *err)
{
    if (c->may_be_text && c->head.len > 0) {
        c->all->texts += c->head.len;
        if (c->all->texts > ARCHIVE_TEXTS_MAX)
            return err_set(err, ERR_TOO_LARGE, "%s has documents of more than %d MiB", c->all->path,
                           (int)(ARCHIVE_TEXTS_MAX >> 20));
        c->f->text = xstrndup(c->head.data, c->head.len);
    }
    if (c->hasher)
        hasher_final(c->hasher, &c->f->digest);
    return true;
}

const char *archive_packing(const struct archive_file *f)
{
    if (f->magic[0] == 0x1f && f->magic[1] == 0x8b)
        return "+gzip";
    return memcmp(f->magic, "\x28\xb5\x2f\xfd", 4) == 0 ? "+zstd" : "";
}

/* Where an entry's bytes come from: for its own digest, and to be unpacked. */
struct feed {
    struct archive *in;
    struct archive_content *c;
    char *piece;
    la_ssize_t pending; /* bytes of it that the unpacker has not seen */
    bool bad;
};

static la_ssize_t next_piece(struct feed *f)
{
    la_ssize_t n = archive_read_data(f->in, f->piece, PIECE);

    f->bad = f->bad || n < 0;
    if (n > 0)
        archive_take_content(f->c, f->piece, (size_t)n);
    return n;
}

static la_ssize_t feed(struct archive *unpacker UNUSED, void *arg, const void **out)
{
    struct feed *f = arg;
    la_ssize_t n = f->pending ? f->pending : next_piece(f);

    f->pending = 0;
    *out = f->piece;
    return n;
}

/* Hashes what it is unpacked; false if it cannot be. */
static bool unpack(struct feed *f, struct digest *diff_id)
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
    if (archive_read_open(u, f, NULL, feed, NULL) == ARCHIVE_OK) {
        int rc = archive_read_next_header(u, &e);
        n = rc == ARCHIVE_EOF ? 0 : rc == ARCHIVE_OK ? 1 : -1;
        while (n > 0 && (n = archive_read_data(u, piece, PIECE)) > 0)
            hasher_update(h, piece, (size_t)n);
    }
    archive_read_free(u);
    hasher_final(h, diff_id);
    hasher_free(h);
    while (next_piece(f) > 0) /* what is behind the packed part belongs to the file all the same */
        ;
    return n == 0;
}

/* All of an entry: its digest, its text, what it is unpacked. */
static bool look_at(struct feed *f, struct err *err)
{
    struct archive_file *file = f->c->f;
    la_ssize_t n = next_piece(f);
    bool packed = n > 0 && f->c->hasher && *archive_packing(file), ok = true;

    f->pending = n;
    if (packed)
        ok = unpack(f, &file->diff_id);
    while (!packed && n > 0)
        n = next_piece(f);
    if (f->bad)
        return err_set(err, ERR_INVALID, "%s: %s: %s", f->c->all->path, file->name, archive_error_string(f->in));
    if (!ok)
        return err_set(err, ERR_INVALID, "%s: %s is compressed and cannot be unpacked", f->c->all->path, file->name);
    ok = archive_end_content(f->c, err);
    if (!packed)
        file->diff_id = file->digest;
    return ok;
}

static bool list_entry(struct archive_files *a, struct archive *in, struct archive_entry *e, struct err *err)
{
    const char *name = archive_entry_pathname(e), *symlink = archive_entry_symlink(e),
               *hardlink = archive_entry_hardlink(e);
    struct digest d;

    if (!name || (!symlink && !hardlink && archive_entry_filetype(e) != AE_IFREG))
        return true;
    struct archive_file *f = archive_add(a, name, archive_entry_size(e), err);
    if (!f)
        return false;
    if (a->pipe >= 0 && archive_filter_code(in, 0) == ARCHIVE_FILTER_NONE && !archive_has_room(a, f->size, err))
        return false;
    if (symlink || hardlink) {
        f->target = hardlink ? xstrdup(plain(hardlink)) : resolve(f->name, symlink);
        return true;
    }
    struct archive_content c = {.all = a, .f = f, .may_be_text = f->size <= ARCHIVE_TEXT_MAX};
    c.hasher = archive_blob_digest(f->name, &d) ? NULL : hasher_new(DIGEST_SHA256);
    _cleanup_free_ char *piece = xmalloc(PIECE);
    struct feed from = {.in = in, .c = &c, .piece = piece};
    bool ok = look_at(&from, err);
    if (c.hasher)
        hasher_free(c.hasher);
    buf_free(&c.head);
    return ok;
}

static bool list_tar(struct archive_files *a, struct err *err)
{
    struct archive *in = open_tar(a, err);
    struct archive_entry *e;
    bool ok = in != NULL;

    err->code = ok ? ERR_OK : err->code;
    while (ok && next_entry(in, a->path, &e, err))
        ok = list_entry(a, in, e, err);
    if (in)
        archive_read_free(in);
    return ok && err->code == ERR_OK;
}

static bool pass_on(struct archive *in, const struct archive_file *f, const struct archive_visit *v, struct err *err)
{
    _cleanup_free_ char *piece = xmalloc(PIECE);
    la_ssize_t n;

    while ((n = archive_read_data(in, piece, PIECE)) > 0)
        if (!v->data(v->arg, piece, (size_t)n, err))
            return false;
    return n == 0 ? v->end(v->arg, err) : err_set(err, ERR_INVALID, "%s: %s", f->name, archive_error_string(in));
}

static bool read_tar(struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    struct archive *in = open_tar(a, err);
    struct archive_entry *e;
    bool ok = in != NULL;

    err->code = ok ? ERR_OK : err->code;
    while (ok && next_entry(in, a->path, &e, err)) {
        const char *name = archive_entry_pathname(e);
        const struct archive_file *f = name ? find_exact(a, plain(name)) : NULL;
        bool wanted = false;
        if (!f || f->target || archive_entry_filetype(e) != AE_IFREG)
            continue;
        ok = v->begin(v->arg, f, &wanted, err) && (!wanted || pass_on(in, f, v, err));
    }
    if (in)
        archive_read_free(in);
    return ok && err->code == ERR_OK;
}

/* Something to be read that is no folder: as it is, or what came out of it. */
static bool open_file(struct archive_files *a, bool is_stdin, const struct stat *st, struct err *err)
{
    if (S_ISREG(st->st_mode) && !is_stdin)
        return true;
    int from = is_stdin ? dup(STDIN_FILENO) : open(a->path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return err_errno(err, ERR_IO, "reading %s", a->path);
    if (S_ISREG(st->st_mode))
        a->fd = from;
    else if (!archive_open_pipe(a, from, err))
        return false;
    a->opened = xasprintf("/proc/self/fd/%d", a->fd);
    return true;
}

/* ---- all of them ---- */

bool archive_list(struct archive_files *a, const char *path, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    struct stat st;

    memset(a, 0, sizeof(*a));
    a->path = path;
    a->fd = a->pipe = -1;
    if (is_stdin && isatty(STDIN_FILENO))
        return err_set(err, ERR_INVALID, "stdin is a terminal: there is no archive to be read");
    if (is_stdin ? fstat(STDIN_FILENO, &st) != 0 : stat(path, &st) != 0)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "reading %s", path);
    a->is_folder = S_ISDIR(st.st_mode);
    if (a->is_folder)
        return archive_list_folder(a, err);
    if (!open_file(a, is_stdin, &st, err))
        return false;
    bool ok = list_tar(a, err);
    if (ok && a->pipe >= 0)
        archive_end_pipe(a);
    return ok;
}

bool archive_read(struct archive_files *a, const struct archive_visit *v, struct err *err)
{
    return a->is_folder ? archive_read_folder(a, v, err) : read_tar(a, v, err);
}
