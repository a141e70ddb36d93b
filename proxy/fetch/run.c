/* The steps of a fetch, one after the other, up to its end. */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

static const char *const STEP_NAMES[] = {"lookup", "verify",  "prove", "revalidate", "ask", "receive",
                                         "store",  "deliver", "fail",  "done",       "wait"};

static void fetch_free(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    LIST_REMOVE(f, entry);
    if (f->type->clear)
        f->type->clear(f);
    if (f->again)
        event_free(f->again);
    if (f->patience)
        event_free(f->patience);
    if (f->desertion)
        event_free(f->desertion);
    fetch_home_free(f);
    fetch_result_clear(&f->result);
    buf_free(&f->received);
    free(f->key);
    fetch_want_clear(&f->want);
    struct fetcher *fr = f->fetcher;
    free(f);
    if (fr->stopping && LIST_EMPTY(&fr->active))
        loop_stop(fr->loop);
}

static bool is_of_another_client(const struct fetch *f, const struct fetch_waiter *w)
{
    return w->want.client && f->want.client && strcmp(w->want.client->client_id, f->want.client->client_id) != 0;
}

/* That one client is refused says nothing about another. */
static void let_other_clients_try(struct fetch *f)
{
    if (f->result.err.code == ERR_DENIED && f->want.is_private && f->want.kind != FETCH_ADMIT && !f->fetcher->stopping)
        fetch_part_with(f, is_of_another_client, fetch_begin_again);
}

static bool is_reader(const struct fetch *f UNUSED, const struct fetch_waiter *w)
{
    return w->want.kind == FETCH_MANIFEST;
}

/* A HEAD was first, and has not brought the manifest: GETs that joined it start again. */
static void let_readers_ask(struct fetch *f)
{
    if (f->want.kind == FETCH_MANIFEST_HEAD && !f->result.body && f->result.err.code == ERR_OK && !f->fetcher->stopping)
        fetch_part_with(f, is_reader, fetch_begin_again);
}

static void let_later_ones_begin(struct fetch *f)
{
    while (!STAILQ_EMPTY(&f->later)) {
        struct fetch_waiter *w = STAILQ_FIRST(&f->later);
        STAILQ_REMOVE_HEAD(&f->later, entry);
        if (f->fetcher->stopping)
            fetch_answer_one(w, &f->result, NULL);
        else
            fetch_again(w);
    }
}

const char *fetch_step_name(enum step step)
{
    return STEP_NAMES[step];
}

void fetch_run(struct fetch *f, enum step step)
{
    ON_LOOP(f->fetcher->loop);
    while (step != STEP_WAIT) {
        log_debug("%s %s: %s", f->type->name, f->key, STEP_NAMES[step]);
        f->step = step;
        if (step == STEP_DONE) {
            fetch_note_absence(f);
            let_other_clients_try(f);
            let_readers_ask(f);
            fetch_answer(f, NULL);
            let_later_ones_begin(f);
            if (!f->type->stays || !f->type->stays(f))
                fetch_free(f);
            return;
        }
        step = f->type->run[step](f);
    }
}
