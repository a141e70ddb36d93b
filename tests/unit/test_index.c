#include "tests/unit/unit_index.h"

#include <pthread.h>
#include <stdatomic.h>

static int setup(void **state)
{
    return index_setup(state, 1 << 16); /* tiny: it must grow */
}

static void assert_sound(struct fixture *f);

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_sound(f);
    return index_teardown(state);
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

static void assert_sound(struct fixture *f)
{
    size_t wrong = 99;

    index_read(f->index, check, &wrong);
    assert_int_equal(wrong, 0);
}

static struct digest named(int n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

/* ---- one change of each kind ---- */

enum act { PUT_BLOB, PUT_MANIFEST, DROP, TAG, UNTAG, USE, LINK, UNLINK, CLOCK };

struct change {
    enum act act;
    int blob, other, subject; /* numbers; -1: none */
    const char *tag;
};

static bool apply(struct index_txn *t, void *arg, struct err *err)
{
    const struct change *c = arg;
    struct digest d = named(c->blob);
    struct blob_row row = {.size = 100 + c->blob, .created = 1000, .used = 1000};
    struct child children[2];
    size_t count = 0;
    uint64_t repo;

    if (!rows_intern_repo(t, "docker.io/library/x", &repo, err))
        return false;
    switch (c->act) {
    case PUT_BLOB:
        return rows_put_blob(t, &d, &row, err);
    case PUT_MANIFEST:
        row.flags = BLOB_MANIFEST;
        if (c->other >= 0)
            children[count++] = (struct child){CHILD_CONTENT, named(c->other), 5};
        if (c->subject >= 0)
            children[count++] = (struct child){CHILD_SUBJECT, named(c->subject), 5};
        return rows_put_manifest(t, &d, &row, children, count, err);
    case DROP:
        return rows_drop_blob(t, &d, err);
    case TAG:
        return rows_put_tag(t, repo, c->tag, &(struct tag_row){d, 5, 5}, err);
    case UNTAG:
        return rows_drop_tag(t, repo, c->tag, err);
    case USE:
        return rows_use_blob(t, &d, 2000, 1, err);
    case LINK:
        return rows_link(t, repo, &d, PROOF_HEAD, 7, err);
    case UNLINK:
        return rows_unlink(t, repo, &d, err);
    case CLOCK:
        return rows_set_clock(t, c->other, err);
    }
    return false;
}

static void change(struct fixture *f, struct change c)
{
    struct err err;
    bool ok = index_write_wait(f->index, apply, &c, &err);

    if (!ok)
        print_error("%s\n", err.msg);
    assert_true(ok);
    assert_sound(f);
}

struct answer {
    int blob;
    size_t references;
    struct blob_row row;
    bool stored, linked;
    struct totals totals;
};

static void look(struct index_txn *t, void *arg)
{
    struct answer *a = arg;
    struct digest d = named(a->blob);

    a->references = rows_references(t, &d);
    a->stored = rows_get_blob(t, &d, &a->row);
    a->linked = rows_linked(t, rows_repo_id(t, "docker.io/library/x"), &d);
    rows_totals(t, &a->totals);
}

static struct answer ask(struct fixture *f, int blob)
{
    struct answer a = {.blob = blob};

    index_read(f->index, look, &a);
    return a;
}

static void references(void **state)
{
    struct fixture *f = *state;

    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    assert_int_equal(ask(f, 1).references, 0);
    change(f, (struct change){PUT_MANIFEST, 10, 1, -1, NULL});
    change(f, (struct change){PUT_MANIFEST, 11, 1, -1, NULL});
    change(f, (struct change){PUT_MANIFEST, 11, 1, -1, NULL}); /* again: nothing changes */
    assert_int_equal(ask(f, 1).references, 2);
    change(f, (struct change){TAG, 10, -1, -1, "v1"});
    assert_int_equal(ask(f, 10).references, 1);
    change(f, (struct change){TAG, 11, -1, -1, "v1"}); /* the tag moves */
    assert_int_equal(ask(f, 10).references, 0);
    assert_int_equal(ask(f, 11).references, 1);
    change(f, (struct change){DROP, 10, -1, -1, NULL});
    assert_int_equal(ask(f, 1).references, 1);
    change(f, (struct change){UNTAG, 0, -1, -1, "v1"});
    change(f, (struct change){DROP, 11, -1, -1, NULL});
    assert_int_equal(ask(f, 1).references, 0);
    assert_int_equal(ask(f, 1).totals.bytes, 101);
    change(f, (struct change){DROP, 1, -1, -1, NULL});
    assert_int_equal(ask(f, 1).totals.blobs, 0);
    assert_int_equal(ask(f, 1).totals.bytes, 0);
}

/* What was deleted by its digest is the repository's no more, whatever names it, until that is proved again. */
static void deleted(void **state)
{
    struct fixture *f = *state;

    change(f, (struct change){PUT_MANIFEST, 1, -1, -1, NULL});
    change(f, (struct change){LINK, 1, -1, -1, NULL});
    change(f, (struct change){UNLINK, 1, -1, -1, NULL}); /* nothing names it */
    assert_false(ask(f, 1).linked);
    for (int again = 0; again < 2; again++) {
        change(f, (struct change){PUT_MANIFEST, 10, 1, -1, NULL}); /* an index, and the same once more */
        change(f, (struct change){LINK, 10, -1, -1, NULL});
        assert_int_equal(ask(f, 1).linked, again == 0);
        change(f, (struct change){UNLINK, 1, -1, -1, NULL});
        assert_false(ask(f, 1).linked);
        assert_true(ask(f, 10).linked);
    }
    change(f, (struct change){DROP, 1, -1, -1, NULL}); /* its file is lost, and it comes again */
    change(f, (struct change){PUT_MANIFEST, 1, -1, -1, NULL});
    assert_false(ask(f, 1).linked);
    change(f, (struct change){LINK, 1, -1, -1, NULL});
    assert_true(ask(f, 1).linked);
}

static void referrers(void **state)
{
    struct fixture *f = *state;

    /* a signature before its image, and one after */
    change(f, (struct change){PUT_MANIFEST, 20, -1, 30, NULL});
    assert_int_equal(ask(f, 20).references, 0);
    change(f, (struct change){PUT_MANIFEST, 30, -1, -1, NULL});
    assert_int_equal(ask(f, 20).references, 1);
    change(f, (struct change){PUT_MANIFEST, 21, -1, 30, NULL});
    assert_int_equal(ask(f, 21).references, 1);
    change(f, (struct change){DROP, 20, -1, -1, NULL});
    change(f, (struct change){DROP, 30, -1, -1, NULL});
    assert_int_equal(ask(f, 21).references, 0);
    change(f, (struct change){PUT_MANIFEST, 30, -1, -1, NULL}); /* back again: it still knows its referrer */
    assert_int_equal(ask(f, 21).references, 1);
}

static void links(void **state)
{
    struct fixture *f = *state;

    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    change(f, (struct change){PUT_MANIFEST, 10, 1, -1, NULL});
    change(f, (struct change){PUT_MANIFEST, 40, 10, -1, NULL});
    assert_false(ask(f, 1).linked);
    change(f, (struct change){LINK, 40, -1, -1, NULL}); /* the index is proved: so is what it names */
    assert_true(ask(f, 1).linked);
    change(f, (struct change){DROP, 40, -1, -1, NULL}); /* what was proved of what is here stays proved */
    assert_true(ask(f, 1).linked);
    change(f, (struct change){DROP, 10, -1, -1, NULL});
    change(f, (struct change){DROP, 1, -1, -1, NULL});
    assert_false(ask(f, 1).linked);
    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    assert_false(ask(f, 1).linked);
}

/* A layer of a great many images, of which the repository has the last one that came; an index in an index in an index
 * in an index; a manifest that comes after the blob was lost and has come back. */
static void links_of_many(void **state)
{
    enum { IMAGES = 300, FIRST = 1000 };
    struct fixture *f = *state;

    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    for (int i = 0; i < IMAGES; i++)
        change(f, (struct change){PUT_MANIFEST, FIRST + i, 1, -1, NULL});
    assert_false(ask(f, 1).linked);
    change(f, (struct change){LINK, FIRST + IMAGES / 2, -1, -1, NULL});
    assert_true(ask(f, 1).linked);
    change(f, (struct change){DROP, 1, -1, -1, NULL}); /* lost on disk: the manifests still name it */
    assert_true(ask(f, 1).linked);
    assert_false(ask(f, 1).stored);
    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    assert_true(ask(f, 1).linked);

    for (int i = 0; i < 6; i++) /* from the top down: what is named is not here yet */
        change(f, (struct change){PUT_MANIFEST, 56 - i, 55 - i, -1, NULL});
    change(f, (struct change){LINK, 56, -1, -1, NULL});
    assert_true(ask(f, 50).linked);
    change(f, (struct change){PUT_BLOB, 50, -1, -1, NULL});
    change(f, (struct change){PUT_MANIFEST, 60, 2, 56, NULL}); /* a signature of what is linked */
    assert_true(ask(f, 60).linked);
    assert_true(ask(f, 2).linked);
    change(f, (struct change){DROP, 60, -1, -1, NULL}); /* 2 was never here, and nobody names it any more */
    assert_false(ask(f, 2).linked);
}

static void uses(void **state)
{
    struct fixture *f = *state;

    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL});
    change(f, (struct change){USE, 1, -1, -1, NULL});
    assert_int_equal(ask(f, 1).row.used, 2000);
    assert_int_equal(ask(f, 1).row.uses, 2); /* the coming in among them */
    change(f, (struct change){CLOCK, 1, 5, -1, NULL});
    change(f, (struct change){USE, 1, -1, -1, NULL});
    change(f, (struct change){USE, 1, -1, -1, NULL});
    assert_int_equal(ask(f, 1).row.uses, 4);
    assert_true(ask(f, 1).row.clock == 5);
    change(f, (struct change){PUT_BLOB, 1, -1, -1, NULL}); /* stored again: its history stays */
    assert_int_equal(ask(f, 1).row.uses, 4);
    change(f, (struct change){USE, 99, -1, -1, NULL}); /* not there: nothing */
}

/* ---- many at once, a map that grows, and readers meanwhile ---- */

struct storm {
    struct fixture *f;
    atomic_int done, failed;
    atomic_bool stop;
};

struct storm_op {
    struct storm *storm;
    struct change change;
};

static bool apply_storm(struct index_txn *t, void *arg, struct err *err)
{
    struct storm_op *op = arg;

    if (op->change.blob % 50 == 49) /* some fail by themselves; their neighbours must not */
        return err_set(err, ERR_INVALID, "no");
    return apply(t, &op->change, err);
}

static void storm_done(void *arg, const struct err *err)
{
    struct storm_op *op = arg;

    if (err)
        atomic_fetch_add(&op->storm->failed, 1);
    atomic_fetch_add(&op->storm->done, 1);
    free(op);
}

static void *read_storm(void *arg)
{
    struct storm *s = arg;

    while (!atomic_load(&s->stop))
        ask(s->f, 77);
    return NULL;
}

static void storm(void **state)
{
    enum { OPS = 5000 };
    struct storm s = {.f = *state};
    pthread_t readers[3];

    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_storm, &s);
    for (int i = 0; i < OPS; i++) {
        struct storm_op *op = xcalloc(1, sizeof(*op));
        *op = (struct storm_op){&s, {PUT_MANIFEST, i, i + 100000, -1, NULL}};
        index_write(s.f->index, apply_storm, storm_done, op, NULL);
    }
    for (int i = 0; i < 60000 && atomic_load(&s.done) < OPS; i++)
        usleep(1000);
    atomic_store(&s.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&s.done), OPS);
    assert_int_equal(atomic_load(&s.failed), OPS / 50);
    assert_int_equal(ask(s.f, 1).totals.blobs, OPS - OPS / 50);
}

static void survives_reopening(void **state)
{
    struct fixture *f = *state;
    struct err err;

    change(f, (struct change){PUT_MANIFEST, 10, 1, -1, NULL});
    change(f, (struct change){TAG, 10, -1, -1, "v1"});
    index_close(f->index);
    f->index = index_open(f->dir, 0, NULL, &err);
    assert_non_null(f->index);
    assert_true(ask(f, 10).stored);
    assert_int_equal(ask(f, 10).references, 1);
}

/* ---- a file that ends early ---- */

static bool apply_crowd(struct index_txn *t, void *arg, struct err *err)
{
    struct change c = *(const struct change *)arg;

    for (c.blob = 1000; c.blob < 4000; c.blob++)
        if (!apply(t, &c, err))
            return false;
    return true;
}

static off_t cut(const char *path, off_t keep)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, keep > 0 ? keep : st.st_size + keep), 0);
    return st.st_size;
}

/* After a crash the last pages may never have been written, when nothing needs them; that is no damage. When something
 * does, it is. */
static void short_file(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *path = xasprintf("%s/data.mdb", f->dir);
    struct err err = {0};
    struct change crowd = {.act = PUT_BLOB};

    change(f, (struct change){PUT_MANIFEST, 10, 1, -1, NULL});
    assert_true(index_write_wait(f->index, apply_crowd, &crowd, &err));
    crowd.act = DROP; /* their pages are at the end, and free */
    assert_true(index_write_wait(f->index, apply_crowd, &crowd, &err));
    change(f, (struct change){USE, 10, -1, -1, NULL});
    index_close(f->index);
    off_t size = cut(path, -2 * 4096);
    f->index = index_open(f->dir, 0, NULL, &err);
    assert_non_null(f->index);
    assert_true(ask(f, 10).stored);
    assert_sound(f);
    index_close(f->index);
    assert_true(cut(path, 4 * 4096) >= size);
    f->index = index_open(f->dir, 0, NULL, &err);
    assert_null(f->index);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    f->index = index_open(f->dir, 0, NULL, &err);
    assert_non_null(f->index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(references, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(referrers, setup, teardown),
        cmocka_unit_test_setup_teardown(links, setup, teardown),
        cmocka_unit_test_setup_teardown(links_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(uses, setup, teardown),
        cmocka_unit_test_setup_teardown(storm, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(short_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
