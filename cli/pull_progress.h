/* pull_progress.h - what `entrepot pull` shows: on a terminal a line for every layer on its way, below the lines of
 * what is done; elsewhere plain lines. One thread calls; on a terminal another draws, and
 * takes the signals.
 */
#ifndef ENTREPOT_CLI_PULL_PROGRESS_H
#define ENTREPOT_CLI_PULL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

struct pull_progress;

/* `live`: stdout is a terminal. */
struct pull_progress *pull_progress_new(bool live);
void pull_progress_event(struct pull_progress *p, const json_t *event);
/* Takes the live lines away. */
void pull_progress_free(struct pull_progress *p);
/* Whether stdout is a terminal on which lines can be taken back. */
bool pull_progress_is_live(void);

#endif
