/* pull_progress.h - the output of `entrepot pull`: on a terminal a progress bar for each running transfer, below the
 * lines of what is done; elsewhere plain lines. Called by one thread; on a terminal a second thread draws and handles
 * signals.
 */
#ifndef ENTREPOT_CLI_PULL_PROGRESS_H
#define ENTREPOT_CLI_PULL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

struct pull_progress;

/* `live`: stdout is a terminal. */
struct pull_progress *pull_progress_new(bool live);
void pull_progress_event(struct pull_progress *p, const json_t *event);
/* Erases the progress bars. */
void pull_progress_free(struct pull_progress *p);
/* Whether stdout is a terminal on which lines can be erased. */
bool pull_progress_is_live(void);

#endif
