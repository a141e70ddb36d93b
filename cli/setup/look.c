/* Whether an engine is led to entrepot, from its files alone. */
#include "cli/setup/look.h"

#include "cli/setup/intercept.h"
#include "cli/setup/journal.h"

static bool look_plan(const struct setup_engine *e, const struct setup_target *t, struct setup_view *v, struct err *err)
{
    if (!(t->proxy ? setup_plan_proxy(e, v, t, err) : e->plan(v, t, err))) /* of the files as they are */
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (!setup_text_same(&v->files[i]->disk, &v->files[i]->want))
            return err_set(err, ERR_NOT_FOUND, "%s does not lead %s to %s", v->files[i]->path, e->name, t->address);
    return true;
}

/* What has become of what an earlier setup wrote. */
static enum setup_state look_at_journal(const struct setup_engine *e, const char *root, struct err *err)
{
    _cleanup_view_ struct setup_view v = {.root = root};
    _cleanup_journal_ struct setup_journal j = {.lock = -1};

    if (!journal_open(&j, root, e->name, false, &v, err))
        return SETUP_UNKNOWN;
    for (size_t i = 0; i < v.count; i++) {
        const struct setup_file *f = v.files[i];
        if (f->conflict)
            err_set(err, ERR_BUSY, "%s: %s", f->path, f->conflict);
        else if (setup_text_same(&f->disk, &f->base))
            err_set(err, ERR_BUSY, "%s no longer has what setup wrote to it", f->path);
        else
            continue;
        return SETUP_EDITED;
    }
    return SETUP_OTHERWISE;
}

enum setup_state setup_look(const struct setup_engine *e, const struct setup_target *t, const char *root,
                            struct err *why)
{
    _cleanup_view_ struct setup_view v = {.root = root};
    struct err past = {0};
    enum setup_state state;

    if (look_plan(e, t, &v, why)) {
        if (v.left == 0)
            return SETUP_WHOLE;
        err_set(why, ERR_NOT_FOUND, "%s", v.notes[0]);
        return SETUP_PARTLY;
    }
    if (!journal_exists(root, e->name))
        return why->code == ERR_NOT_FOUND ? SETUP_ABSENT : SETUP_UNKNOWN;
    state = look_at_journal(e, root, &past);
    if (state != SETUP_OTHERWISE)
        *why = past;
    return state;
}
