/* Followers: what each may read, and when it is to be told. */
#include "tests/tools/model/arriving.h"

#include "base/io.h"

#include <string.h>

static int64_t readable_by(const struct reader *r)
{
    const struct slot *s = r->slot;
    enum ingest_state state = ingest_state(s->i);
    int64_t withheld = MAX(s->size - 1, (int64_t)0) / INGEST_WITHHELD * INGEST_WITHHELD;

    if (ingest_is_verified(state))
        return MIN(r->end, s->size) - r->at;
    if (s->size < 0)
        return 0;
    return MAX(MIN(r->at + slot_present(s, r->at), r->all ? MIN(r->end, withheld) : r->end) - r->at, (int64_t)0);
}

static bool has_ended_without(const struct slot *s)
{
    enum ingest_state state = ingest_state(s->i);

    return state == INGEST_FAILED || state == INGEST_PAUSED;
}

/* What follower_available() should say. */
static int64_t available_to(const struct reader *r)
{
    int64_t n = readable_by(r);

    return n == 0 && has_ended_without(r->slot) ? -1 : n;
}

static int is_kept(const struct slot *s)
{
    enum ingest_state state = ingest_state(s->i);

    return state == INGEST_STORED ? 1 : state == INGEST_NOT_STORED || has_ended_without(s) ? -1 : 0;
}

static void on_ready(void *arg)
{
    struct reader *r = arg;

    r->waits = r->waits_kept = false;
    r->told = true;
}

void reader_join(struct slot *s, int64_t first, int64_t end)
{
    bool most = s->size < 0 || end - first > s->size / 2;
    int k = 0;

    while (k < FOLLOWERS && s->readers[k].f)
        k++;
    if (k == FOLLOWERS)
        return;
    struct reader *r = &s->readers[k];
    *r = (struct reader){.slot = s, .first = first, .at = first, .end = end, .loop = rnd(2) ? near : far};
    r->all = most && (s->size < 0 || end >= s->size);
    r->f = ingest_follow(s->i, r->loop, first, end - 1, on_ready, r);
}

static void note_waiting(struct reader *r)
{
    struct slot *s = r->slot;

    s->want = s->want || (!r->waits && !r->told && s->wanted == 0 && ingest_state(s->i) == INGEST_RECEIVING);
}

void reader_read(struct reader *r)
{
    static char got[1 << 18];
    struct slot *s = r->slot;
    int64_t expected = available_to(r);
    struct err err;
    int64_t n = follower_available(r->f, &err);

    if (n != expected && (n < INGEST_PRESENT_MAX || n > expected)) /* of more, as many at least */
        life_fail("blob %d: %lld bytes may be read at %lld of [%lld, %lld), and %lld should", s->blob, (long long)n,
                  (long long)r->at, (long long)r->first, (long long)r->end, (long long)expected);
    if (n == 0) {
        note_waiting(r);
        r->waits = true;
    }
    if (n <= 0)
        return;
    n = rnd(3) ? n : 1 + (int64_t)rnd((uint64_t)n);
    n = MIN(n, (int64_t)sizeof(got));
    if (r->first == 0 && r->at + n == s->size && r->end >= s->size && !gen_is_right(s->gen))
        life_fail("blob %d: a client gets all of a wrong one", s->blob);
    if (io_pread(follower_fd(r->f), got, (size_t)n, r->at) != n ||
        memcmp(got, S->bytes[s->gen] + r->at, (size_t)n) != 0)
        life_fail("blob %d: a client gets other bytes at %lld than were sent", s->blob, (long long)r->at);
    follower_advance(r->f, n);
    r->at += n;
    if (follower_position(r->f) != r->at)
        life_fail("blob %d: a follower is at %lld", s->blob, (long long)follower_position(r->f));
}

void reader_ask(struct reader *r)
{
    struct slot *s = r->slot;
    bool verified = ingest_is_verified(ingest_state(s->i));
    int may = verified || readable_by(r) > 0 ? 1 : has_ended_without(s) ? -1 : 0;
    struct err err;

    if (follower_size(r->f) != (verified ? s->size : -1))
        life_fail("blob %d: a follower is told size %lld", s->blob, (long long)follower_size(r->f));
    if (rnd(2)) {
        if (follower_may_begin(r->f, &err) != may)
            life_fail("blob %d: whether an answer may begin is not %d", s->blob, may);
        if (may == 0)
            note_waiting(r);
        r->waits = r->waits || may == 0;
        return;
    }
    int kept = is_kept(s);
    if (follower_is_kept(r->f, &err) != kept)
        life_fail("blob %d: whether it is kept is not %d", s->blob, kept);
    r->waits_kept = r->waits_kept || kept == 0;
}

void reader_leave(struct reader *r)
{
    struct slot *s = r->slot;
    bool last = slot_followers(s) == 1 && ingest_state(s->i) == INGEST_RECEIVING;

    follower_leave(r->f);
    r->f = NULL;
    s->desertion = s->desertion || last;
    slot_reap(s);
}

/* ---- after everything that was posted has run ---- */

static void check_waiting(struct slot *s)
{
    struct ingest_span spans[FOLLOWERS];
    size_t count = ingest_waiting(s->i, spans, FOLLOWERS, NULL), waiting = 0, told = 0;

    for (int k = 0; k < FOLLOWERS; k++) {
        const struct reader *r = &s->readers[k];
        size_t found = 0;
        told += r->f && r->told;                   /* it may have waited again before it was told */
        if (!r->f || !r->waits || r->at >= r->end) /* who waits for the end waits for no bytes */
            continue;
        waiting++;
        while (found < count && (spans[found].first != r->at || spans[found].end != r->end))
            found++;
        if (found == count)
            life_fail("blob %d: the source does not know that [%lld, %lld) is waited for", s->blob, (long long)r->at,
                      (long long)r->end);
    }
    if (count > waiting + told)
        life_fail("blob %d: %zu followers wait, not %zu", s->blob, waiting, count);
}

void slot_check_settled(struct slot *s)
{
    slot_check(s);
    for (int k = 0; k < FOLLOWERS; k++) {
        const struct reader *r = &s->readers[k];
        bool has = r->f && ((r->waits && available_to(r) != 0) || (r->waits_kept && is_kept(s) != 0));
        if (has)
            life_fail("blob %d: a follower at %lld waits for what is there", s->blob, (long long)r->at);
    }
    check_waiting(s);
    if (s->blocked && !s->over && !ingest_is_ahead(s->i))
        life_fail("blob %d: its source does not know that it may go on", s->blob);
    if (slot_followers(s) > 0 || s->over)
        s->desertion = false;
    if (s->desertion)
        life_fail("blob %d: its source does not know that the last follower has left", s->blob);
    if (s->want && !s->over)
        life_fail("blob %d: its source does not know that a follower waits", s->blob);
    s->want = false;
}
