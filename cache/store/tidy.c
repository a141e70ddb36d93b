/* Files that are on their way out, and looking at all there are. */
#include "cache/store/private.h"

#include "base/assert.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/index/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

enum { QUARANTINE_MAX = 8 };

static const char *const ALGS[] = {[DIGEST_SHA256] = "sha256", [DIGEST_SHA512] = "sha512"};

static const char *trash_name(const struct digest *d, char out[NAME_CAP])
{
    char hex[DIGEST_TEXT_MAX];

    snprintf(out, NAME_CAP, "%s-%s.gone", digest_alg_name(d), digest_hex(d, hex));
    return out;
}

bool store_trash_blob(struct store *s, const struct digest *d, struct err *err)
{
    char hex[DIGEST_TEXT_MAX], name[NAME_CAP];

    if (renameat(s->blobs[d->alg], digest_hex(d, hex), s->ingest, trash_name(d, name)) != 0 && errno != ENOENT)
        return store_fail(err, "removing", d);
    return true;
}

void store_untrash_blob(struct store *s, const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX], name[NAME_CAP];

    renameat2(s->ingest, trash_name(d, name), s->blobs[d->alg], digest_hex(d, hex), RENAME_NOREPLACE);
}

struct unlisted_query {
    const struct digest *d;
    bool is_listed;
};

static void read_listed(struct index_txn *t, void *arg)
{
    struct unlisted_query *q = arg;
    struct blob_row row;

    q->is_listed = rows_get_blob(t, q->d, &row);
}

void store_remove_unlisted(struct store *s, struct index *index, const struct digest *d)
{
    struct unlisted_query q = {.d = d};
    struct err err;

    OFF_LOOPS;
    index_read(index, read_listed, &q);
    if (!q.is_listed && !store_remove_blob(s, d, &err))
        log_limited(LOG_LEVEL_ERROR, "discard", "%s", err.msg);
}

/* A private stream over a folder that stays open. */
static DIR *list(int dir)
{
    DIR *d = io_list(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

    if (!d)
        log_error("listing a cache folder: %s", strerror(errno));
    return d;
}

void store_each_blob(struct store *s, bool (*fn)(void *arg, const struct digest *d, int64_t size), void *arg)
{
    bool go_on = true;

    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
        DIR *dir = list(s->blobs[alg]);
        struct dirent *e;
        while (go_on && dir && (e = readdir(dir))) {
            char text[DIGEST_TEXT_MAX + NAME_MAX];
            struct digest d;
            struct stat st;
            int n = snprintf(text, sizeof(text), "%s:%s", ALGS[alg], e->d_name);
            if (digest_parse(&d, text, (size_t)n) && fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                go_on = fn(arg, &d, st.st_size);
        }
        if (dir)
            closedir(dir);
    }
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);

    return len > n && strcmp(name + len - n, suffix) == 0;
}

/* Unlinks the files of a folder that end so. */
static void remove_all(int folder, const char *suffix)
{
    DIR *dir = list(folder);
    struct dirent *e;

    while (dir && (e = readdir(dir)))
        if (ends_with(e->d_name, suffix))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

void store_remove_old_imports(struct store *s, int64_t before_s)
{
    DIR *dir = list(s->ingest);
    struct dirent *e;
    struct stat st;

    while (dir && (e = readdir(dir)))
        if (ends_with(e->d_name, STORE_IMPORT_SUFFIX) &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ctim.tv_sec < before_s)
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

int64_t store_ingest_bytes(struct store *s, int64_t *parts, int64_t *part_bytes)
{
    DIR *dir = list(s->ingest);
    struct dirent *e;
    struct stat st;
    int64_t bytes = 0;

    *parts = *part_bytes = 0;
    /* A hole takes less than the size; more than it is XFS's guess at what comes next, which it takes back. */
    while (dir && (e = readdir(dir)))
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
            int64_t here = MIN((int64_t)st.st_blocks * 512, (int64_t)st.st_size);
            bool part = ends_with(e->d_name, ".part");
            bytes += here;
            *parts += part;
            *part_bytes += part ? here : 0;
        }
    if (dir)
        closedir(dir);
    return bytes;
}

void store_remove_leftovers(struct store *s)
{
    remove_all(s->ingest, ".gone");
    remove_all(s->ingest, ".tmp");
}

void store_empty_trash(struct store *s)
{
    remove_all(s->ingest, ".gone");
}

void store_each_part(struct store *s, bool (*fn)(void *arg, const struct digest *d), void *arg)
{
    DIR *dir = list(s->ingest);
    struct dirent *e;
    bool go_on = true;

    while (go_on && dir && (e = readdir(dir))) {
        struct digest d;
        if (!ends_with(e->d_name, ".part"))
            continue;
        char *dash = strchr(e->d_name, '-');
        if (dash)
            *dash = ':';
        if (digest_parse(&d, e->d_name, strlen(e->d_name) - 5))
            go_on = fn(arg, &d);
    }
    if (dir)
        closedir(dir);
}

/* ---- quarantine ---- */

/* Keeps the newest few. */
static void thin_quarantine(struct store *s)
{
    for (;;) {
        DIR *dir = list(s->quarantine);
        char oldest[NAME_MAX + 1] = "";
        struct timespec when = {0};
        struct dirent *e;
        int count = 0;
        while (dir && (e = readdir(dir))) {
            struct stat st;
            if (e->d_name[0] == '.' || ends_with(e->d_name, ".lost") ||
                fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
                continue;
            if (count++ == 0 || st.st_ctim.tv_sec < when.tv_sec) {
                when = st.st_ctim;
                snprintf(oldest, sizeof(oldest), "%s", e->d_name);
            }
        }
        if (dir)
            closedir(dir);
        if (count <= QUARANTINE_MAX || unlinkat(s->quarantine, oldest, 0) != 0)
            return;
    }
}

bool store_quarantine_blob(struct store *s, const struct digest *d, uint64_t inode, struct err *err)
{
    char hex[DIGEST_TEXT_MAX], name[NAME_CAP];
    struct file_info info;

    if (!store_stat_blob(s, d, &info, err))
        return !err || err->code == ERR_NOT_FOUND;
    if (info.inode != inode)
        return true;
    snprintf(name, sizeof(name), "%s-%s", digest_alg_name(d), digest_hex(d, hex));
    if (renameat(s->blobs[d->alg], hex, s->quarantine, name) != 0 && errno != ENOENT)
        return store_fail(err, "quarantining", d);
    thin_quarantine(s);
    return true;
}
