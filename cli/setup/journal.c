#include "cli/setup/journal.h"

#include "base/array.h"
#include "base/digest.h"
#include "cli/setup/lines.h"
#include "cli/setup/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static const char JOURNAL[] = "journal.json";

static char *journal_path(const struct setup_journal *j, const char *name)
{
    return xasprintf("%s/%s/%s", SETUP_JOURNAL_FOLDER, j->engine, name);
}

/* ---- reading ---- */

/* A copy by its name in the journal; null: the file was absent. */
static bool copy_read(const struct setup_journal *j, const json_t *name, struct setup_text *out, struct err *err)
{
    const char *hex = json_string_value(name);
    _cleanup_free_ char *path = hex && !strchr(hex, '/') ? journal_path(j, hex) : NULL;

    setup_text_free(out);
    if (!path)
        return json_is_null(name) || err_set(err, ERR_CORRUPT, "the journal of %s is damaged", j->engine);
    if (!place_read(j->root, path, out, err))
        return false;
    return out->exists || err_set(err, ERR_CORRUPT, "%s%s is missing", j->root, path);
}

/* `base` of a file: by what it is now, one of what we wrote or something else since. */
static bool journal_find_base(const struct setup_journal *j, struct setup_file *f, const json_t *entry, struct err *err)
{
    const json_t *after = json_object_get(entry, "after"), *name;
    struct setup_text before = {0}, wrote = {0};
    bool ok = copy_read(j, json_object_get(entry, "before"), &before, err), found = false;
    char *why = NULL;
    size_t i;

    json_array_foreach(after, i, name) {
        ok = ok && copy_read(j, name, &wrote, err);
        found = found || (ok && setup_text_same(&wrote, &f->disk));
    }
    if (ok && found)
        setup_text_copy(&f->base, &before);
    else if (ok && (ok = copy_read(j, json_array_get(after, 0), &wrote, err)) &&
             !setup_take_back(&before, &wrote, &f->disk, &f->base, &why)) {
        f->conflict = why;
        setup_text_copy(&f->base, &f->disk);
    }
    setup_text_copy(&f->want, &f->base);
    setup_text_free(&before);
    setup_text_free(&wrote);
    return ok;
}

static void journal_add_folder(void *arg, const char *path)
{
    struct setup_journal *j = arg;

    for (size_t i = 0; i < j->folders_count; i++)
        if (strcmp(j->folders[i], path) == 0)
            return;
    *ARRAY_NEXT(j->folders, j->folders_count, j->folders_cap) = xstrdup(path);
    j->folders_count++;
}

static bool journal_take(struct setup_journal *j, struct setup_view *v, const json_t *doc, struct err *err)
{
    const json_t *entry, *folder;
    size_t i;

    json_array_foreach(json_object_get(doc, "folders"), i, folder) {
        if (json_is_string(folder))
            journal_add_folder(j, json_string_value(folder));
    }
    json_array_foreach(json_object_get(doc, "files"), i, entry) {
        const char *path = json_string_value(json_object_get(entry, "path"));
        if (!path || path[0] != '/')
            return err_set(err, ERR_CORRUPT, "the journal of %s is damaged", j->engine);
        struct setup_file *f = setup_view_file(v, path, err);
        if (!f)
            return false;
        f->ours = true;
        f->mode = (mode_t)json_integer_value(json_object_get(entry, "mode")) & 0777;
        if (!journal_find_base(j, f, entry, err))
            return false;
        if (j->lock >= 0)
            place_sweep(v->root, path);
    }
    return true;
}

static bool journal_make_folders(struct setup_journal *j, struct err *err)
{
    _cleanup_free_ char *own = xasprintf("%s/%s", SETUP_JOURNAL_FOLDER, j->engine);

    bool ok = place_make_folder(j->root, "/var", 0755, err) && place_make_folder(j->root, "/var/lib", 0755, err) &&
              place_make_folder(j->root, SETUP_JOURNAL_FOLDER, 0700, err) && place_make_folder(j->root, own, 0700, err);
    return ok || (geteuid() != 0 && err_append(err, "; run it as root"));
}

static bool journal_lock(struct setup_journal *j, struct err *err)
{
    _cleanup_free_ char *full = NULL;

    if (!journal_make_folders(j, err))
        return false;
    full = place_resolve(j->root, SETUP_JOURNAL_FOLDER, err);
    if (!full)
        return false;
    j->lock = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->lock < 0)
        return err_errno(err, ERR_IO, "%s", full);
    if (flock(j->lock, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_BUSY, "another entrepot setup is running: retry when it has ended");
    return true;
}

static bool journal_is_text(const json_t *j, const char *text)
{
    return json_is_string(j) && strcmp(json_string_value(j), text) == 0;
}

static bool journal_names(const json_t *files, const char *name)
{
    const json_t *entry, *after;
    size_t i, k;

    json_array_foreach(files, i, entry) {
        if (journal_is_text(json_object_get(entry, "before"), name))
            return true;
        json_array_foreach(json_object_get(entry, "after"), k, after) {
            if (journal_is_text(after, name))
                return true;
        }
    }
    return false;
}

/* Removes the journal, if it has no entries, then copies that no entry names. */
static void journal_tidy(const struct setup_journal *j, const json_t *files)
{
    _cleanup_free_ char *own = xasprintf("%s/%s", SETUP_JOURNAL_FOLDER, j->engine);
    _cleanup_free_ char *full = place_resolve(j->root, own, NULL);
    DIR *dir = full ? opendir(full) : NULL;
    struct dirent *e;

    if (dir && json_array_size(files) == 0)
        unlinkat(dirfd(dir), JOURNAL, 0);
    while (dir && (e = readdir(dir)))
        if (place_is_temporary(e->d_name) ||
            (e->d_name[0] != '.' && strcmp(e->d_name, JOURNAL) != 0 && !journal_names(files, e->d_name)))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

bool journal_open(struct setup_journal *j, const char *root, const char *engine, bool write, struct setup_view *v,
                  struct err *err)
{
    struct setup_text text = {0};

    *j = (struct setup_journal){.root = root, .engine = engine, .lock = -1};
    if (write && !journal_lock(j, err))
        return false;
    _cleanup_free_ char *path = journal_path(j, JOURNAL);
    if (write)
        place_sweep(root, path);
    if (!place_read(root, path, &text, err))
        return false;
    json_t *doc = text.exists ? json_loadb(text.bytes.data ? text.bytes.data : "", text.bytes.len, 0, NULL) : NULL;
    bool ok = !text.exists || json_is_object(doc) || err_set(err, ERR_CORRUPT, "%s%s is damaged", root, path);
    ok = ok && (!doc || journal_take(j, v, doc, err));
    if (write && !text.exists)
        journal_tidy(j, NULL); /* of a process that was killed before it had a journal */
    json_decref(doc);
    setup_text_free(&text);
    return ok;
}

bool journal_exists(const char *root, const char *engine)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", SETUP_JOURNAL_FOLDER, engine);
    _cleanup_free_ char *full = place_resolve(root, path, NULL);

    return full && (access(full, F_OK) == 0 || errno == EACCES);
}

/* ---- writing ---- */

/* Writes a copy, if it is not there; returns its name for the journal. */
static json_t *copy_write(const struct setup_journal *j, const struct setup_text *text, bool *ok, struct err *err)
{
    char hex[DIGEST_TEXT_MAX];
    struct digest digest;
    struct setup_text there = {0};

    if (!text->exists)
        return json_null();
    digest_of(DIGEST_SHA256, text->bytes.len ? text->bytes.data : "", text->bytes.len, &digest);
    _cleanup_free_ char *path = journal_path(j, digest_hex(&digest, hex));
    *ok = *ok && place_read(j->root, path, &there, err);
    if (*ok && !setup_text_same(&there, text))
        *ok = place_write(j->root, path, text, 0600, err);
    setup_text_free(&there);
    return json_string(hex);
}

/* `begun`: the file may still be as it is on the disk. */
static json_t *journal_entry(const struct setup_journal *j, const struct setup_file *f, bool begun, bool *ok,
                             struct err *err)
{
    json_t *after = json_array(), *entry = json_object();

    json_array_append_new(after, copy_write(j, &f->want, ok, err));
    if (begun)
        json_array_append_new(after, copy_write(j, &f->disk, ok, err));
    json_object_set_new(entry, "path", json_string(f->path));
    json_object_set_new(entry, "mode", json_integer(f->mode));
    json_object_set_new(entry, "before", copy_write(j, &f->base, ok, err));
    json_object_set_new(entry, "after", after);
    return entry;
}

static bool journal_write(const struct setup_journal *j, json_t *files, struct err *err)
{
    json_t *folders = json_array();
    _cleanup_free_ char *path = journal_path(j, JOURNAL);

    for (size_t i = 0; i < j->folders_count; i++)
        json_array_append_new(folders, json_string(j->folders[i]));
    json_t *doc = json_pack("{s:i, s:O, s:o}", "version", 1, "files", files, "folders", folders);
    char *text = json_dumps(doc, JSON_INDENT(2));
    struct setup_text whole = {.exists = true};
    buf_adds(&whole.bytes, text);
    bool ok = place_write(j->root, path, &whole, 0600, err);
    setup_text_free(&whole);
    free(text);
    json_decref(doc);
    return ok;
}

/* An entry of a file that a hand has changed stays as it was. */
static void journal_keep(const struct setup_journal *j, const char *path, json_t *files)
{
    _cleanup_free_ char *name = journal_path(j, JOURNAL);
    struct setup_text text = {0};
    const char *of;
    json_t *entry;
    size_t i;

    if (!place_read(j->root, name, &text, NULL) || !text.exists)
        return;
    json_t *doc = json_loadb(text.bytes.data, text.bytes.len, 0, NULL);
    json_array_foreach(json_object_get(doc, "files"), i, entry) {
        of = json_string_value(json_object_get(entry, "path"));
        if (of && strcmp(of, path) == 0)
            json_array_append(files, entry);
    }
    json_decref(doc);
    setup_text_free(&text);
}

bool journal_begin(struct setup_journal *j, const struct setup_view *v, struct err *err)
{
    json_t *files = json_array();
    bool ok = true;

    for (size_t i = 0; ok && i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        if (f->conflict)
            journal_keep(j, f->path, files);
        if (f->conflict || (!f->ours && setup_text_same(&f->want, &f->disk)))
            continue;
        json_array_append_new(files, journal_entry(j, f, true, &ok, err));
        ok = ok && (!f->want.exists || place_absent_folders(j->root, f->path, journal_add_folder, j, err));
    }
    ok = ok && journal_write(j, files, err);
    json_decref(files);
    for (size_t i = 0; ok && i < j->folders_count; i++)
        ok = place_make_folder(j->root, j->folders[i], 0755, err);
    return ok || err_wrap(err, "nothing was changed");
}

bool journal_end(struct setup_journal *j, const struct setup_view *v, struct err *err)
{
    json_t *files = json_array();
    bool ok = true, wants = false;

    for (size_t i = 0; ok && i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        if (f->conflict)
            journal_keep(j, f->path, files);
        else if (!setup_text_same(&f->want, &f->base))
            json_array_append_new(files, journal_entry(j, f, false, &ok, err));
    }
    for (size_t i = j->folders_count; i-- > 0;)
        place_remove_folder(j->root, j->folders[i]);
    wants = json_array_size(files) > 0;
    ok = ok && (!wants || journal_write(j, files, err));
    if (ok)
        journal_tidy(j, files);
    json_decref(files);
    return ok;
}

void journal_close(struct setup_journal *j)
{
    if (j->lock >= 0) {
        _cleanup_free_ char *own = xasprintf("%s/%s", SETUP_JOURNAL_FOLDER, j->engine);
        place_remove_folder(j->root, own); /* if nothing is set up */
        place_remove_folder(j->root, SETUP_JOURNAL_FOLDER);
        close(j->lock);
    }
    for (size_t i = 0; i < j->folders_count; i++)
        free(j->folders[i]);
    free(j->folders);
    j->folders = NULL;
    j->lock = -1;
}
