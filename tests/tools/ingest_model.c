/* ingest_model DIR SEED STEPS [settled]: random sources, followers, stops and crashes of blobs on their way in, each
 * step checked against a model that knows every byte that was sent.
 *
 * Sources fill ranges of a blob at the same time, some of them with wrong bytes, bytes of another place, other sizes,
 * or more than they announced; they break off and stall. Followers of the whole and of pieces come, read, and go. Room
 * is given, refused, or comes later; writes and syncs fail. A child process works on the cache and is killed at random
 * moments (tests/tools/model/life.h), every second time as by a power failure: what was not synced is lost. With
 * `settled` workers are waited for after each step, and kills come at steps: the same seed does the same again.
 *
 * Checked: followers read what some source has sent at that place, and who reads the whole gets no last byte of a wrong
 * one; what is stored is right; what is promised is on the disk; what was kept is not fetched again; sizes, gaps,
 * counts, events agree with the model; and when all have left, nothing is left. Prints the seed; exit 1 at the first
 * difference. */
#include "tests/tools/model/arriving.h"

#include "base/clock.h"
#include "cache/private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

static const char *folder;
static bool settled;

static struct slot *pick_slot(void)
{
    struct slot *s = &slots[rnd(SLOTS)];

    return s->i ? s : NULL;
}

static struct slot *pick_open(void)
{
    struct slot *s = pick_slot();

    if (s)
        slot_notice(s);
    return s && !s->over && !s->finished && s->owned ? s : NULL;
}

/* ---- the owner of an ingest ---- */

static struct slot *begin(int blob, int host)
{
    struct slot *s = slot_begin(blob, host);

    if (!s)
        return NULL;
    s->wants_private = rnd(5) == 0;
    s->unknown = s->size < 0 && rnd(8) == 0;
    s->whole = rnd(3) > 0;
    return s;
}

static void step_begin(void)
{
    int blob = (int)rnd(BLOBS);

    for (int k = 0; k < SLOTS; k++)
        if (slots[k].i && slots[k].blob == blob && !slots[k].finished)
            return;
    if (S->stored[blob] && rnd(8) > 0)
        return;
    begin(blob, rnd(3) ? 0 : 1);
}

static void step_stop(void)
{
    struct slot *s = pick_open();

    if (s)
        slot_stop(s, ERR_UNREACHABLE, rnd(4) == 0);
}

static void step_disown(void)
{
    struct slot *s = pick_slot();

    if (s && s->owned && s->finished)
        slot_disown(s);
}

static void step_link(void)
{
    struct slot *s = pick_open();

    if (s)
        slot_link(s);
}

static void checkpoint(struct slot *s)
{
    if (!s->is_public || s->size < 0 || s->i->checkpointing)
        return;
    for (int k = 0; k < SEGS; k++)
        s->keeping[k] = seg_start(k) < s->size && s->end[k] == seg_end(s->size, k);
    s->checkpointing = true;
    ingest_checkpoint(s->i, NULL);
}

static void step_checkpoint(void)
{
    struct slot *s = pick_open();

    if (s)
        checkpoint(s);
}

/* ---- sources ---- */

static void step_source(void)
{
    slot_add_source(pick_open());
}

static void step_bring(void)
{
    slot_bring(pick_slot());
}

/* It is stopped, and begins again at once, from the same registry or another: what the one before has under way may
 * still come. */
static void step_switch(void)
{
    struct slot *s = pick_open();

    if (!s)
        return;
    int blob = s->blob, host = (int)rnd(HOSTS);
    if (rnd(2))
        checkpoint(s);
    if (!s->over)
        slot_stop(s, ERR_UNREACHABLE, rnd(6) == 0);
    while (!s->finished) {
        turn_loops();
        usleep(50);
    }
    slot_disown(s);
    if (S->stored[blob] || !(s = begin(blob, host)))
        return;
    for (int n = 0; n < 20 && !s->over; n++) {
        slot_add_source(s);
        slot_bring(s);
        turn_loops();
        slot_notice(s);
    }
    if (rnd(3) == 0)
        kill(getpid(), SIGKILL);
}

/* ---- followers ---- */

static void step_follow(void)
{
    struct slot *s = pick_slot();

    if (!s || (!s->owned && !s->holds) || (s->size < 0 && rnd(3)))
        return;
    int64_t size = s->size, first = 0, end = size >= 0 ? size : CAP;
    if (size == 0)
        return;
    if (size > 0 && rnd(2)) {
        first = (int64_t)rnd((uint64_t)size);
        end = rnd(3) ? first + 1 + (int64_t)rnd((uint64_t)(size - first)) : size;
    }
    reader_join(s, first, end);
}

static struct reader *pick_reader(void)
{
    struct slot *s = pick_slot();
    struct reader *r = s ? &s->readers[rnd(FOLLOWERS)] : NULL;

    return r && r->f ? r : NULL;
}

static void step_read(void)
{
    struct reader *r = pick_reader();

    if (r)
        reader_read(r);
}

static void step_ask(void)
{
    struct reader *r = pick_reader();

    if (r)
        reader_ask(r);
}

static void step_leave(void)
{
    struct reader *r = pick_reader();

    if (r && (r->at == r->end || rnd(3) == 0))
        reader_leave(r);
}

static void release(struct slot *s)
{
    bool last = ingest_followers(s->i) == 1 && ingest_state(s->i) == INGEST_RECEIVING;

    s->holds--;
    s->desertion = s->desertion || last;
    ingest_release(s->i);
    slot_reap(s);
}

static void step_hold(void)
{
    struct slot *s = pick_slot();

    if (s && s->holds > 0 && rnd(2)) {
        release(s);
    } else if (s && s->owned && s->holds < 2) {
        s->holds++;
        ingest_hold(s->i);
    }
}

/* ---- the world around ---- */

static void step_turn(void)
{
    if (rnd(2))
        loop_settle(rnd(2) ? near : far);
    else
        turn_loops(), check_all_settled();
}

static void step_fail_write(void)
{
    static const int WITH[] = {0, 0, 0, ENOSPC, EIO};

    disk_fail_write(WITH[rnd(ARRAY_LEN(WITH))]);
}

static void step_fail_sync(void)
{
    disk_fail_sync(rnd(4) == 0);
}

static void step_time(void)
{
    int64_t ms = (int64_t)rnd(2000);

    clock_advance(ms);
    S->clock_ms += ms;
}

/* An ingest that has asked for room is there until it is answered. */
static bool is_arriving(int blob)
{
    if (room_is_asked())
        return true;
    for (int k = 0; k < SLOTS; k++)
        if (slots[k].i && slots[k].blob == blob)
            return true;
    return false;
}

static bool apply_evict(struct index_txn *t, void *arg, struct err *err)
{
    return rows_drop_blob(t, arg, err);
}

static void step_evict(void)
{
    int blob = (int)rnd(BLOBS);
    struct err err;

    turn_all();
    if (!S->stored[blob] || is_arriving(blob))
        return;
    check_stored(blob, false, false);
    if (leases_has(cache->leases, &world[blob].digest))
        life_fail("blob %d has a lease, and no ingest", blob);
    S->stored[blob] = false;
    if (!index_write_wait(cache_index(cache), apply_evict, &world[blob].digest, &err) ||
        !store_remove_blob(cache_store(cache), &world[blob].digest, &err))
        life_fail("%s", err.msg);
}

static void step_forget(void)
{
    int blob = (int)rnd(BLOBS), g;
    struct err err;

    turn_all();
    g = S->current[blob];
    if (g >= 0 && !is_arriving(blob))
        S->gens[g].unsure = true;
    if (!ingests_forget(cache_ingests(cache), &world[blob].digest, &err))
        life_fail("%s", err.msg);
    if (g >= 0 && !is_arriving(blob)) {
        S->current[blob] = -1;
        gen_free(g);
    }
}

static void step_count(void)
{
    int64_t arriving = 0, room = 0;
    int count = 0;

    for (int k = 0; k < SLOTS; k++) {
        count += slots[k].i != NULL;
        arriving += slots[k].i ? slots[k].i->arrived : 0;
        room += slots[k].i ? slots[k].i->room : 0;
    }
    if (ingests_arriving(cache_ingests(cache)) != arriving)
        life_fail("%lld bytes arrive, not %lld", (long long)ingests_arriving(cache_ingests(cache)),
                  (long long)arriving);
    if (ingests_count(cache_ingests(cache)) < count || room > room_given)
        life_fail("%d ingests, %lld bytes of room", count, (long long)room);
}

/* ---- a child's life ---- */

static void open_all(void)
{
    struct err err;

    memset(slots, 0, sizeof(slots));
    near = loop_new("near", &err);
    far = loop_new("far", &err);
    pool = pool_new("io", settled ? 1 : 3, &err);
    cache = cache_open(folder, pool, NULL, &err);
    if (!cache)
        life_fail("%s", err.msg);
    room_open();
    disk_delay_syncs(settled || rnd(3) == 0 ? 0 : 1 + (int)rnd(10000));
    disk_fail_write(-1);
}

/* All go: nothing is left. */
static void leave_all(void)
{
    for (int k = 0; k < SLOTS; k++) {
        struct slot *s = &slots[k];
        if (s->i && s->owned && !s->finished && !s->over)
            slot_stop(s, ERR_CANCELLED, rnd(3) == 0);
        for (int n = 0; n < FOLLOWERS && s->i; n++)
            if (s->readers[n].f)
                reader_leave(&s->readers[n]);
        while (s->i && s->holds > 0)
            release(s);
    }
    room_answer_all();
    turn_all();
    for (int k = 0; k < SLOTS; k++)
        if (slots[k].i)
            slot_disown(&slots[k]);
    turn_all();
    if (ingests_count(cache_ingests(cache)) || ingests_arriving(cache_ingests(cache)) || room_given)
        life_fail("%d ingests are left, %lld bytes arriving, %lld of room", ingests_count(cache_ingests(cache)),
                  (long long)ingests_arriving(cache_ingests(cache)), (long long)room_given);
    for (int b = 0; b < BLOBS; b++)
        if (leases_has(cache->leases, &world[b].digest))
            life_fail("blob %d has a lease still", b);
}

static void check_nothing_parked(void)
{
    for (int k = 0; k < 40 * BLOBS; k++)
        step_forget();
    for (int b = 0; b < BLOBS; b++)
        if (S->current[b] >= 0)
            return;
    ingests_measure_parked(cache_ingests(cache));
    if (ingests_parked(cache_ingests(cache)) != 0)
        life_fail("%lld bytes are parked, of nothing", (long long)ingests_parked(cache_ingests(cache)));
}

static void close_all(void)
{
    leave_all();
    if (rnd(4) == 0)
        check_nothing_parked();
    pool_free(pool);
    cache_close(cache);
    loop_free(near);
    loop_free(far);
}

static void look_recovered(struct index_txn *t, void *arg)
{
    bool *there = arg;
    struct blob_row row;

    for (int b = 0; b < BLOBS; b++)
        there[b] = rows_get_blob(t, &world[b].digest, &row);
}

/* After a crash: what was stored is there, and what is there is right. */
static void recover(void)
{
    bool there[BLOBS];

    index_read(cache_index(cache), look_recovered, there);
    for (int b = 0; b < BLOBS; b++) {
        if (S->stored[b] && !there[b])
            life_fail("blob %d was lost", b);
        if (there[b])
            check_stored(b, false, false);
        if (there[b] && !S->stored[b])
            S->current[b] = -1;
        S->stored[b] = there[b];
    }
    for (int g = 0; g < GENS; g++)
        if (S->gens[g].blob >= 0)
            gen_free(g);
    for (int k = 0; k < 3; k++)
        step_begin(); /* which compares parts with what their rows promise */
}

static void step_reopen(void)
{
    close_all();
    open_all();
    recover();
}

static void step_crash(void)
{
    if (settled)
        kill(getpid(), SIGKILL);
}

static const struct {
    void (*run)(void);
    int weight; /* of 10 000 */
} STEPS[] = {{step_bring, 3600},   {step_read, 1700},      {step_source, 1400}, {step_turn, 800},
             {turn_all, 150},      {step_follow, 600},     {step_ask, 300},     {step_leave, 400},
             {step_begin, 300},    {room_answer_one, 300}, {step_disown, 150},  {step_checkpoint, 80},
             {step_hold, 60},      {step_stop, 60},        {step_link, 30},     {step_count, 20},
             {step_time, 20},      {step_evict, 40},       {step_forget, 6},    {step_switch, 25},
             {step_fail_write, 8}, {step_fail_sync, 3},    {step_crash, 3},     {step_reopen, 3}};

static void work(int64_t operations)
{
    int total = 0;

    for (size_t k = 0; k < ARRAY_LEN(STEPS); k++)
        total += STEPS[k].weight;
    clock_advance(S->clock_ms);
    if (rnd(2)) {
        disk_lose_unsynced(folder, "ingest");
        disk_lose_unsynced(folder, "blobs/sha256");
    }
    disk_forget();
    open_all();
    recover();
    while (life->operations < operations) {
        int pick = (int)rnd((uint64_t)total), kind = 0;
        while (pick >= STEPS[kind].weight)
            pick -= STEPS[kind++].weight;
        life->doing = kind;
        STEPS[kind].run();
        if (settled)
            turn_all();
        for (int k = 0; k < SLOTS; k++)
            if (slots[k].i)
                slot_check(&slots[k]);
        life->doing = -1;
        life->operations++;
    }
    close_all();
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    folder = argv[1];
    uint64_t seed = strtoull(argv[2], NULL, 10);
    settled = argc > 4;
    S = life_begin(seed, sizeof(*S));
    world_make(seed);
    return life_run(seed, strtoll(argv[3], NULL, 10), settled ? 0 : 60, work);
}
