/* Notes of blobs that were here and are not any more: what verify --repair fetches again. */
#include "cache/store/private.h"

#include "base/io.h"

#include <fcntl.h>
#include <string.h>

#define LOST_SUFFIX ".lost"

enum { LOST_TEXT_MAX = 1024 };

static const char *lost_name(const struct digest *d, char out[NAME_CAP])
{
    return store_name(d, LOST_SUFFIX, out);
}

void store_note_lost(struct store *s, const struct digest *d, bool manifest, const char *repo)
{
    char name[NAME_CAP];
    _cleanup_free_ char *text = xasprintf("%s %s\n", manifest ? "manifest" : "blob", repo);
    _cleanup_close_ int fd =
        openat(s->quarantine, lost_name(d, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text)); /* on a full disk it is empty, and its name is enough */
}

bool store_is_lost(struct store *s, const struct digest *d)
{
    char name[NAME_CAP];

    return faccessat(s->quarantine, lost_name(d, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void store_forget_lost(struct store *s, const struct digest *d)
{
    char name[NAME_CAP];

    unlinkat(s->quarantine, lost_name(d, name), 0);
}

bool store_read_lost(struct store *s, const struct digest *d, bool *manifest, char repo[REF_NAME_MAX + 1])
{
    char name[NAME_CAP], text[LOST_TEXT_MAX];
    _cleanup_close_ int fd = openat(s->quarantine, lost_name(d, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? io_read(fd, text, sizeof(text) - 1) : -1;

    *manifest = false;
    repo[0] = '\0';
    if (n < 0)
        return false;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    const char *space = strchr(text, ' ');
    *manifest = strncmp(text, "manifest", 8) == 0;
    if (space && strlen(space + 1) <= REF_NAME_MAX)
        snprintf(repo, REF_NAME_MAX + 1, "%s", space + 1);
    return true;
}

void store_each_lost(struct store *s, bool (*fn)(void *arg, const struct digest *d), void *arg)
{
    DIR *dir = io_list(openat(s->quarantine, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *e;
    bool go_on = true;

    while (go_on && dir && (e = readdir(dir))) {
        size_t len = strlen(e->d_name), suffix = strlen(LOST_SUFFIX);
        char *dash = strchr(e->d_name, '-');
        struct digest d;
        if (!dash || len <= suffix || strcmp(e->d_name + len - suffix, LOST_SUFFIX) != 0)
            continue;
        *dash = ':';
        if (digest_parse(&d, e->d_name, len - suffix))
            go_on = fn(arg, &d);
    }
    if (dir)
        closedir(dir);
}
