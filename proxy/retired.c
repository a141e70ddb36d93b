/* Listeners that another configuration does not have any more: their connections end with the answer under way, and
 * they are freed after the last one. Each second the loops are asked whether they still have any. A client may be about
 * to send its next request: that is answered, and says that the connection ends; what is idle for longer is closed. */
#include "proxy/private.h"

#include "base/assert.h"
#include "base/clock.h"

enum { RETIRED_MAX = 1024, IDLE_MS = 2000 };

struct retired {
    struct server *server;
    struct retired_place {
        struct place place;
        int64_t since_ms; /* monotonic */
    } list[RETIRED_MAX];
    int count;
    bool looking;
};

/* A question to all loops. */
struct retired_question {
    struct retired *retired;
    struct listener *list[RETIRED_MAX];
    bool idle[RETIRED_MAX]; /* those between two requests are closed */
    int count;
    atomic_bool busy[RETIRED_MAX];
    atomic_int left;
    struct retired_share {
        struct retired_question *question;
        struct serve_loop *sl;
    } shares[SERVE_LOOPS_MAX];
};

struct retired *retired_new(struct server *s)
{
    struct retired *r = xcalloc(1, sizeof(*r));

    r->server = s;
    return r;
}

void retired_free(struct retired *r)
{
    for (int i = 0; i < r->count; i++)
        place_free(&r->list[i].place);
    free(r);
}

bool retired_has_room(const struct retired *r)
{
    return r->count + LISTENERS_MAX <= RETIRED_MAX;
}

void retired_add(struct retired *r, const struct listeners_change *change)
{
    for (int i = 0; i < change->gone_count; i++)
        r->list[r->count++] = (struct retired_place){change->gone[i], clock_mono_ms()};
}

static void all_have_looked(void *arg)
{
    struct retired_question *q = arg;
    struct retired *r = q->retired;

    ON_LOOP(r->server->loop);
    for (int i = 0; i < q->count; i++)
        for (int k = 0; k < r->count && !atomic_load(&q->busy[i]); k++)
            if (r->list[k].place.listener == q->list[i]) {
                place_free(&r->list[k].place);
                r->list[k] = r->list[--r->count];
                break;
            }
    r->looking = false;
    free(q);
}

static void look_on_loop(void *arg)
{
    struct retired_share *share = arg;
    struct retired_question *q = share->question;

    ON_LOOP(share->sl->loop);
    for (int i = 0; i < q->count; i++)
        if (http_server_part(share->sl->http, q->list[i], q->idle[i]))
            atomic_store(&q->busy[i], true);
    if (atomic_fetch_sub(&q->left, 1) == 1)
        loop_post(q->retired->server->loop, all_have_looked, q);
}

void retired_look(struct retired *r)
{
    struct proxy *p = &r->server->proxy;

    ON_LOOP(r->server->loop);
    if (r->count == 0 || r->looking)
        return;
    struct retired_question *q = xcalloc(1, sizeof(*q));
    q->retired = r;
    for (int i = 0; i < r->count; i++) {
        q->idle[i] = clock_mono_ms() - r->list[i].since_ms > IDLE_MS;
        q->list[q->count++] = r->list[i].place.listener;
    }
    atomic_init(&q->left, p->serve_loop_count);
    r->looking = true;
    for (int i = 0; i < p->serve_loop_count; i++) {
        q->shares[i] = (struct retired_share){q, &p->serve_loops[i]};
        loop_post(p->serve_loops[i].loop, look_on_loop, &q->shares[i]);
    }
}
