/* What keeps the file of the index from growing for ever. */
#include "tests/unit/unit.h"

#include "cache/rows.h"

#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct fixture {
    char *dir;
    struct index *index;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    f->dir = make_folder();
    f->index = index_open(f->dir, 0, NULL, &err);
    *state = f;
    return f->index ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    index_close(f->index);
    remove_tree(f->dir);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    struct err err;

    index_close(f->index);
    f->index = index_open(f->dir, 0, NULL, &err);
    assert_non_null(f->index);
}

static int64_t file_bytes(const struct fixture *f)
{
    _cleanup_free_ char *data = xasprintf("%s/data.mdb", f->dir);
    struct stat st;

    assert_int_equal(stat(data, &st), 0);
    return st.st_size;
}

/* Rows of 1 KiB with the numbers from `first` on: put, or deleted. */
struct rows {
    int first, count;
    bool put;
    char fill;
};

static bool apply(struct index_txn *t, void *arg, struct err *err)
{
    const struct rows *r = arg;
    char value[1024];

    memset(value, r->fill, sizeof(value));
    for (int i = r->first; i < r->first + r->count; i++)
        if (r->put ? !txn_put(t, TABLE_IDLE, &i, sizeof(i), value, sizeof(value), err)
                   : !txn_del(t, TABLE_IDLE, &i, sizeof(i), NULL, 0, NULL, err))
            return false;
    return true;
}

static void change(struct fixture *f, struct rows r)
{
    assert_true(index_write_wait(f->index, apply, &r, NULL));
}

/* A process that reads the index, and is killed while it does. */
static pid_t begin_reading(const struct fixture *f)
{
    int ready[2];
    char one;
    MDB_env *env;
    MDB_txn *txn;

    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (mdb_env_create(&env) == 0 && mdb_env_open(env, f->dir, MDB_RDONLY, 0600) == 0 &&
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0)
            (void)!write(ready[1], "1", 1);
        alarm(60); /* also if the test has failed */
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &one, 1), 1);
    close(ready[0]);
    return child;
}

static void dead_reader(void **state)
{
    struct fixture *f = *state;

    change(f, (struct rows){0, 400, true, 'a'});
    pid_t child = begin_reading(f);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    usleep(1100000); /* the writer looks once a second */
    for (int i = 0; i < 30; i++)
        change(f, (struct rows){0, 400, true, 'b'});
    assert_true(file_bytes(f) < 4 << 20); /* 30 times 400 KiB if the reader still counted */
}

static void compacted(void **state)
{
    enum { ROWS = 20000, REST = 100 };
    struct fixture *f = *state;

    change(f, (struct rows){0, ROWS, true, 'a'});
    change(f, (struct rows){REST, ROWS - REST, false, 0});
    int64_t before = file_bytes(f);
    reopen(f);
    assert_true(file_bytes(f) < before / 10);
    change(f, (struct rows){REST, REST, true, 'b'});
    before = file_bytes(f);
    reopen(f); /* nothing to gain any more */
    assert_int_equal(file_bytes(f), before);
}

static void count(struct index_txn *t, void *arg)
{
    int *n = arg;

    for (int i = 0; i < 20000; i++)
        *n += txn_has(t, TABLE_IDLE, &i, sizeof(i));
}

/* A start that was cut off in the middle of copying: the old file counts. */
static void cut_off(void **state)
{
    struct fixture *f = *state;
    int n = 0;

    change(f, (struct rows){0, 10000, true, 'a'});
    change(f, (struct rows){100, 9900, false, 0});
    _cleanup_free_ char *half = xasprintf("%s/data.mdb.new", f->dir);
    FILE *file = fopen(half, "w");
    assert_non_null(file);
    fputs("half of a copy", file);
    fclose(file);
    reopen(f);
    index_read(f->index, count, &n);
    assert_int_equal(n, 100);
    assert_int_not_equal(access(half, F_OK), 0);
}

/* Somebody has the index open at the start: a dump, a backup. Whether the last transaction's number is odd or even. */
static void compacted_beside_a_reader(void **state)
{
    struct fixture *f = *state;

    for (int more = 0; more < 2; more++) {
        int n = 0;
        change(f, (struct rows){0, 10000, true, 'a'});
        change(f, (struct rows){100, 9900, false, 0});
        if (more)
            change(f, (struct rows){0, 1, true, 'b'});
        pid_t child = begin_reading(f);
        int64_t before = file_bytes(f);
        reopen(f);
        assert_true(file_bytes(f) < before / 10);
        index_read(f->index, count, &n);
        assert_int_equal(n, 100);
        change(f, (struct rows){100, 1, true, 'c'});
        reopen(f);
        n = 0;
        index_read(f->index, count, &n);
        assert_int_equal(n, 101);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

static void raise_it(struct index_txn *t UNUSED, void *arg)
{
    raise(*(int *)arg);
}

/* In a process of its own: something ends it while it reads the index. Whether the index is marked as damaged then. */
static bool is_marked_after(const char *dir, int sig)
{
    _cleanup_free_ char *mark = xasprintf("%s/damaged", dir);
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct index *index = index_open(dir, 0, NULL, NULL);
        if (index)
            index_read(index, raise_it, &sig);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == sig);
    bool marked = access(mark, F_OK) == 0;
    unlink(mark);
    return marked;
}

/* A fault inside the map is the index's; that our own code gives up there (no memory, an assertion) is not. */
static void whose_fault(void **state UNUSED)
{
    char *dir = make_folder();

    assert_true(is_marked_after(dir, SIGBUS));
    assert_false(is_marked_after(dir, SIGABRT));
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dead_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(compacted, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(compacted_beside_a_reader, setup, teardown),
        cmocka_unit_test(whose_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
