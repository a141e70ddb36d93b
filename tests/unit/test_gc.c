#include "tests/unit/unit.h"

#include "base/clock.h"
#include "cache/import.h"
#include "cache/index/rows_codec.h"
#include "cache/verify.h"
#include "gc/gc.h"

#include <fcntl.h>
#include <stdio.h>

enum { LAYER = 100000 /* bytes */, GRACE_MS = 3600000 };

struct fixture {
    char *dir;
    struct pool *pool;
    struct cache *cache;
    struct gc *gc;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err = {0};
    const struct gc_options o = {.max_bytes = 10 * LAYER,
                                 .min_free_bytes = 0,
                                 .high = 95,
                                 .low = 55,
                                 .grace_ms = GRACE_MS,
                                 .interval_ms = 3600000,
                                 .policy = &POLICY_LRU};

    f->dir = make_folder();
    f->pool = pool_new("io", 2, &err);
    f->cache = cache_open(f->dir, f->pool, NULL, &err);
    f->gc = f->cache ? gc_new(f->cache, &o, &err) : NULL;
    *state = f;
    while (f->gc && !gc_is_settled(f->gc)) /* it would take what follows for what an interrupted run has left */
        usleep(1000);
    return f->gc ? 0 : -1;
}

static void complain(void *arg, const struct finding *f)
{
    char text[DIGEST_TEXT_MAX];

    (void)arg;
    print_error("%s %s\n", digest_format(&f->digest, text), finding_text(f));
}

static void check(struct index_txn *t, void *arg)
{
    *(size_t *)arg = rows_check(t, complain, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    size_t wrong = 1;

    index_read(f->cache->index, check, &wrong);
    assert_int_equal(wrong, 0);
    gc_free(f->gc);
    pool_free(f->pool);
    cache_close(f->cache);
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* ---- images ---- */

static struct digest layer_digest(int n, char data[LAYER])
{
    struct digest d;

    memset(data, 0, LAYER);
    memcpy(data, &n, sizeof(n));
    digest_of(DIGEST_SHA256, data, LAYER, &d);
    return d;
}

struct image {
    const char *tag; /* NULL: none */
    struct digest manifest;
    struct child children[8];
    size_t count;
};

static bool apply_image(struct index_txn *t, void *arg, struct err *err)
{
    struct image *i = arg;
    int64_t now = clock_now_s();
    struct blob_row row = {.size = LAYER, .created = now, .used = now};
    struct blob_row manifest = {.size = 100, .created = now, .used = now, .flags = BLOB_MANIFEST};
    uint64_t repo;

    for (size_t k = 0; k < i->count; k++)
        if (!rows_put_blob(t, &i->children[k].digest, &row, err))
            return false;
    return rows_intern_repo(t, "docker.io/library/x", &repo, err) &&
           rows_put_manifest(t, &i->manifest, &manifest, i->children, i->count, err) &&
           (!i->tag || rows_put_tag(t, repo, i->tag, &(struct tag_row){i->manifest, 1, 1}, err));
}

/* An image of the given layers (ended by 0). */
static struct digest put_image(struct fixture *f, const char *tag, const int *layers)
{
    static char data[LAYER];
    struct image i = {.tag = tag};
    struct file_info info;
    char text[100] = {0};

    for (; layers[i.count]; i.count++) {
        i.children[i.count] = (struct child){CHILD_CONTENT, layer_digest(layers[i.count], data), LAYER};
        assert_true(store_write_blob(f->cache->store, &i.children[i.count].digest, data, LAYER, false, &info, NULL));
    }
    snprintf(text, sizeof(text), "manifest %s %d", tag ? tag : "-", layers[0]);
    digest_of(DIGEST_SHA256, text, sizeof(text), &i.manifest);
    assert_true(store_write_blob(f->cache->store, &i.manifest, text, sizeof(text), false, &info, NULL));
    assert_true(index_write_wait(f->cache->index, apply_image, &i, NULL));
    clock_advance(10000); /* the next one is younger */
    return i.manifest;
}

static bool has_layer(struct fixture *f, int n)
{
    static char data[LAYER];
    struct digest d = layer_digest(n, data);

    return store_has_blob(f->cache->store, &d);
}

static struct gc_report collect(struct fixture *f, bool dry, int64_t target)
{
    struct gc_report r;
    struct err err = {0};

    assert_true(gc_collect(f->gc, dry, target, &r, &err));
    return r;
}

#define LAYERS(...) ((const int[]){__VA_ARGS__, 0})

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
    use_touch(f->cache->use, &old); /* used just now: no longer the oldest, and within its grace */
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
    use_lease(f->cache->use, &m);
    struct gc_report r = collect(f, false, 0);
    assert_int_equal(r.freed_blobs, 0);
    use_release(f->cache->use, &m);
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
    assert_true(gc_remove(f->gc, "docker.io/library/x", "a", &r, &err)); /* whatever its age */
    gc_report_free(&r);
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 2));
    assert_false(gc_remove(f->gc, "docker.io/library/x", "a", &r, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void many_in_small_transactions(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 300; i++) {
        struct image im = {.tag = NULL};
        digest_of(DIGEST_SHA256, &i, sizeof(i), &im.manifest);
        assert_true(index_write_wait(f->cache->index, apply_image, &im, NULL));
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
    assert_true(index_write_wait(f->cache->index, apply_restored, NULL, NULL));
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
    assert_true(index_write_wait(f->cache->index, apply_stray, NULL, NULL));
    index_read(f->cache->index, count_wrong, &wrong);
    assert_int_equal(wrong, 2);
    clock_advance(GRACE_MS + 1000);
    struct gc_report r = collect(f, true, 0);
    assert_true(r.count > 0);
    gc_report_free(&r);
    r = collect(f, false, 0);
    assert_int_equal(r.count, 1);
    gc_report_free(&r);
    index_read(f->cache->index, count_wrong, &wrong);
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

/* ---- room for what is on its way ---- */

struct word {
    bool granted;
    struct loop *loop;
};

static void take_word(void *arg, bool granted)
{
    struct word *w = arg;

    w->granted = granted;
    loop_stop(w->loop);
}

static bool ask(struct fixture *f, int64_t bytes)
{
    const struct cache_room *room = &f->cache->room;
    struct word w = {.loop = loop_new("test", NULL)};

    room->ask(room->arg, bytes, false, take_word, &w, w.loop);
    loop_run(w.loop);
    loop_free(w.loop);
    return w.granted;
}

/* Of 10 layers, less one in a hundred for manifests, 8 are used. */
static void room_is_for_what_comes(void **state)
{
    struct fixture *f = *state;
    const struct cache_room *room = &f->cache->room;

    put_image(f, "a", LAYERS(1, 2, 3));
    put_image(f, "b", LAYERS(4, 5, 6));
    put_image(f, "c", LAYERS(7, 8));
    clock_advance(GRACE_MS + 1000);
    assert_true(room->take(room->arg, LAYER));
    assert_false(room->take(room->arg, LAYER)); /* what was given counts */
    room->kept(room->arg, LAYER);
    atomic_store(&f->cache->parked, LAYER); /* and so does what waits to be resumed */
    assert_false(room->take(room->arg, LAYER));
    atomic_store(&f->cache->parked, 0);
    assert_true(room->take(room->arg, LAYER));
    room->kept(room->arg, LAYER);
    assert_true(has_layer(f, 1)); /* nothing was let go of for any of that */

    assert_false(ask(f, 20 * LAYER)); /* nor for what can never be */
    assert_true(has_layer(f, 1));
    assert_true(ask(f, 3 * LAYER));
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 4) && has_layer(f, 7)); /* as much as it needs: not down to the low mark */
    assert_false(room->take(room->arg, 2 * LAYER));
    room->kept(room->arg, 3 * LAYER);
    assert_true(room->take(room->arg, 2 * LAYER));
    room->kept(room->arg, 2 * LAYER);
}

/* What others were promised is not to be had by letting go of images: none goes for a wish that fails all the same. */
static void nothing_goes_in_vain(void **state)
{
    struct fixture *f = *state;
    const struct cache_room *room = &f->cache->room;

    put_image(f, "a", LAYERS(1, 2, 3));
    clock_advance(GRACE_MS + 1000);
    assert_true(room->take(room->arg, 5 * LAYER));
    assert_false(ask(f, 9 * LAYER));
    assert_true(has_layer(f, 1) && has_layer(f, 2) && has_layer(f, 3));
    assert_true(ask(f, LAYER)); /* and others are not refused for it */
    room->kept(room->arg, 6 * LAYER);

    assert_false(ask(f, INT64_MAX)); /* as a registry, or an import, may say */
    assert_false(room->take(room->arg, INT64_MAX));
    assert_true(has_layer(f, 1));
}

/* What was begun and not finished takes room as well. If nobody came back for it, it goes before any image does; else
 * pulls go on beside it, at the cost of what is here. */
static void room_beside_what_is_parked(void **state)
{
    struct fixture *f = *state;
    const struct cache_room *room = &f->cache->room;
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
    assert_int_equal(atomic_load(&f->cache->parked), sizeof(data));
    assert_true(ask(f, LAYER));
    assert_true(has_layer(f, 1) && has_layer(f, 5));
    room->kept(room->arg, LAYER);

    _cleanup_free_ char *path = xasprintf("%s/ingest/young", f->dir);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
    assert_int_equal(fsync(fd), 0);
    atomic_store(&f->cache->parked, sizeof(data)); /* as the next sweep counts */
    assert_true(ask(f, LAYER));
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 5));
    room->kept(room->arg, LAYER);
}

/* Who asks while it is over the limits has them kept, and the next one is asked for as well. */
static void room_after_the_limits(void **state)
{
    struct fixture *f = *state;
    const struct cache_room *room = &f->cache->room;

    put_image(f, "a", LAYERS(1, 2, 3, 4, 5));
    put_image(f, "b", LAYERS(6, 7, 8));
    put_image(f, "c", LAYERS(9, 10, 11));
    clock_advance(GRACE_MS + 1000);
    assert_true(ask(f, LAYER / 2));
    assert_false(has_layer(f, 1));
    assert_true(ask(f, 8 * LAYER));
    room->kept(room->arg, LAYER / 2 + 8 * LAYER);
}

/* What is on the disk already needs no more of it. */
static void min_free_is_for_what_is_to_come(void **state)
{
    struct fixture *f = *state;
    int64_t total, available;
    struct err err = {0};

    assert_true(store_space(f->cache->store, &total, &available, &err));
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
    const struct cache_room *room = &f->cache->room;
    assert_false(room->take(room->arg, available / 4 * 3));
    atomic_store(&f->cache->arriving, available / 4 * 3);
    assert_true(room->take(room->arg, available / 4 * 3));
    assert_false(room->take(room->arg, available / 4 * 3));
    room->kept(room->arg, available / 4 * 3);
    atomic_store(&f->cache->arriving, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unreferenced, setup, teardown),
        cmocka_unit_test_setup_teardown(least_recently_used, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_are_respected, setup, teardown),
        cmocka_unit_test_setup_teardown(one_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(many_in_small_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilding, setup, teardown),
        cmocka_unit_test_setup_teardown(stray_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(room_is_for_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_goes_in_vain, setup, teardown),
        cmocka_unit_test_setup_teardown(room_beside_what_is_parked, setup, teardown),
        cmocka_unit_test_setup_teardown(room_after_the_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(min_free_is_for_what_is_to_come, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
