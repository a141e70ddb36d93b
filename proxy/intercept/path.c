#include "proxy/intercept/path.h"

#include "base/mem.h"
#include "base/url.h"

#include <string.h>

enum { PATH_TEXT_MAX = 1024 };

static const struct {
    const char *word;
    enum path_kind kind;
} PATH_KINDS[] = {
    {"/manifests/", PATH_MANIFEST}, {"/blobs/", PATH_BLOB}, {"/tags/", PATH_TAGS}, {"/referrers/", PATH_REFERRERS}};

/* The last of the words: a repository may be called "blobs". NULL: there is none. */
static const char *split_path(const char *text, enum path_kind *kind, const char **rest)
{
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(PATH_KINDS); i++)
        for (const char *p = strstr(text, PATH_KINDS[i].word); p; p = strstr(p + 1, PATH_KINDS[i].word))
            if (p >= best) {
                best = p;
                *kind = PATH_KINDS[i].kind;
                *rest = p + strlen(PATH_KINDS[i].word);
            }
    return best;
}

static bool take_rest(struct path *out, const char *rest)
{
    size_t len = strlen(rest);

    if (out->kind == PATH_BLOB && (strcmp(rest, "uploads") == 0 || strncmp(rest, "uploads/", 8) == 0)) {
        out->kind = PATH_UPLOAD;
        return true;
    }
    if (out->kind == PATH_TAGS)
        return strcmp(rest, "list") == 0;
    if (digest_parse(&out->digest, rest, len))
        return true;
    if (out->kind != PATH_MANIFEST || !ref_is_tag(rest, len))
        return false;
    snprintf(out->tag, sizeof(out->tag), "%s", rest);
    return true;
}

void path_parse(struct path *out, const char *path)
{
    char text[PATH_TEXT_MAX];
    const char *rest = NULL;

    *out = (struct path){.kind = PATH_OTHER};
    if (strncmp(path, "/v2/", 4) != 0 || !url_decode(path + 3, strlen(path + 3), false, text, sizeof(text)))
        return;
    enum path_kind kind = PATH_OTHER;
    const char *end = split_path(text, &kind, &rest);
    size_t len = end && end > text ? (size_t)(end - text - 1) : 0;
    if (len == 0 || len > REF_PATH_MAX || !ref_is_path(text + 1, len))
        return;
    out->kind = kind;
    memcpy(out->name, text + 1, len);
    out->name[len] = '\0';
    if (!take_rest(out, rest))
        *out = (struct path){.kind = PATH_OTHER};
}
