/* A pull that is over. */
#include "proxy/seen/pull_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/seen/pull_print.h"

#include <string.h>

void going_publish(const struct pulls *p, enum pull_event event, const struct pull_seen *seen)
{
    ON_LOOP(p->loop);
    for (int i = 0; i < p->subscriber_count; i++)
        p->subscribers[i].fn(p->subscribers[i].arg, event, seen);
}

/* What was not healed by a later request. The caller frees it. */
static char *find_cause(const struct pull_going *g, enum pulled_result *result)
{
    char text[DIGEST_TEXT_MAX];

    *result = PULLED_OK;
    if (g->failure) {
        *result = PULLED_FAILED;
        return xstrdup(g->failure);
    }
    for (int i = 0; i < g->layer_count; i++) {
        const struct pull_layer *l = &g->layers[i];
        if (l->done || (!l->failure && !l->cut))
            continue;
        *result = l->cut ? PULLED_CUT_OFF : PULLED_FAILED;
        if (l->failure)
            return xasprintf("%s: %s", digest_format(&l->digest, text), l->failure);
        return xasprintf("%s: the client closed the connection after %lld of %lld bytes",
                         digest_format(&l->digest, text), (long long)l->sent, (long long)l->size);
    }
    return NULL;
}

static void pull_log(struct pulls *p, const struct pull_seen *s)
{
    int64_t now = clock_mono_ms() / 1000;
    _cleanup_buf_ struct buf line = {0};

    if (now != p->line_s) {
        if (p->lines_dropped > 0)
            log_info("... and %d more pulls in one second (entrepot pulls lists the last %d)", p->lines_dropped,
                     (int)PULLS_KEPT);
        p->line_s = now;
        p->lines = p->lines_dropped = 0;
    }
    if (p->lines++ >= PULL_LINES_MAX) {
        p->lines_dropped++;
        return;
    }
    pull_print_line(&line, s);
    log_info("%s", line.data);
}

/* Takes over the cause. */
static const struct pull_seen *pull_keep(struct pulls *p, struct pull_seen *s)
{
    struct pull_over **slot = &p->ring[p->numbers % PULLS_KEPT];

    HOLDS(&p->lock);
    if (*slot)
        free((*slot)->seen.cause);
    else
        *slot = xcalloc(1, sizeof(**slot));
    s->number = ++p->numbers;
    (*slot)->seen = *s;
    s->cause = NULL;
    return &(*slot)->seen;
}

void going_end(struct pulls *p, struct pull_going *g)
{
    const struct pull_seen *kept = NULL;

    ON_LOOP(p->loop);
    pthread_mutex_lock(&p->lock);
    g->seen.cause = find_cause(g, &g->seen.result);
    if (g->got || g->seen.result != PULLED_OK)
        kept = pull_keep(p, &g->seen);
    going_free(p, g);
    pthread_mutex_unlock(&p->lock);
    if (!kept)
        return;
    atomic_fetch_add_explicit(&p->counts[kept->result], 1, memory_order_relaxed);
    pull_log(p, kept);
    going_publish(p, PULL_ENDS, kept);
}
