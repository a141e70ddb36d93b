#include "cli/setup/view.h"

#include "base/array.h"
#include "cli/setup/place.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <string.h>

static void file_free(struct setup_file *f)
{
    setup_text_free(&f->disk);
    setup_text_free(&f->base);
    setup_text_free(&f->want);
    free(f->path);
    free(f->conflict);
    free(f);
}

void setup_view_free(struct setup_view *v)
{
    for (size_t i = 0; i < v->count; i++)
        file_free(v->files[i]);
    for (size_t i = 0; i < v->notes_count; i++)
        free(v->notes[i]);
    free(v->files);
    free(v->notes);
    memset(v, 0, sizeof(*v));
}

struct setup_file *setup_view_file(struct setup_view *v, const char *path, struct err *err)
{
    for (size_t i = 0; i < v->count; i++)
        if (strcmp(v->files[i]->path, path) == 0)
            return v->files[i];
    struct setup_file *f = xcalloc(1, sizeof(*f));
    f->path = xstrdup(path);
    f->mode = 0644;
    if (!place_read(v->root, path, &f->disk, err)) {
        file_free(f);
        return NULL;
    }
    setup_text_copy(&f->base, &f->disk);
    setup_text_copy(&f->want, &f->disk);
    *ARRAY_NEXT(v->files, v->count, v->cap) = f;
    v->count++;
    return f;
}

const struct setup_text *setup_view_read(struct setup_view *v, const char *path, struct err *err)
{
    struct setup_file *f = setup_view_file(v, path, err);

    return f ? &f->base : NULL;
}

bool setup_view_write(struct setup_view *v, const char *path, const struct buf *bytes, mode_t mode, struct err *err)
{
    struct setup_file *f = setup_view_file(v, path, err);

    if (!f)
        return false;
    f->want.exists = true;
    buf_clear(&f->want.bytes);
    buf_add(&f->want.bytes, bytes->len ? bytes->data : "", bytes->len);
    f->mode = mode;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool setup_view_list(struct setup_view *v, const char *folder, const char *pattern,
                     bool (*each)(void *arg, struct setup_view *v, const char *path, struct err *err), void *arg,
                     struct err *err)
{
    _cleanup_free_ char *full = place_resolve(v->root, folder, err);
    char **names = NULL;
    size_t count = 0, cap = 0;
    struct dirent *e;
    bool ok = true;
    DIR *dir = full ? opendir(full) : NULL;

    if (!dir)
        return full && (errno == ENOENT || errno == ENOTDIR || err_errno(err, ERR_IO, "reading %s", folder));
    while ((e = readdir(dir)))
        if (fnmatch(pattern, e->d_name, 0) == 0) {
            *ARRAY_NEXT(names, count, cap) = xasprintf("%s/%s", folder, e->d_name);
            count++;
        }
    closedir(dir);
    if (count > 1)
        qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        const struct setup_text *text = ok ? setup_view_read(v, names[i], err) : NULL;
        ok = text && (!text->exists || each(arg, v, names[i], err));
        free(names[i]);
    }
    free(names);
    return ok;
}

bool setup_view_has_content(struct setup_view *v, const char *folder)
{
    _cleanup_free_ char *full = place_resolve(v->root, folder, NULL);
    DIR *dir = full ? opendir(full) : NULL;
    bool found = false;
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, e->d_name);
        bool ours = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || place_is_temporary(e->d_name);
        for (size_t i = 0; i < v->count && !ours; i++)
            ours = strcmp(v->files[i]->path, path) == 0 && !v->files[i]->base.exists;
        found = found || !ours;
    }
    if (dir)
        closedir(dir);
    return found;
}

static void note_add(struct setup_view *v, const char *fmt, va_list ap)
{
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    *ARRAY_NEXT(v->notes, v->notes_count, v->notes_cap) = text;
    v->notes_count++;
}

void setup_note(struct setup_view *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    note_add(v, fmt, ap);
    va_end(ap);
}

void setup_leave(struct setup_view *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    note_add(v, fmt, ap);
    va_end(ap);
    v->left++;
}
