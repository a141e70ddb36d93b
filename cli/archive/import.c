/* `entrepot import`: the command, and sending blobs to the daemon. */
#include "cli/archive/import_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSY_TRIES = 1200, /* while another import sends the same blob: as long as hashing a large one may take */
    GONE_TRIES = 10,   /* just after it has ended, before the blob is in the index */
    BUSY_US = 500000,  /* between tries */
    BATCH = 1024,      /* images per request: at most 1 MiB with the longest names */
};

static const char USAGE[] =
    "Usage: entrepot import FILE|DIR|- [--name REF] [--no-pin] [--link] [--json] [--socket PATH] [--cache DIR]\n"
    "                       [--config FILE]\n\n"
    "Imports images from an OCI image layout (a folder, or a tar archive, compressed or not), an archive of docker\n"
    "save, or skopeo's dir:. They are pinned, and served under their names in the archive, also offline. Every\n"
    "digest is verified. After an interruption the same command resumes where it stopped.\n\n"
    "  -            read stdin; a pipe is copied to a temporary file in $TMPDIR (/var/tmp)\n"
    "  --name REF   the name of the archive's only image, or of its only image without a name. For images that have\n"
    "               only a tag, {tag} stands for the tag: --name 'ghcr.io/org/app:{tag}'; {name} stands for the name\n"
    "               of the file or folder\n"
    "  --no-pin     do not pin the images: garbage collection may remove them\n"
    "  --link       hard-link a folder's files into the cache, if they belong to the daemon's user and are on its\n"
    "               file system. They become read-only and must not be changed afterwards. Without it they are\n"
    "               cloned (reflink) if the file system supports it, or copied\n\n"
    "Examples:\n"
    "  entrepot import images.tar.zst\n"
    "  docker save app:1 | entrepot import - --name ghcr.io/org/app:1\n";

struct import_job {
    struct cli_options o;
    const char *path, *name;
    bool no_pin, link;
    struct archive_files files;
    struct import_plan plan;
    const struct import_blob **blob_of; /* one for each file of the archive; NULL: not a blob */
    char *cache;                        /* the daemon's cache folder */
    /* the current blob */
    const struct import_blob *blob;
    int64_t skip, offset; /* bytes that the daemon has; offset of the next ones */
    bool begun;           /* a request with some of its bytes was sent */
    bool theirs;          /* another import has completed it meanwhile */
    struct buf piece;
    struct import_batch batch;
    bool is_small; /* it is sent with the batch */
    int64_t sent, kept;
};

static char *import_page(const char *path, const struct digest *d, const char *more)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf("/v1/import/%s?digest=%s%s", path, digest_format(d, text), more);
}

static void import_say(struct import_job *j, const struct digest *d, int64_t size, const char *how)
{
    char text[DIGEST_TEXT_MAX], shown[CLI_TEXT], bytes[CLI_TEXT];

    digest_format(d, text);
    if (j->o.json) {
        json_t *event =
            json_pack("{s:s, s:s, s:I, s:s}", "event", "blob", "digest", text, "size", (json_int_t)size, "status", how);
        cli_print_event(stdout, event);
        json_decref(event);
        return;
    }
    cli_say(stdout, "%s: %s, %s", cli_short(text, shown), how, cli_size(size, bytes));
    cli_flush();
}

/* ---- one blob ---- */

static bool import_query(struct import_job *j, const struct digest *d, bool *whole, int64_t *received, struct err *err)
{
    _cleanup_free_ char *path = import_page("blob", d, "");
    json_t *answer;

    if (!cli_ask(&j->o, path, NULL, &answer, err))
        return false;
    *whole = json_is_true(json_object_get(answer, "whole"));
    *received = json_integer_value(json_object_get(answer, "received"));
    json_decref(answer);
    return true;
}

static bool import_post(struct import_job *j, const char *path, const struct buf *body, struct err *err)
{
    json_t *answer;
    bool ok = cli_send(&j->o, path, body && body->data ? body->data : "", body ? body->len : 0, &answer, err);

    if (ok)
        json_decref(answer);
    return ok;
}

/* The same, retrying while another import sends this blob. `theirs`: the other one has completed it. */
static bool import_post_in_turn(struct import_job *j, const struct digest *d, const char *path, const struct buf *body,
                                bool *theirs, struct err *err)
{
    *theirs = false;
    for (int tries = 0; !import_post(j, path, body, err); tries++) {
        struct err why = {0};
        int64_t received;
        if (import_query(j, d, theirs, &received, &why) && *theirs)
            break;
        if (tries >= (err->code == ERR_BUSY ? BUSY_TRIES : err->code == ERR_NOT_FOUND ? GONE_TRIES : 0))
            return false;
        usleep(BUSY_US);
    }
    *err = (struct err){0};
    return true;
}

/* The daemon has all bytes: let it verify the blob. */
static bool import_finish(struct import_job *j, const struct digest *d, struct err *err)
{
    _cleanup_free_ char *path = import_page("blob", d, "");
    bool theirs;

    return import_post_in_turn(j, d, path, NULL, &theirs, err);
}

static bool import_send_piece(struct import_job *j, struct err *err)
{
    char more[80];

    int n = snprintf(more, sizeof(more), "&offset=%lld", (long long)j->offset);
    if (!j->begun) /* the first request has the blob's size */
        snprintf(more + n, sizeof(more) - (size_t)n, "&size=%lld", (long long)import_blob_size(j->blob));
    j->begun = true;
    _cleanup_free_ char *path = import_page("bytes", &j->blob->digest, more);
    if (!j->theirs && !import_post_in_turn(j, &j->blob->digest, path, &j->piece, &j->theirs, err))
        return false;
    j->offset += (int64_t)j->piece.len;
    buf_clear(&j->piece);
    return true;
}

static bool import_take_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct import_job *j = arg;
    const char *p = data;

    if (j->is_small) { /* one byte more than its listed size is enough to make it fail */
        buf_add(&j->piece, p, MIN(len, (size_t)import_blob_size(j->blob) + 1 - j->piece.len));
        return true;
    }
    while (len > 0) {
        size_t pass = (size_t)MIN(j->skip, (int64_t)len);
        j->skip -= (int64_t)pass;
        p += pass;
        len -= pass;
        size_t n = MIN(len, (size_t)IMPORT_PIECE - j->piece.len);
        buf_add(&j->piece, p, n);
        p += n;
        len -= n;
        if (j->piece.len == IMPORT_PIECE && !import_send_piece(j, err))
            return false;
    }
    return true;
}

static void import_note_small(void *arg, const struct import_blob *b, bool there)
{
    struct import_job *j = arg;

    *(there ? &j->kept : &j->sent) += import_blob_size(b);
    import_say(j, &b->digest, import_blob_size(b), there ? "there" : "imported");
}

static bool import_flush_batch(struct import_job *j, struct err *err)
{
    return import_send_batch(&j->batch, &j->o, j->path, import_note_small, j, err);
}

static bool import_end_small(struct import_job *j, struct err *err)
{
    if (!import_batch_takes(&j->batch, j->piece.len) && !import_flush_batch(j, err))
        return false;
    import_add_small(&j->batch, j->blob, &j->piece);
    return true;
}

static bool import_end_blob(void *arg, struct err *err)
{
    struct import_job *j = arg;
    int64_t size = import_blob_size(j->blob);

    if (j->is_small)
        return import_end_small(j, err);
    if ((j->piece.len > 0 || size == 0) && !import_send_piece(j, err))
        return false;
    if (!import_finish(j, &j->blob->digest, err))
        return false;
    *(j->theirs ? &j->kept : &j->sent) += size;
    import_say(j, &j->blob->digest, size, j->theirs ? "there" : "imported");
    return true;
}

/* Clones or links a folder's file to where the daemon finds it, if permissions and file system allow; returns which, or
 * NULL. The file itself is not changed unless --link makes it the cache's own. */
static const char *import_share(struct import_job *j, const struct import_blob *b)
{
    char hex[DIGEST_TEXT_MAX];
    _cleanup_free_ char *to =
        xasprintf("%s/ingest/%s-%s.import", j->cache, digest_alg_name(&b->digest), digest_hex(&b->digest, hex));
    struct stat cache, file;
    struct err why = {0};
    _cleanup_close_ int source = archive_open_file(&j->files, b->file->name, &file, &why);

    if (source < 0 || stat(j->cache, &cache) != 0 || file.st_dev != cache.st_dev || file.st_size == 0)
        return NULL;
    unlink(to);
    _cleanup_close_ int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (target < 0)
        return NULL;
    if (fchown(target, cache.st_uid, cache.st_gid) == 0 && ioctl(target, FICLONE, source) == 0)
        return "cloned";
    unlink(to);
    /* The daemon makes a linked file read-only, so it must own it already. The open file is linked, whatever its name
     * leads to by now. */
    _cleanup_free_ char *from = xasprintf("/proc/self/fd/%d", source);
    bool linked =
        j->link && file.st_uid == cache.st_uid && linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0;
    return linked ? "linked" : NULL;
}

static void import_map_files(struct import_job *j)
{
    j->blob_of = xcalloc(j->files.count, sizeof(*j->blob_of));
    for (size_t i = 0; i < j->plan.count; i++)
        if (j->plan.blobs[i].file)
            j->blob_of[j->plan.blobs[i].file - j->files.list] = &j->plan.blobs[i];
}

/* Small blobs go with the batch, except those that --link can share. */
static bool goes_with_batch(const struct import_job *j, const struct import_blob *b)
{
    return import_blob_size(b) <= IMPORT_SMALL && !(j->link && j->files.is_folder && b->file);
}

static bool import_begin(struct import_job *j, const struct import_blob *b, bool *wanted, struct err *err)
{
    int64_t received, size = import_blob_size(b);
    bool whole;

    j->is_small = goes_with_batch(j, b);
    j->blob = b;
    buf_clear(&j->piece);
    *wanted = j->is_small;
    if (j->is_small)
        return true;
    if (!import_query(j, &b->digest, &whole, &received, err))
        return false;
    if (whole) {
        j->kept += size;
        import_say(j, &b->digest, size, "there");
        return true;
    }
    const char *how = j->files.is_folder && b->file && received == 0 ? import_share(j, b) : NULL;
    if (how) {
        if (!import_finish(j, &b->digest, err))
            return false;
        j->sent += size;
        import_say(j, &b->digest, size, how);
        return true;
    }
    *wanted = true;
    j->begun = j->theirs = false;
    j->skip = j->offset = MIN(received, size);
    return true;
}

static bool import_begin_file(void *arg, const struct archive_file *f, bool *wanted, struct err *err)
{
    struct import_job *j = arg;
    const struct import_blob *b = j->blob_of[f - j->files.list];

    *wanted = false;
    return !b || import_begin(j, b, wanted, err) || err_wrap(err, "%s: %s", j->path, f->name);
}

static bool import_end_file(void *arg, struct err *err)
{
    struct import_job *j = arg;

    if (j->is_small) /* errors of a batch name its blobs */
        return import_end_blob(j, err);
    return import_end_blob(j, err) || err_wrap(err, "%s: %s", j->path, j->blob->file->name);
}

/* ---- the whole archive ---- */

static bool import_send_generated(struct import_job *j, struct err *err)
{
    for (size_t i = 0; i < j->plan.count; i++) {
        const struct import_blob *b = &j->plan.blobs[i];
        bool wanted;
        if (b->file)
            continue;
        if (!import_begin(j, b, &wanted, err))
            return false;
        if (wanted && (!import_take_data(j, b->text, b->len, err) || !import_end_blob(j, err)))
            return false;
    }
    return true;
}

/* After an error the blobs read so far are still sent, so that the same command resumes there. */
static bool import_send_blobs(struct import_job *j, struct err *err)
{
    const struct archive_visit visit = {import_begin_file, import_take_data, import_end_file, j};
    struct err why = {0};

    bool ok = archive_read(&j->files, &visit, err) && import_send_generated(j, err);
    if (ok && !import_flush_batch(j, err))
        return false;
    if (ok)
        return j->batch.bad == 0 ||
               err_set(err, ERR_DIGEST, "%s: %zu of its blobs %s damaged: none of its images is imported", j->path,
                       j->batch.bad, j->batch.bad == 1 ? "is" : "are");
    if (err->code != ERR_UNREACHABLE && err->code != ERR_TIMEOUT && !import_flush_batch(j, &why))
        cli_say(stderr, "entrepot: %s", why.msg);
    return false;
}

/* Enters a batch of images into the index; appends the daemon's answer to `sum`. */
static bool import_enter_some(struct import_job *j, size_t from, json_t *sum, struct err *err)
{
    json_t *some = json_array(), *body, *answer, *list;
    const char *key;

    for (size_t i = from; i < json_array_size(j->plan.images) && i < from + BATCH; i++)
        json_array_append(some, json_array_get(j->plan.images, i));
    body = json_pack("{s:o, s:b}", "images", some, "pin", !j->no_pin);
    bool ok = cli_ask(&j->o, "/v1/import", body, &answer, err);
    json_decref(body);
    if (!ok)
        return false;
    json_object_foreach(sum, key, list)
        json_array_extend(list, json_object_get(answer, key));
    json_decref(answer);
    return true;
}

/* A registry that is not configured is listed with each of its images. */
static void drop_repeated(json_t *list)
{
    json_t *once = json_array(), *name;
    struct key_map seen = {0};
    size_t i;

    json_array_foreach(list, i, name)
        if (key_map_add(&seen, json_string_value(name), json_string_length(name), 0))
            json_array_append(once, name);
    json_array_clear(list);
    json_array_extend(list, once);
    json_decref(once);
    key_map_free(&seen);
}

static bool import_enter(struct import_job *j, struct err *err)
{
    json_t *sum = json_pack("{s:[], s:[]}", "imported", "not_configured"), *name;
    json_t *unconfigured = json_object_get(sum, "not_configured");
    char sent[CLI_TEXT], kept[CLI_TEXT];
    bool ok = true;
    size_t i;

    for (i = 0; ok && i < json_array_size(j->plan.images); i += BATCH)
        ok = import_enter_some(j, i, sum, err);
    drop_repeated(unconfigured);
    json_array_foreach(unconfigured, i, name)
        cli_say(stderr,
                "entrepot: %s is not configured as an upstream: its images are served as imported, and never updated",
                json_string_value(name));
    if (ok && j->o.json) {
        json_object_set_new(sum, "sent", json_integer(j->sent));
        json_object_set_new(sum, "kept", json_integer(j->kept));
        cli_print_event(stdout, sum);
    } else if (ok) {
        json_array_foreach(json_object_get(sum, "imported"), i, name)
            cli_say(stdout, "imported %s", json_string_value(name));
        cli_say(stdout, "%s: %s imported, %s already there", j->path, cli_size(j->sent, sent), cli_size(j->kept, kept));
    }
    json_decref(sum);
    return ok;
}

static bool import_run(struct import_job *j, struct err *err)
{
    json_t *status = NULL, *cache;

    if (!archive_list(&j->files, j->path, err) || !import_plan(&j->files, j->name, &j->plan, err) ||
        !cli_ask(&j->o, "/v1/status", NULL, &status, err))
        return false;
    cache = json_object_get(status, "cache");
    j->cache = xstrdup(cli_text(cache, "path"));
    import_map_files(j);
    bool ok = import_check(&j->plan, &j->files, json_integer_value(json_object_get(cache, "blob_max_bytes")), err);
    json_decref(status);
    return ok && import_send_blobs(j, err) && import_enter(j, err);
}

static bool import_take_name(void *arg, const char *value, struct err *err)
{
    const struct archive_files any = {.path = "name"};
    char name[REF_TEXT_MAX];

    ((struct import_job *)arg)->name = value;
    return import_expand(&any, value, REF_DEFAULT_TAG, name, err);
}

static bool import_take_path(void *arg, const char *argument, struct err *err)
{
    return cli_take_argument(&((struct import_job *)arg)->path, argument, err);
}

int cmd_import(int argc, char **argv)
{
    struct import_job j = {0};
    const struct cli_option options[] = {
        {"name", .take = import_take_name}, {"no-pin", .flag = &j.no_pin}, {"link", .flag = &j.link}, {0}};
    struct err err = {0};

    int rc = cli_parse(&j.o, &(struct cli_syntax){USAGE, options, import_take_path, .arg = &j}, argc, argv);
    if (rc >= 0)
        return rc;
    if (!j.path)
        return cli_usage(USAGE, "import: which file or folder?");
    bool ok = import_run(&j, &err);
    if (!ok && j.sent > 0)
        err_wrap(&err, "importing %s (the same command resumes here)", j.path);
    import_plan_free(&j.plan);
    archive_files_free(&j.files);
    buf_free(&j.piece);
    import_batch_free(&j.batch);
    free(j.cache);
    free(j.blob_of);
    return ok ? EXIT_DONE : cli_fail(&err);
}
