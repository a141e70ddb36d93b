/* What is in use: leases are counted, and a touch stands for its blob until it is in the index. */
#include "tests/unit/unit.h"

#include "base/latch.h"
#include "cache/index/rows.h"
#include "cache/store/lease.h"
#include "cache/store/touch.h"

enum { BLOBS = 100 };

static struct digest blob(int n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

static void a_lease_ends_with_its_last_release(void **state UNUSED)
{
    struct leases *all = leases_new();

    for (int n = 0; n < BLOBS; n++)
        for (int times = 0; times < 2; times++)
            leases_take(all, &(struct digest[]){blob(n)}[0]);
    for (int n = 0; n < BLOBS; n++) {
        const struct digest d = blob(n), other = blob(n + BLOBS);
        leases_release(all, &d);
        assert_true(leases_has(all, &d));
        leases_release(all, &d);
        assert_false(leases_has(all, &d));
        assert_false(leases_has(all, &other));
    }
    leases_take(all, &(struct digest[]){blob(0)}[0]);
    leases_free(all); /* with one that is left */
}

static bool put_blobs(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    const struct blob_row row = {.size = 1, .created = 1, .used = 1};

    for (int n = 0; n < BLOBS; n++) {
        const struct digest d = blob(n);
        if (!rows_put_blob(t, &d, &row, err))
            return false;
    }
    return true;
}

static void count_uses(struct index_txn *t, void *arg)
{
    const struct digest d = blob(BLOBS - 1);
    struct blob_row row;

    assert_true(rows_get_blob(t, &d, &row));
    *(int *)arg = (int)row.uses;
}

static void count_used(struct index_txn *t, void *arg)
{
    struct blob_row row;

    for (int n = 0; n < BLOBS; n++) {
        const struct digest d = blob(n);
        *(int *)arg += rows_get_blob(t, &d, &row) && row.used > 1;
    }
}

static void touches_are_written_once(void **state UNUSED)
{
    char *dir = make_folder();
    struct index *index = index_open(dir, 0, NULL, NULL);
    struct touches *all = touches_new();
    struct latch written;
    int used = 0;

    assert_true(index_write_wait(index, put_blobs, NULL, NULL));
    for (int n = 0; n < BLOBS; n += 2) {
        const struct digest d = blob(n), other = blob(n + 1);
        touches_add(all, &d);
        touches_add(all, &d);
        assert_true(touches_has(all, &d));
        assert_false(touches_has(all, &other));
    }
    latch_init(&written);
    touches_flush(all, index, latch_open, &written, NULL);
    assert_true(latch_wait(&written, NULL));
    for (int n = 0; n < BLOBS; n++) {
        const struct digest d = blob(n);
        assert_false(touches_has(all, &d));
    }
    index_read(index, count_used, &used);
    assert_int_equal(used, BLOBS / 2);
    latch_init(&written);
    touches_flush(all, index, latch_open, &written, NULL); /* of nothing: `done` is called nevertheless */
    assert_true(latch_wait(&written, NULL));
    touches_free(all);
    index_close(index);
    remove_tree(dir);
}

static void what_was_requested_is_reported_once(void **state UNUSED)
{
    char *dir = make_folder();
    struct index *index = index_open(dir, 0, NULL, NULL);
    struct touches *all = touches_new();
    const struct digest first = blob(1), last = blob(BLOBS - 1);
    struct requested *list;
    struct latch written;
    int uses;

    assert_true(index_write_wait(index, put_blobs, NULL, NULL));
    touches_add_new(all, &last); /* it comes in, which its row has counted */
    touches_add(all, &first);
    touches_add(all, &last);
    touches_add(all, &last);
    assert_int_equal(touches_take(all, &list), 0); /* not written yet */
    free(list);
    latch_init(&written);
    touches_flush(all, index, latch_open, &written, NULL);
    assert_true(latch_wait(&written, NULL));
    index_read(index, count_uses, &uses);
    assert_int_equal(uses, 3);
    assert_int_equal(touches_take(all, &list), 2);
    assert_true(digest_eq(&list[0].digest, &last) && list[0].times == 3);
    assert_true(digest_eq(&list[1].digest, &first) && list[1].times == 1);
    free(list);
    assert_int_equal(touches_take(all, &list), 0);
    for (int n = 0; n < 2 * TOUCHES_KEPT; n++) { /* nobody takes them */
        const struct digest d = blob(1000 + n);
        touches_add(all, &d);
    }
    latch_init(&written);
    touches_flush(all, index, latch_open, &written, NULL);
    assert_true(latch_wait(&written, NULL));
    assert_int_equal(touches_take(all, &list), TOUCHES_KEPT);
    free(list);
    touches_free(all);
    index_close(index);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_ends_with_its_last_release),
        cmocka_unit_test(touches_are_written_once),
        cmocka_unit_test(what_was_requested_is_reported_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
