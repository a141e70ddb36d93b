/* Parts and images in the order in which they go when room is needed. */
#include "tests/unit/unit_gc.h"

#include <sys/stat.h>

enum { PART = 5000 };

/* 10000 s pass after it. */
static struct digest image(struct fixture *f, const char *tag, int layer)
{
    struct digest d = put_image(f, tag, LAYERS(layer)); /* 10 s */

    clock_advance(9990 * 1000);
    return d;
}

struct part_of {
    struct digest digest;
    int64_t size;
};

static bool apply_part(struct index_txn *t, void *arg, struct err *err)
{
    static const uint8_t bitmap[] = {0xff, 0xff, 0xff};
    const struct part_of *p = arg;
    const struct ingest_row row = {.size = p->size, .bitmap = bitmap, .bitmap_len = sizeof(bitmap)};

    return rows_put_ingest(t, &p->digest, &row, err);
}

/* Of the layer of this number, used `ago` seconds ago. */
static void put_part(struct fixture *f, int n, int64_t ago)
{
    static char data[LAYER];
    struct part_of p = {layer_digest(n, data), LAYER};
    int fd = store_open_part(cache_store(f->cache), &p.digest, true, NULL);
    const struct timespec when[2] = {{clock_now_s() - ago, 0}, {clock_now_s() - ago, 0}};

    memset(data, 'x', LAYER);
    assert_int_equal(pwrite(fd, data, LAYER, 0), LAYER);
    assert_int_equal(futimens(fd, when), 0);
    close(fd);
    assert_true(index_write_wait(cache_index(f->cache), apply_part, &p, NULL));
}

static bool has_part(struct fixture *f, int n)
{
    static char data[LAYER];
    struct digest d = layer_digest(n, data);
    int64_t used, bytes;

    return store_stat_part(cache_store(f->cache), &d, &used, &bytes);
}

/* An image names a layer of which only a part is here. */
struct naming {
    struct digest manifest, layer;
    const char *pin; /* a tag to pin, or NULL */
};

static bool apply_naming(struct index_txn *t, void *arg, struct err *err)
{
    const struct naming *n = arg;
    struct child child = {CHILD_CONTENT, n->layer, LAYER};
    struct blob_row row;

    return rows_get_blob(t, &n->manifest, &row) && rows_put_manifest(t, &n->manifest, &row, &child, 1, err) &&
           (!n->pin || rows_pin(t, rows_repo_id(t, "docker.io/library/x"), n->pin, true, err));
}

static void name_layer(struct fixture *f, struct digest manifest, int layer, const char *pin)
{
    static char data[LAYER];
    struct naming n = {manifest, layer_digest(layer, data), pin};

    assert_true(index_write_wait(cache_index(f->cache), apply_naming, &n, NULL));
}

/* Collects so much, and says whether it came to that. */
static void collect(struct fixture *f, int64_t bytes, bool dry_run, int64_t *freed)
{
    struct gc_report report;
    struct err err = {0};
    struct totals t;

    cache_totals(f->cache, &t);
    assert_true(gc_collect(f->gc, dry_run, MAX(t.bytes - bytes, (int64_t)0), &report, &err));
    *freed = report.freed_bytes;
    gc_report_free(&report);
}

/* Images and parts go in the order of their last use; what a dry run says is what happens. */
static void by_last_use(void **state)
{
    struct fixture *f = *state;
    int64_t freed, planned;

    image(f, "a", 1); /* 30000 s ago in the end, */
    image(f, "b", 2); /* 20000, */
    image(f, "c", 3); /* 10000 */
    put_part(f, 11, 35000);
    put_part(f, 12, 25000);
    put_part(f, 13, 5000);
    put_part(f, 14, 100); /* within the grace */
    static const char *const states[] = {"123 ABCD", "123 BCD", "23 BCD", "23 CD", "3 CD", " CD", " CD"};
    for (size_t k = 0; k < ARRAY_LEN(states); k++) {
        char now[16] = "";
        for (int n = 1; n <= 3; n++)
            if (has_layer(f, n))
                now[strlen(now)] = (char)('0' + n);
        now[strlen(now)] = ' ';
        for (int n = 0; n < 4; n++)
            if (has_part(f, 11 + n))
                now[strlen(now)] = (char)('A' + n);
        assert_string_equal(now, states[k]);
        collect(f, PART, true, &planned);
        collect(f, PART, false, &freed);
        if (planned != freed)
            fail_msg("%zu: %lld planned, %lld freed", k, (long long)planned, (long long)freed);
    }
}

/* A part of an image that was used is as recently used as that. */
static void of_an_image(void **state)
{
    struct fixture *f = *state;
    int64_t freed;

    image(f, "a", 1);
    struct digest b = image(f, "b", 2);
    name_layer(f, b, 11, NULL);
    put_part(f, 11, 90000);
    put_part(f, 12, 80000);
    collect(f, PART, false, &freed);
    assert_true(has_part(f, 11) && !has_part(f, 12) && has_layer(f, 1));
    collect(f, PART, false, &freed);
    assert_true(has_part(f, 11) && !has_layer(f, 1) && has_layer(f, 2));
    collect(f, PART, false, &freed);
    assert_true(has_part(f, 11) && !has_layer(f, 2)); /* it is not older than its image */
    collect(f, PART, false, &freed);
    image(f, "c", 3);
    image(f, "d", 4);
    collect(f, PART, false, &freed);
    assert_false(has_part(f, 11));
    assert_true(has_layer(f, 3));
}

/* While there is room, a part of an image stays, however old; one that nothing names stays for seven days. What belongs
 * to a pinned image stays in any case. */
static void with_room(void **state)
{
    struct fixture *f = *state;
    int64_t freed;

    struct digest a = image(f, "a", 1), b = image(f, "b", 2);
    name_layer(f, a, 11, NULL);
    name_layer(f, b, 12, "b");
    put_part(f, 11, 30 * 24 * 3600);
    put_part(f, 12, 30 * 24 * 3600);
    put_part(f, 13, 8 * 24 * 3600);
    put_part(f, 14, 6 * 24 * 3600);
    collect(f, 0, false, &freed);
    assert_true(has_part(f, 11) && has_part(f, 12) && !has_part(f, 13) && has_part(f, 14));
    collect(f, 5 * LAYER, false, &freed);
    assert_true(!has_part(f, 11) && has_part(f, 12) && !has_part(f, 14));
    assert_true(!has_layer(f, 1) && has_layer(f, 2));
}

struct answer {
    bool came, given;
};

static void on_answer(void *arg, bool given)
{
    *(struct answer *)arg = (struct answer){true, given};
}

/* For a blob that comes, only parts go if they are the longest unused: also where that is more than all images. */
static void room_for_a_blob(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0};

    image(f, "a", 1);
    for (int n = 11; n < 19; n++)
        put_part(f, n, 40000 + n);
    ingests_measure_parked(cache_ingests(f->cache));
    assert_true(ingests_ask_for_room(cache_ingests(f->cache), 5 * LAYER, ROOM_MADE, on_answer, &a, f->loop));
    for (int n = 0; n < 5000 && !a.came; n++) {
        usleep(1000);
        loop_settle(f->loop);
    }
    assert_true(a.given);
    assert_true(has_layer(f, 1));
    assert_true(has_part(f, 11) && has_part(f, 13) && !has_part(f, 16) && !has_part(f, 18));
    ingests_book_room(cache_ingests(f->cache), 5 * LAYER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_last_use, setup, teardown),
        cmocka_unit_test_setup_teardown(of_an_image, setup, teardown),
        cmocka_unit_test_setup_teardown(with_room, setup, teardown),
        cmocka_unit_test_setup_teardown(room_for_a_blob, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
