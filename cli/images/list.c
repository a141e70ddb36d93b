/* The list of references, and list files. */
#include "cli/images/private.h"

#include "base/array.h"
#include "base/ref.h"

#include <errno.h>
#include <string.h>

void image_list_free(struct image_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->references[i]);
    free(l->references);
    key_map_free(&l->full);
    memset(l, 0, sizeof(*l));
}

bool image_list_add(struct image_list *l, const char *text, struct err *err)
{
    struct ref ref;
    char full[REF_TEXT_MAX];

    if (!ref_parse(&ref, text, err))
        return false;
    ref_format(&ref, full);
    if (key_map_find(&l->full, full, strlen(full)) != KEY_MAP_NONE)
        return true;
    if (l->count == IMAGE_LIST_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d images: pull them in several commands", (int)IMAGE_LIST_MAX);
    key_map_add(&l->full, full, strlen(full), (int64_t)l->count);
    *ARRAY_NEXT(l->references, l->count, l->cap) = xstrdup(text);
    l->count++;
    return true;
}

bool image_list_file(const char *file, struct buf *text, struct err *err)
{
    bool is_stdin = strcmp(file, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(file, "re");

    if (!f)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "reading %s", file);
    while (text->len <= IMAGE_LIST_FILE_MAX) {
        size_t n = fread(buf_reserve(text, 64 << 10), 1, 64 << 10, f);
        text->len += n;
        if (n == 0)
            break;
    }
    bool failed = ferror(f) != 0;
    if (failed)
        err_errno(err, ERR_IO, "reading %s", file);
    if (!is_stdin)
        fclose(f);
    if (failed)
        return false;
    if (text->len > IMAGE_LIST_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s: more than %d MiB", file, (int)(IMAGE_LIST_FILE_MAX >> 20));
    if (text->len > 0 && memchr(text->data, '\0', text->len))
        return err_set(err, ERR_INVALID, "%s: not a text file", file);
    buf_add(text, "", 1);
    text->len--;
    return true;
}

bool image_list_read(struct image_list *l, const char *file, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    int line = 0;

    if (!image_list_file(file, &text, err) || !text.data)
        return false;
    for (char *p = text.data + (strncmp(text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0), *end; p; p = end) {
        line++;
        end = strchr(p, '\n');
        if (end)
            *end++ = '\0';
        p[strcspn(p, "#\r")] = '\0';
        p += strspn(p, " \t");
        for (size_t n = strlen(p); n > 0 && strchr(" \t", p[n - 1]); n--)
            p[n - 1] = '\0';
        if (*p && !image_list_add(l, p, err))
            return err_wrap(err, "%s: line %d", file, line);
    }
    return true;
}
