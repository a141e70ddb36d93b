#include "cli/setup/setup.h"

#include "cli/setup/journal.h"
#include "cli/setup/lines.h"
#include "cli/setup/place.h"
#include "cli/setup/probe.h"

#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

/* ---- the report ---- */

static void report_add(json_t *report, const char *key, const char *text)
{
    json_t *list = json_object_get(report, key);

    if (!list) {
        list = json_array();
        json_object_set_new(report, key, list);
    }
    json_array_append_new(list, json_string(text));
}

static void report_notes(json_t *report, const struct setup_view *v)
{
    for (size_t i = 0; i < v->notes_count; i++)
        report_add(report, "notes", v->notes[i]);
}

static void report_diff(json_t *report, const struct setup_view *v)
{
    _cleanup_buf_ struct buf out = {0};

    for (size_t i = 0; i < v->count; i++)
        setup_diff(&out, v->files[i]->path, &v->files[i]->disk, &v->files[i]->want);
    json_t *diff = out.len > 0 ? json_stringn(out.data, out.len) : json_string("");
    json_object_set_new(report, "diff", diff ? diff : json_string("(a file is not UTF-8)\n"));
}

static bool setup_changes(const struct setup_view *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (!setup_text_same(&v->files[i]->disk, &v->files[i]->want))
            return true;
    return false;
}

/* ---- running engines ---- */

static bool run_systemctl(const char *const *arguments, struct err *err)
{
    char *argv[8] = {"systemctl"};
    size_t n = 1;
    int status;
    pid_t pid;

    for (; *arguments && n + 1 < ARRAY_LEN(argv); arguments++)
        argv[n++] = (char *)(uintptr_t)*arguments;
    errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (errno != 0)
        return err_errno(err, ERR_IO, "running systemctl");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(err, ERR_IO, "waiting for systemctl");
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) || err_set(err, ERR_IO, "systemctl %s failed", argv[1]);
}

/* What makes the engine read what is about to change; NULL: nothing need. */
static const char *const *setup_reload_for(const struct setup_engine *e, const struct setup_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        const char *const *reload = setup_text_same(&f->disk, &f->want) ? NULL : e->reload(f->path);
        if (reload)
            return reload;
    }
    return NULL;
}

static bool setup_reload(const char *const *reload, const struct setup_run *r, json_t *report, struct err *err)
{
    _cleanup_buf_ struct buf command = {0};

    if (!reload)
        return true;
    buf_adds(&command, "systemctl");
    for (const char *const *a = reload; *a; a++)
        buf_addf(&command, " %s", *a);
    json_object_set_new(report, "restart", json_string(command.data));
    json_object_set_new(report, "restarted", json_boolean(r->restart));
    return !r->restart || run_systemctl(reload, err);
}

/* ---- writing ---- */

/* From the disk to what is wanted. */
static bool setup_write(const struct setup_engine *e, struct setup_journal *j, struct setup_view *v,
                        const struct setup_run *r, json_t *report, struct err *err)
{
    const char *const *reload = setup_reload_for(e, v);

    if (!journal_begin(j, v, err))
        return false;
    for (size_t i = 0; i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        if (setup_text_same(&f->disk, &f->want))
            continue;
        if (!place_write(v->root, f->path, &f->want, f->mode, err))
            return err_append(err, "; run it again, or with --undo");
        report_add(report, "changed", f->path);
    }
    return journal_end(j, v, err) && setup_reload(reload, r, report, err);
}

bool setup_apply(const struct setup_engine *e, const struct setup_target *t, const struct setup_run *r, json_t *report,
                 struct err *err)
{
    _cleanup_view_ struct setup_view v = {.root = r->root};
    _cleanup_journal_ struct setup_journal j = {.lock = -1};

    if (!journal_open(&j, r->root, e->name, !r->dry, &v, err))
        return false;
    for (size_t i = 0; i < v.count; i++)
        if (v.files[i]->conflict)
            return err_set(err, ERR_BUSY,
                           "%s: %s: put that line right, or remove what setup wrote; nothing was changed",
                           v.files[i]->path, v.files[i]->conflict);
    if (!e->plan(&v, t, err))
        return false;
    report_notes(report, &v);
    if (r->dry)
        report_diff(report, &v);
    return r->dry || !setup_changes(&v) || setup_write(e, &j, &v, r, report, err);
}

bool setup_undo(const struct setup_engine *e, const struct setup_run *r, json_t *report, struct err *err)
{
    _cleanup_view_ struct setup_view v = {.root = r->root};
    _cleanup_journal_ struct setup_journal j = {.lock = -1};
    const struct setup_file *left = NULL;

    if (!journal_exists(r->root, e->name)) {
        if (!r->dry)
            place_remove_folder(r->root,
                                SETUP_JOURNAL_FOLDER); /* of a process that was killed before it had a journal */
        return true;
    }
    if (!journal_open(&j, r->root, e->name, !r->dry, &v, err))
        return false;
    for (size_t i = 0; i < v.count; i++) {
        if (!v.files[i]->conflict)
            continue;
        left = v.files[i];
        setup_note(&v, "%s is left as it is: %s", left->path, left->conflict);
    }
    report_notes(report, &v);
    if (r->dry)
        report_diff(report, &v);
    else if (!setup_write(e, &j, &v, r, report, err))
        return false;
    return !left ||
           err_set(err, ERR_BUSY,
                   "%s was changed by hand since: put the line right, or remove by hand what setup wrote to it, and "
                   "%s%s/%s",
                   left->path, r->root, SETUP_JOURNAL_FOLDER, e->name);
}

bool setup_check(const struct setup_engine *e, const struct setup_target *t, const struct setup_run *r, json_t *report,
                 struct err *err)
{
    _cleanup_view_ struct setup_view v = {.root = r->root};
    char answer[256];

    if (!e->plan(&v, t, err)) /* of the files as they are */
        return false;
    report_notes(report, &v);
    if (setup_changes(&v))
        return err_set(err, ERR_NOT_FOUND, "it is not set up for %s: run entrepot setup %s", t->address, e->name);
    if (!setup_probe(t, e->way, answer, sizeof(answer), err))
        return false;
    report_add(report, "notes", answer);
    return v.left == 0 || err_set(err, ERR_NOT_FOUND, "some registries are not led to entrepot, see above");
}
