/* journal.h - what `entrepot setup` has changed for an engine, so that it can be undone: ROOT/var/lib/entrepot-setup,
 * readable by root alone. (Not in the cache's folder, which the daemon's user can write to: what is in the journal gets
 * into files of root.)
 *
 *     ENGINE/journal.json   the files, and the folders that were made for them
 *     ENGINE/<sha256>       copies of them: as they were, and as they were written
 *
 * The journal is written before the files, with both the content that is there and the content that will be, and once
 * more when all is done. So it is right whenever a process is killed: a file is one or the other, and without us it was
 * the same. One writer at a time (a lock). One thread.
 */
#ifndef ENTREPOT_CLI_SETUP_JOURNAL_H
#define ENTREPOT_CLI_SETUP_JOURNAL_H

#include "cli/setup/view.h"

#include <jansson.h>

#define SETUP_JOURNAL_FOLDER "/var/lib/entrepot-setup"

struct setup_journal {
    const char *root, *engine;
    int lock; /* -1: not held; nothing will be written */
    char **folders;
    size_t folders_count, folders_cap;
};

/* Reads the journal into the view: its files, with their `base` or a conflict. An absent journal is empty. */
bool journal_open(struct setup_journal *j, const char *root, const char *engine, bool write, struct setup_view *v,
                  struct err *err);
void journal_close(struct setup_journal *j);
#define _cleanup_journal_ _cleanup_(journal_close)

/* Notes that the files of the view are about to change from `disk` to `want`, and makes the folders they need. */
bool journal_begin(struct setup_journal *j, const struct setup_view *v, struct err *err);
/* They have changed. What no longer differs from its `base` is forgotten, and folders that are empty are removed. */
bool journal_end(struct setup_journal *j, const struct setup_view *v, struct err *err);
/* Whether there is one. */
bool journal_exists(const char *root, const char *engine);

#endif
