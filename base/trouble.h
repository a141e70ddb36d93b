/* trouble.h - something that goes wrong now and then: since when, and why it did the last time.
 *
 *     note ── note ── note ─────────────── quiet for TROUBLE_SAME_MS ─────────────── note
 *     └ since                                                                        └ since
 *
 * It is over when something of the kind that began later has gone well, or after a while without a note; how long, says
 * who looks. Times are monotonic milliseconds. Any thread.
 */
#ifndef ENTREPOT_BASE_TROUBLE_H
#define ENTREPOT_BASE_TROUBLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { TROUBLE_WHY_MAX = 199, TROUBLE_SAME_MS = 10 * 60 * 1000 };

struct trouble_seen {
    int64_t since_ms, last_ms; /* of the first and the last note */
    char why[TROUBLE_WHY_MAX + 1];
};

struct trouble {
    pthread_mutex_t lock; /* for everything */
    bool any, over;
    struct trouble_seen seen;
};

void trouble_init(struct trouble *t);
void trouble_destroy(struct trouble *t);
/* It went wrong; the text is copied. */
void trouble_note(struct trouble *t, int64_t now_ms, const char *why);
/* What began at `begun_ms` has gone well. */
void trouble_pass(struct trouble *t, int64_t begun_ms);
/* False: there was none, or it is over. */
bool trouble_look(struct trouble *t, struct trouble_seen *out);

#endif
