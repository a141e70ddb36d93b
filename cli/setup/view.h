/* view.h - the files of one engine, as they are and as they should be. Nothing is written here. One thread.
 *
 *     disk   what is there now
 *     base   what would be there without us: the disk, unless an earlier setup has changed it
 *     want   what should be there; begins as `base`
 */
#ifndef ENTREPOT_CLI_SETUP_VIEW_H
#define ENTREPOT_CLI_SETUP_VIEW_H

#include "cli/setup/text.h"

#include "base/err.h"

#include <sys/types.h>

struct setup_file {
    char *path; /* as the engine names it */
    struct setup_text disk, base, want;
    bool ours;      /* the journal has it: an earlier setup has written it */
    char *conflict; /* why `base` is not known: a hand has changed what an earlier setup wrote; NULL: it is known */
    mode_t mode;    /* of a new file */
};

struct setup_view {
    const char *root;
    struct setup_file **files; /* in the order in which they are to be written */
    size_t count, cap;
    char **notes;
    size_t notes_count, notes_cap;
    size_t left; /* of them, of what is left as it is and does not lead to entrepot */
};

void setup_view_free(struct setup_view *v);
#define _cleanup_view_ _cleanup_(setup_view_free)

/* The file, read on first use; the view's. NULL: it cannot be read (ERR_IO), or is too large for a configuration. */
struct setup_file *setup_view_file(struct setup_view *v, const char *path, struct err *err);
/* Its `base`, for an engine; the view's. */
const struct setup_text *setup_view_read(struct setup_view *v, const char *path, struct err *err);
/* Sets its `want`. A new file gets this mode. */
bool setup_view_write(struct setup_view *v, const char *path, const struct buf *bytes, mode_t mode, struct err *err);
/* The names in a folder that match a pattern (fnmatch(3)) and are there without us, sorted: calls `each` with the
 * full path until it returns false. An absent folder is empty. */
bool setup_view_list(struct setup_view *v, const char *folder, const char *pattern,
                     bool (*each)(void *arg, struct setup_view *v, const char *path, struct err *err), void *arg,
                     struct err *err);
/* Whether there is such a folder with something in it, not counting what only we have there. */
bool setup_view_has_content(struct setup_view *v, const char *folder);
void setup_note(struct setup_view *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for what others have written, which is left as it is: what to do about it by hand. */
void setup_leave(struct setup_view *v, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
