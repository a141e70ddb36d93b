#include "cache/private.h"
#include "tests/unit/unit_gc.h"

#include "cache/verify.h"
#include "gc/gc_private.h"

static struct gc_report collect(struct fixture *f, bool dry, int64_t target)
{
    struct gc_report r;
    struct err err = {0};

    assert_true(gc_collect(f->gc, dry, target, &r, &err));
    return r;
}

static void unreferenced(void **state)
{
    struct fixture *f = *state;

    put_image(f, NULL, LAYERS(1, 2));
    put_image(f, "kept", LAYERS(2, 3));
    struct gc_report r = collect(f, false, -1);
    assert_int_equal(r.freed_blobs, 0); /* within its grace */
    clock_advance(GRACE_MS + 1000);
    r = collect(f, true, -1);
    assert_true(r.freed_blobs >= 1); /* a dry run says what would go, and leaves it */
    gc_report_free(&r);
    assert_true(has_layer(f, 1));
    r = collect(f, false, -1);
    assert_int_equal(r.freed_blobs, 2); /* the manifest, and the layer that only it held */
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 2));
    assert_true(has_layer(f, 3));
}

static void least_recently_used(void **state)
{
    struct fixture *f = *state;

    struct digest old = put_image(f, "old", LAYERS(1, 9));
    put_image(f, "middle", LAYERS(2, 3, 9));
    put_image(f, "young", LAYERS(4, 5, 6, 7, 9));
    put_image(f, "younger", LAYERS(8, 10));
    clock_advance(GRACE_MS + 1000);
    cache_touch(f->cache, &old); /* used just now: no longer the oldest, and within its grace */
    struct gc_report r = collect(f, false, -1);
    assert_int_equal(r.count, 2);
    assert_string_equal(r.images[0].reference, "docker.io/library/x:middle");
    assert_string_equal(r.images[1].reference, "docker.io/library/x:young");
    gc_report_free(&r);
    assert_true(has_layer(f, 1)); /* in use */
    assert_true(has_layer(f, 9)); /* shared with it */
    assert_false(has_layer(f, 2));
    assert_false(has_layer(f, 4));
    assert_true(has_layer(f, 8)); /* under the low-water mark by then */
}

static void leases_are_respected(void **state)
{
    struct fixture *f = *state;
    struct digest m = put_image(f, "served", LAYERS(1));

    clock_advance(GRACE_MS + 1000);
    leases_take(f->cache->leases, &m);
    struct gc_report r = collect(f, false, 0);
    assert_int_equal(r.freed_blobs, 0);
    cache_release(f->cache, &m);
    r = collect(f, false, 0);
    assert_int_equal(r.freed_blobs, 2);
    gc_report_free(&r);
}

static void one_by_name(void **state)
{
    struct fixture *f = *state;
    struct gc_report r;
    struct err err = {0};

    put_image(f, "a", LAYERS(1, 2));
    put_image(f, "b", LAYERS(2, 3));
    static const struct gc_name both[] = {{"docker.io/library/x", "a"}, {"docker.io/library/x", "b"}};
    assert_true(gc_pin(f->gc, both[1].repo, both[1].tag, NULL, true, &err));
    for (size_t n = 1; n <= 2; n++) { /* what both need is freed by both only */
        gc_would_remove(f->gc, both, n, &r);
        assert_int_equal(r.freed_blobs, n == 1 ? 2 : 5);
        assert_int_equal(r.count, n);
        gc_report_free(&r);
    }
    assert_true(gc_remove(f->gc, "docker.io/library/x", "a", &r, &err)); /* whatever its age */
    assert_int_equal(r.freed_blobs, 2);
    gc_report_free(&r);
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 2));
    assert_false(gc_remove(f->gc, "docker.io/library/x", "a", &r, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* Whatever the images share, what is said is what happens. */
static void would_is_what_happens(void **state)
{
    static const struct gc_name names[] = {{"docker.io/library/x", "a"}, {"docker.io/library/x", "b"},
                                           {"docker.io/library/x", "a"}, {"docker.io/library/x", "none"},
                                           {"docker.io/library/x", "c"}, {"docker.io/library/x", "again"},
                                           {"docker.io/library/y", "a"}};
    struct fixture *f = *state;
    struct gc_report would, r;
    struct err err = {0};

    for (size_t n = 0; n <= ARRAY_LEN(names); n++) {
        put_image(f, "a", LAYERS(1, 2, 3));
        put_image(f, "b", LAYERS(2, 3));
        struct digest c = put_image(f, "c", LAYERS(3, 4));
        put_image(f, "again", LAYERS(1, 2));
        put_image(f, "kept", LAYERS(3, 5));
        leases_take(f->cache->leases, &c); /* is being served */
        gc_would_remove(f->gc, names, n, &would);
        int64_t bytes = 0, blobs = 0;
        for (size_t i = 0; i < n; i++) {
            if (gc_remove(f->gc, names[i].repo, names[i].tag, &r, &err)) {
                bytes += r.freed_bytes;
                blobs += r.freed_blobs;
            }
            gc_report_free(&r);
        }
        if (would.freed_bytes != bytes || would.freed_blobs != blobs)
            fail_msg("%zu: %lld bytes in %lld blobs, and then %lld in %lld", n, (long long)would.freed_bytes,
                     (long long)would.freed_blobs, (long long)bytes, (long long)blobs);
        gc_report_free(&would);
        cache_release(f->cache, &c);
    }
}

/* A change of the index that takes its time. */
struct slow_change {
    atomic_bool begun, may_end, over;
};

static bool change_slowly(struct index_txn *t UNUSED, void *arg, struct err *err UNUSED)
{
    struct slow_change *c = arg;

    atomic_store(&c->begun, true);
    for (int i = 0; i < 5000 && !atomic_load(&c->may_end); i++)
        usleep(1000);
    atomic_store(&c->over, true);
    return true;
}

/* `du` and `rm --dry-run` wait for no writer, and no writer waits for them. */
static void would_only_reads(void **state)
{
    static const struct gc_name name = {"docker.io/library/x", "a"};
    struct slow_change slow = {false, false, false};
    struct fixture *f = *state;
    struct gc_report r;

    put_image(f, "a", LAYERS(1, 2));
    index_write(cache_index(f->cache), change_slowly, NULL, &slow, NULL);
    while (!atomic_load(&slow.begun))
        usleep(1000);
    pthread_mutex_lock(&f->gc->collecting); /* nor for a collection */
    gc_would_remove(f->gc, &name, 1, &r);
    pthread_mutex_unlock(&f->gc->collecting);
    assert_false(atomic_load(&slow.over));
    assert_int_equal(r.freed_blobs, 3);
    gc_report_free(&r);
    atomic_store(&slow.may_end, true);
    index_wait_written(cache_index(f->cache));
}

static void many_in_small_transactions(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 300; i++) {
        struct image im = {.tag = NULL};
        digest_of(DIGEST_SHA256, &i, sizeof(i), &im.manifest);
        assert_true(index_write_wait(cache_index(f->cache), apply_image, &im, NULL));
    }
    clock_advance(GRACE_MS + 1000);
    struct gc_report r = collect(f, false, -1);
    assert_int_equal(r.freed_blobs, 300);
}

/* While the index is made anew, a tag waits for its manifest, and a layer for the manifest that holds it. */
static bool apply_restored(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    struct digest d;
    uint64_t repo;

    digest_of(DIGEST_SHA256, "to come", 7, &d);
    return rows_intern_repo(t, "docker.io/library/x", &repo, err) &&
           rows_put_tag(t, repo, "restored", &(struct tag_row){d, 1, 1}, err);
}

static bool knows_tag(struct fixture *f, const char *tag)
{
    struct cache_hit hit;

    cache_find(f->cache, "docker.io/library/x", tag, NULL, &hit);
    return hit.tag_known;
}

static void rebuilding(void **state)
{
    struct fixture *f = *state;
    struct err err;

    atomic_store(&f->cache->rebuilding, true);
    put_image(f, NULL, LAYERS(1));
    assert_true(index_write_wait(cache_index(f->cache), apply_restored, NULL, NULL));
    clock_advance(GRACE_MS + 1000);
    collect(f, false, -1);
    assert_true(has_layer(f, 1));
    assert_true(knows_tag(f, "restored"));
    assert_true(cache_end_rebuilding(f->cache, &err));
    collect(f, false, -1);
    assert_false(has_layer(f, 1));
    assert_false(knows_tag(f, "restored"));
}

/* Rows that no blob stands behind are put right when a collection meets them, and do not keep it busy for ever. */
static bool apply_stray(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];
    struct digest d;

    digest_of(DIGEST_SHA256, "stray", 5, &d);
    return txn_put(t, TABLE_IDLE, key, rows_idle_key(key, &d, 5), "", 0, err) &&
           txn_put(t, TABLE_RANK, key, rows_rank_key(key, &d, 0), "", 0, err);
}

static void count_wrong(struct index_txn *t, void *arg)
{
    *(size_t *)arg = rows_check(t, NULL, NULL);
}

static void stray_rows(void **state)
{
    struct fixture *f = *state;
    size_t wrong = 0;

    put_image(f, "image", LAYERS(1));
    assert_true(index_write_wait(cache_index(f->cache), apply_stray, NULL, NULL));
    cache_read(f->cache, count_wrong, &wrong);
    assert_int_equal(wrong, 2);
    clock_advance(GRACE_MS + 1000);
    struct gc_report r = collect(f, true, 0);
    assert_true(r.count > 0);
    gc_report_free(&r);
    r = collect(f, false, 0);
    assert_int_equal(r.count, 1);
    gc_report_free(&r);
    cache_read(f->cache, count_wrong, &wrong);
    assert_int_equal(wrong, 0);
}

/* Let go of between being listed and being looked at. */
static void nothing_to_verify(void **state)
{
    struct fixture *f = *state;
    static char data[LAYER];
    struct digest d = layer_digest(77, data);
    struct err err = {0};

    assert_int_equal(cache_verify(f->cache, &d, NULL, NULL, &err), VERIFIED_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unreferenced, setup, teardown),
        cmocka_unit_test_setup_teardown(least_recently_used, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_are_respected, setup, teardown),
        cmocka_unit_test_setup_teardown(one_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(would_is_what_happens, setup, teardown),
        cmocka_unit_test_setup_teardown(would_only_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(many_in_small_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilding, setup, teardown),
        cmocka_unit_test_setup_teardown(stray_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_verify, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
