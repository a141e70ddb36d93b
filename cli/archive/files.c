/* The list of an archive's files, and what is kept of the content of each: its digest, the text of a document, the
 * first bytes. */
#include "cli/archive/private.h"

#include "base/array.h"

#include <string.h>
#include <unistd.h>

enum { LINKS_MAX = 8 };

void archive_files_free(struct archive_files *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->list[i].name);
        free(a->list[i].target);
        free(a->list[i].text);
    }
    free(a->list);
    key_map_free(&a->names);
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

const char *archive_plain_name(const char *name)
{
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    return name;
}

struct archive_file *archive_find_exact(const struct archive_files *a, const char *name)
{
    int64_t at = key_map_find(&a->names, name, strlen(name));

    return at >= 0 ? &a->list[at] : NULL;
}

const struct archive_file *archive_find(const struct archive_files *a, const char *name)
{
    const struct archive_file *f = archive_find_exact(a, archive_plain_name(name));

    for (int i = 0; f && f->target && i < LINKS_MAX; i++)
        f = archive_find_exact(a, f->target);
    return f && !f->target ? f : NULL;
}

struct archive_file *archive_add(struct archive_files *a, const char *name, int64_t size, struct err *err)
{
    if (a->count == ARCHIVE_FILES_MAX) {
        err_set(err, ERR_TOO_LARGE, "%s has more than %d files", a->path, (int)ARCHIVE_FILES_MAX);
        return NULL;
    }
    struct archive_file *f = ARRAY_NEXT(a->list, a->count, a->cap);
    *f = (struct archive_file){.name = xstrdup(archive_plain_name(name)), .size = size};
    key_map_add(&a->names, f->name, strlen(f->name),
                (int64_t)a->count++); /* of two files of one name, the first counts */
    return f;
}

void archive_take_content(struct archive_content *c, const void *data, size_t len)
{
    if (c->hasher)
        hasher_update(c->hasher, data, len);
    for (size_t i = 0; i < len && c->head.len + i < sizeof(c->f->magic); i++)
        c->f->magic[c->head.len + i] = ((const uint8_t *)data)[i];
    if (c->may_be_text || c->head.len < sizeof(c->f->magic))
        buf_add(&c->head, data, c->may_be_text ? len : MIN(len, sizeof(c->f->magic)));
    /* A document begins with a brace, or with a bracket (docker's manifest.json). */
    c->may_be_text = c->may_be_text && c->head.len > 0 && strchr("{[", c->head.data[0]) && c->head.data[0];
}

bool archive_end_content(struct archive_content *c, struct err *err)
{
    if (c->may_be_text && c->head.len > 0) {
        c->all->texts += c->head.len;
        if (c->all->texts > ARCHIVE_TEXTS_MAX)
            return err_set(err, ERR_TOO_LARGE, "%s: its documents exceed %d MiB", c->all->path,
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
