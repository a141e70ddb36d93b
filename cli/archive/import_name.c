/* Names of images: those in archives, and --name. */
#include "cli/archive/import_private.h"

#include <ctype.h>

bool import_is_template(const char *given)
{
    return given && (strstr(given, "{tag}") || strstr(given, "{name}"));
}

const char *import_own_name(const struct archive_files *a, char out[REF_TEXT_MAX])
{
    static const char *const endings[] = {".zst", ".gz", ".xz", ".bz2", ".lz4", ".tgz", ".tar"};
    size_t len = strlen(a->path), n = 0;

    while (len > 1 && a->path[len - 1] == '/')
        len--;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strncmp(a->path + len - end, endings[i], end) == 0)
            len -= end;
    }
    size_t begin = len;
    while (begin > 0 && a->path[begin - 1] != '/')
        begin--;
    for (size_t i = begin; i < len && n < REF_PATH_MAX; i++)
        if (isalnum((unsigned char)a->path[i]))
            out[n++] = (char)tolower((unsigned char)a->path[i]);
        else if (n > 0 && i + 1 < len && out[n - 1] != '-')
            out[n++] = '-';
    while (n > 0 && out[n - 1] == '-')
        n--;
    out[n] = '\0';
    return n > 0 ? out : strcpy(out, "app");
}

bool import_expand(const struct archive_files *a, const char *given, const char *tag, char out[REF_TEXT_MAX],
                   struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    char own[REF_TEXT_MAX];
    struct ref ref;

    for (const char *p = given; *p;) {
        if (strncmp(p, "{tag}", 5) == 0) {
            buf_addf(&text, "%s", tag);
            p += 5;
        } else if (strncmp(p, "{name}", 6) == 0) {
            buf_addf(&text, "%s", import_own_name(a, own));
            p += 6;
        } else {
            buf_add(&text, p++, 1);
        }
    }
    buf_add(&text, "", 1);
    if (!ref_parse(&ref, text.data, err))
        return err_wrap(err, "--name");
    ref_format(&ref, out);
    return true;
}

bool import_is_full(const char *name)
{
    struct digest d;

    return name && strpbrk(name, "/:@") && strchr(name, '<') == NULL && !digest_parse(&d, name, strlen(name));
}
