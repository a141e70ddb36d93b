/* Room for what is on its way. */
#include "tests/unit/unit_gc.h"

#include "cache/import.h"
#include "gc/gc_private.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static void set_parked(struct fixture *f, int64_t bytes)
{
    struct ingests *all = cache_ingests(f->cache);

    ingests_note_parked(all, bytes - ingests_parked(all));
}

static void set_arriving(struct fixture *f, int64_t bytes)
{
    struct ingests *all = cache_ingests(f->cache);

    ingests_note_arriving(all, bytes - ingests_arriving(all));
}

struct word {
    bool given;
    struct loop *loop;
};

static void take_word(void *arg, bool given)
{
    struct word *w = arg;

    w->given = given;
    loop_stop(w->loop);
}

static bool ask(struct fixture *f, int64_t bytes)
{
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    struct word w = {.loop = loop_new("test", NULL)};

    room->ask(room->arg, bytes, ROOM_MADE, take_word, &w, w.loop);
    loop_run(w.loop);
    loop_free(w.loop);
    return w.given;
}

/* Of 10 layers, less one in a hundred for manifests, 8 are used. */
static void room_is_for_what_comes(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));

    put_image(f, "a", LAYERS(1, 2, 3));
    put_image(f, "b", LAYERS(4, 5, 6));
    put_image(f, "c", LAYERS(7, 8));
    clock_advance(GRACE_MS + 1000);
    assert_true(room->take(room->arg, LAYER));
    assert_false(room->take(room->arg, LAYER)); /* what was given counts */
    room->book(room->arg, LAYER);
    set_parked(f, LAYER); /* and so does what waits to be resumed */
    assert_false(room->take(room->arg, LAYER));
    set_parked(f, 0);
    assert_true(room->take(room->arg, LAYER));
    room->book(room->arg, LAYER);
    assert_true(has_layer(f, 1)); /* nothing was let go of for any of that */

    assert_false(ask(f, 20 * LAYER)); /* nor for what can never be */
    assert_true(has_layer(f, 1));
    assert_true(ask(f, 3 * LAYER));
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 4) && has_layer(f, 7)); /* as much as it needs: not down to the low mark */
    assert_false(room->take(room->arg, 2 * LAYER));
    room->book(room->arg, 3 * LAYER);
    assert_true(room->take(room->arg, 2 * LAYER));
    room->book(room->arg, 2 * LAYER);
}

/* What others were promised is not to be had by letting go of images: none goes for a wish that fails all the same. */
static void nothing_goes_in_vain(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));

    put_image(f, "a", LAYERS(1, 2, 3));
    clock_advance(GRACE_MS + 1000);
    assert_true(room->take(room->arg, 5 * LAYER));
    assert_false(ask(f, 9 * LAYER));
    assert_true(has_layer(f, 1) && has_layer(f, 2) && has_layer(f, 3));
    assert_true(ask(f, LAYER)); /* and others are not refused for it */
    room->book(room->arg, 6 * LAYER);

    assert_false(ask(f, INT64_MAX)); /* as a registry, or an import, may say */
    assert_false(room->take(room->arg, INT64_MAX));
    assert_true(has_layer(f, 1));
}

/* What was begun and not finished takes room as well. If nobody came back for it, it goes before any image does; else
 * pulls go on beside it, at the cost of what is here. */
static void room_beside_what_is_parked(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    static char data[4 * LAYER];
    struct digest d;
    struct err err = {0};

    put_image(f, "a", LAYERS(1, 2, 3, 4));
    put_image(f, "b", LAYERS(5, 6, 7, 8));
    clock_advance(GRACE_MS + 1000); /* an import of now is old by this clock */
    memset(data, 'x', sizeof(data));
    digest_of(DIGEST_SHA256, data, sizeof(data), &d);
    for (int i = 0; i < 2; i++) /* sent twice, here once */
        assert_true(import_write(f->cache, &d, 0, data, sizeof(data), &err));
    assert_int_equal(ingests_parked(cache_ingests(f->cache)), sizeof(data));
    assert_true(ask(f, LAYER));
    assert_true(has_layer(f, 1) && has_layer(f, 5));
    room->book(room->arg, LAYER);

    _cleanup_free_ char *path = xasprintf("%s/ingest/young", f->dir);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
    assert_int_equal(fsync(fd), 0);
    set_parked(f, sizeof(data)); /* as the next sweep counts */
    assert_true(ask(f, LAYER));
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 5));
    room->book(room->arg, LAYER);
}

/* Who asks while it is over the limits has them kept, and the next one is asked for as well. */
static void room_after_the_limits(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));

    put_image(f, "a", LAYERS(1, 2, 3, 4, 5));
    put_image(f, "b", LAYERS(6, 7, 8));
    put_image(f, "c", LAYERS(9, 10, 11));
    clock_advance(GRACE_MS + 1000);
    assert_true(ask(f, LAYER / 2));
    assert_false(has_layer(f, 1));
    assert_true(ask(f, 8 * LAYER));
    room->book(room->arg, LAYER / 2 + 8 * LAYER);
}

/* What is on the disk already needs no more of it. */
static void min_free_is_for_what_is_to_come(void **state)
{
    struct fixture *f = *state;
    int64_t total, available;
    struct err err = {0};

    assert_true(store_space(cache_store(f->cache), &total, &available, &err));
    const struct gc_options o = {.max_bytes = INT64_MAX / 4,
                                 .min_free_bytes = available / 2,
                                 .high = 95,
                                 .low = 55,
                                 .grace_ms = GRACE_MS,
                                 .interval_ms = 3600000,
                                 .policy = &POLICY_LRU};
    gc_free(f->gc);
    f->gc = gc_new(f->cache, &o, &err);
    assert_non_null(f->gc);
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    assert_false(room->take(room->arg, available / 4 * 3));
    set_arriving(f, available / 4 * 3);
    assert_true(room->take(room->arg, available / 4 * 3));
    assert_false(room->take(room->arg, available / 4 * 3));
    room->book(room->arg, available / 4 * 3);
    set_arriving(f, 0);
}

/* ---- several at once ---- */

struct wisher {
    bool answered, given;
};

static void note_word(void *arg, bool given)
{
    *(struct wisher *)arg = (struct wisher){true, given};
}

static void wish(struct fixture *f, int64_t bytes, enum room_from from, struct wisher *w)
{
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));

    room->ask(room->arg, bytes, from, note_word, w, f->loop);
    loop_settle(f->loop);
}

static void wait_for_word(struct fixture *f, const struct wisher *w)
{
    for (int ms = 0; !w->answered && ms < 10000; ms++) {
        usleep(1000);
        loop_settle(f->loop);
    }
    assert_true(w->answered);
}

/* A wish that is not to be had takes nothing from those who come later. They wait until that is known, and are not
 * refused for it. */
static void others_wishes_are_no_ones_failure(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    struct wisher large = {0}, free = {0}, made = {0};

    put_image(f, "a", LAYERS(1, 2, 3, 4, 5)); /* within its grace */
    pthread_mutex_lock(&f->gc->collecting);   /* the collector has much to do */
    wish(f, 9 * LAYER, ROOM_MADE, &large);
    wish(f, LAYER, ROOM_FREE, &free);
    wish(f, LAYER, ROOM_MADE, &made);
    bool waited = !large.answered && !free.answered && !made.answered, taken = room->take(room->arg, LAYER);
    pthread_mutex_unlock(&f->gc->collecting);
    assert_true(waited);
    assert_false(taken); /* it may be theirs */
    wait_for_word(f, &large);
    wait_for_word(f, &free);
    wait_for_word(f, &made);
    assert_true(!large.given && free.given && made.given);
    room->book(room->arg, 2 * LAYER);

    free.answered = false; /* in the moment in which nothing is collected */
    wish(f, 20 * LAYER, ROOM_FREE, &free);
    assert_true(free.answered && !free.given);
}

/* Who waits for a full disk has its room already: what the limits leave is for others meanwhile. */
static void a_full_disk_is_no_limit(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    struct wisher w = {0};

    put_image(f, "a", LAYERS(1, 2, 3, 4, 5));
    pthread_mutex_lock(&f->gc->collecting);
    wish(f, 9 * LAYER, ROOM_ON_DISK, &w);
    bool taken = room->take(room->arg, LAYER);
    pthread_mutex_unlock(&f->gc->collecting);
    assert_true(taken);
    room->book(room->arg, LAYER);
    wait_for_word(f, &w);
    assert_false(w.given);
}

struct thief {
    struct fixture *f;
    atomic_bool end;
    atomic_int looks, stolen;
};

static void *steal(void *arg)
{
    struct thief *t = arg;
    const struct ingest_room *room = ingests_room(cache_ingests(t->f->cache));

    while (!atomic_load(&t->end)) {
        if (room->take(room->arg, LAYER))
            atomic_fetch_add(&t->stolen, 1); /* and keeps it */
        atomic_fetch_add(&t->looks, 1);
    }
    return NULL;
}

/* Images go for a wish: what becomes free is for it, not for who happens to look at that moment. */
static void made_room_is_for_who_asked(void **state)
{
    struct fixture *f = *state;
    const struct ingest_room *room = ingests_room(cache_ingests(f->cache));
    struct thief t = {.f = f};
    pthread_t thread;

    put_image(f, "a", LAYERS(1, 2, 3));
    put_image(f, "b", LAYERS(4, 5, 6, 7, 8));
    clock_advance(GRACE_MS + 1000);
    assert_true(room->take(room->arg, 3 * LAYER / 2));
    assert_int_equal(pthread_create(&thread, NULL, steal, &t), 0);
    while (atomic_load(&t.looks) == 0)
        usleep(1000);
    bool given = ask(f, 3 * LAYER);
    atomic_store(&t.end, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&t.stolen), 0);
    assert_true(given);
    assert_true(has_layer(f, 4)); /* and it cost no more than it needs */
    room->book(room->arg, 3 * LAYER + 3 * LAYER / 2);
}

/* ---- a blob of unknown size ---- */

static struct {
    int64_t left; /* bytes that there are */
    int asked;
    int64_t wished;
    void (*done)(void *arg, bool given);
    void *arg;
} fake;

static bool fake_take(void *arg UNUSED, int64_t bytes)
{
    if (bytes > fake.left)
        return false;
    fake.left -= bytes;
    return true;
}

static void fake_ask(void *arg UNUSED, int64_t bytes, enum room_from from, void (*done)(void *arg, bool given),
                     void *done_arg, struct loop *loop UNUSED)
{
    assert_int_equal(from, ROOM_FREE); /* nothing goes for it */
    fake.asked++;
    fake.wished = bytes;
    fake.done = done;
    fake.arg = done_arg;
}

static void fake_kept(void *arg UNUSED, int64_t bytes)
{
    fake.left += bytes;
}

static void note_end(void *arg, enum ingest_state state UNUSED, const struct err *err UNUSED)
{
    *(int *)arg = -1;
}

static void note_drained(void *arg)
{
    ++*(int *)arg;
}

static void unconcerned(void *arg UNUSED)
{
}

/* It has room for what its source may bring at once. When it has not it waits for its turn, and the source with it;
 * then it takes what there is, and only when that is used up it fails. */
static void unknown_size(void **state)
{
    enum { PIECE = 512 << 10, ROOM = 20 << 20 };
    struct fixture *f = *state;
    const struct ingest_room real = *ingests_room(cache_ingests(f->cache));
    char *piece = xcalloc(1, PIECE);
    struct digest d = {.alg = DIGEST_SHA256};
    struct err err = {0};
    int drained = 0;
    int64_t at = 0;

    ingests_set_room(cache_ingests(f->cache),
                     &(struct ingest_room){.take = fake_take, .ask = fake_ask, .book = fake_kept});
    fake.left = 0;
    const struct ingest_events events = {note_end, unconcerned, note_drained, unconcerned, &drained};
    struct ingest *i = ingest_begin(cache_ingests(f->cache), &d, "docker.io", f->loop, &events, &err);
    assert_non_null(i);
    assert_true(ingest_describe(i, -1, "", &err));
    assert_true(ingest_is_ahead(i) && fake.asked == 1); /* before the first byte */
    fake.left = ROOM - fake.wished;
    fake.done(fake.arg, true);
    assert_true(!ingest_is_ahead(i) && drained == 1);
    for (; !ingest_is_ahead(i) && at < 2 * ROOM; at += PIECE)
        assert_true(ingest_write(i, at, piece, PIECE, &err));
    assert_true(at > ROOM / 2 && at < ROOM); /* the source may be in the middle of a piece */
    assert_int_equal(fake.asked, 2);
    assert_true(ingest_write(i, at, piece, PIECE, &err));
    at += PIECE;
    fake.done(fake.arg, false);
    assert_true(!ingest_is_ahead(i) && drained == 2);
    for (; at < ROOM; at += PIECE)
        assert_true(ingest_write(i, at, piece, PIECE, &err));
    assert_false(ingest_write(i, at, piece, PIECE, &err));
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_true(fake.asked == 2 && fake.left == 0);
    fake.left = PIECE; /* somebody else's that was not needed */
    assert_true(ingest_write(i, at, piece, PIECE, &err));
    ingest_stop(i, &err, true);
    for (int ms = 0; drained >= 0 && ms < 10000; ms++) {
        usleep(1000);
        loop_settle(f->loop);
    }
    assert_int_equal(drained, -1);
    assert_int_equal(fake.left, ROOM + PIECE); /* all of it is given back, once */
    ingest_unref(i);
    ingests_set_room(cache_ingests(f->cache), &real);
    free(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(room_is_for_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_goes_in_vain, setup, teardown),
        cmocka_unit_test_setup_teardown(room_beside_what_is_parked, setup, teardown),
        cmocka_unit_test_setup_teardown(room_after_the_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(min_free_is_for_what_is_to_come, setup, teardown),
        cmocka_unit_test_setup_teardown(others_wishes_are_no_ones_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_no_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(made_room_is_for_who_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_size, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
