#include "cli/setup/setup.h"

#include "cli/setup/intercept.h"
#include "cli/setup/journal.h"
#include "cli/setup/lines.h"
#include "cli/setup/place.h"
#include "cli/setup/probe.h"

#include <string.h>

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

/* What makes an engine read what is about to change. */
struct setup_reading {
    bool units;                 /* systemd has to read its units before that */
    const char *const *command; /* systemctl's arguments; NULL: nothing need */
};

static struct setup_reading setup_reading_of(const struct setup_engine *e, const struct setup_view *v,
                                             const struct setup_run *r)
{
    struct setup_reading reading = {false, r->reread ? e->restart : NULL};

    for (size_t i = 0; i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        bool proxy = e->units && setup_is_proxy_file(f->path);
        if (setup_text_same(&f->disk, &f->want))
            continue;
        reading.units = reading.units || proxy;
        if (proxy)
            reading.command = e->restart;
        else if (!reading.command)
            reading.command = e->reload(f->path);
    }
    return reading;
}

static bool run_systemctl(const char *const *arguments, struct err *err)
{
    const char *argv[8] = {"systemctl"};

    for (size_t n = 1; *arguments && n + 1 < ARRAY_LEN(argv); arguments++)
        argv[n++] = *arguments;
    return setup_run_program(argv, err);
}

static bool setup_have_read(struct setup_reading reading, const struct setup_run *r, json_t *report, struct err *err)
{
    static const char *const daemon_reload[] = {"daemon-reload", NULL};
    _cleanup_buf_ struct buf command = {0};

    if (!reading.command)
        return true;
    buf_addf(&command, "%ssystemctl", reading.units ? "systemctl daemon-reload && " : "");
    for (const char *const *a = reading.command; *a; a++)
        buf_addf(&command, " %s", *a);
    json_object_set_new(report, "restart", json_string(command.data));
    json_object_set_new(report, "restarted", json_boolean(r->restart));
    return !r->restart ||
           ((!reading.units || run_systemctl(daemon_reload, err)) && run_systemctl(reading.command, err));
}

/* ---- writing ---- */

/* From the disk to what is wanted. */
static bool setup_write(const struct setup_engine *e, struct setup_journal *j, struct setup_view *v,
                        const struct setup_run *r, json_t *report, struct err *err)
{
    struct setup_reading reading = setup_reading_of(e, v, r);

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
    return (!e->settle || e->settle(v, err)) && journal_end(j, v, err) && setup_have_read(reading, r, report, err);
}

bool setup_plan_proxy(const struct setup_engine *e, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    return (!e->plan_proxy || e->plan_proxy(v, t, err)) && (!e->units || units_plan_proxy(e, v, t, err));
}

static bool setup_plan(const struct setup_engine *e, struct setup_view *v, const struct setup_target *t,
                       struct err *err)
{
    return t->proxy && e != &SETUP_TRUST ? setup_plan_proxy(e, v, t, err) : e->plan(v, t, err);
}

/* Nothing is to be written. */
static bool setup_leave_all(const struct setup_engine *e, struct setup_view *v, const struct setup_run *r,
                            json_t *report, struct err *err)
{
    return (!e->settle || e->settle(v, err)) && setup_have_read(setup_reading_of(e, v, r), r, report, err);
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
    if (!setup_plan(e, &v, t, err))
        return false;
    if (r->dry)
        report_diff(report, &v);
    bool ok =
        r->dry || (setup_changes(&v) ? setup_write(e, &j, &v, r, report, err) : setup_leave_all(e, &v, r, report, err));
    report_notes(report, &v);
    return ok;
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
    if (r->dry)
        report_diff(report, &v);
    bool ok = r->dry || setup_write(e, &j, &v, r, report, err);
    report_notes(report, &v);
    if (!ok)
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

    if (!setup_plan(e, &v, t, err)) /* of the files as they are */
        return false;
    report_notes(report, &v);
    if (setup_changes(&v))
        return err_set(err, ERR_NOT_FOUND, "it is not set up for %s: run entrepot setup %s%s", t->address, e->name,
                       t->proxy ? " --intercept" : "");
    if ((t->proxy && !bundle_check(t, r, err)) || !setup_probe(t, e->way, r->root, answer, sizeof(answer), err))
        return false;
    report_add(report, "notes", answer);
    return v.left == 0 || err_set(err, ERR_NOT_FOUND, "some registries are not led to entrepot, see above");
}
