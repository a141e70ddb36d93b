/* How long clients wait for upstream when an older copy can be served. */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <event2/event.h>

enum { PATIENCE_MS = 2000 };

static void on_patience(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct fetch *f = arg;

    if (f->step == STEP_DONE) /* all waiters are answered; it waits for the index alone */
        return;
    f->type->lose_patience(f);
}

void fetch_be_patient(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    if (!f->patience)
        f->patience = event_new(loop_base(f->fetcher->loop), -1, 0, on_patience, f);
    event_add(f->patience, &(struct timeval){.tv_sec = PATIENCE_MS / 1000, .tv_usec = PATIENCE_MS % 1000 * 1000});
}
