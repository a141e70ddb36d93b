#include "cluster/members_private.h"

#include "base/log.h"
#include "base/visible.h"

#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

void members_note(const struct members_place *p, struct members_note *n, const char *from, const char *why)
{
    bool ok = why == NULL;

    if (n->told && n->ok == ok && (ok || strncmp(n->why, why, MEMBERS_WHY_MAX) == 0))
        return;
    if (ok && n->told && !n->ok)
        log_info("cluster: %s answers", from);
    else if (!ok && (n->ok || !n->told))
        log_limited(LOG_LEVEL_WARN, "members", "cluster: %s: %s; %s", from, why,
                    peers_has_others(p->peers) ? "the nodes that were known stay"
                                               : "until it answers, this node is alone");
    n->told = true;
    n->ok = ok;
    snprintf(n->why, sizeof(n->why), "%s", ok ? "" : why);
    n->why[text_whole(n->why, strlen(n->why))] = '\0';
    peers_note_source(p->peers, from, ok, n->why);
}

/* ---- pauses ---- */

static void on_retry_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct members_retry *r = arg;

    r->fn(r->arg);
}

void members_retry_init(struct members_retry *r, struct loop *loop, void (*fn)(void *), void *arg)
{
    *r = (struct members_retry){.fn = fn, .arg = arg};
    r->timer = event_new(loop_base(loop), -1, 0, on_retry_timer, r);
    if (!r->timer)
        abort(); /* as without memory anywhere */
}

void members_retry_clear(struct members_retry *r)
{
    if (r->timer)
        event_free(r->timer);
    r->timer = NULL;
}

void members_retry_in(struct members_retry *r, int64_t ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(r->timer, &tv);
}

int64_t members_retry_pause(int failures, int64_t max_ms, uint32_t random)
{
    int64_t pause = MIN((int64_t)MEMBERS_RETRY_MS << MIN(MAX(failures - 1, 0), 16), max_ms);

    return pause / 2 + (int64_t)(random % (uint32_t)(pause / 2 + 1));
}

void members_retry_failed(struct members_retry *r, int64_t max_ms)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = 0; /* at once after the machine's start */
    r->failures++;
    members_retry_in(r, members_retry_pause(r->failures, max_ms, random));
}
