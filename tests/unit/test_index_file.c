/* What keeps the file of the index from growing for ever. */
#include "tests/unit/unit_index.h"

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int setup(void **state)
{
    return index_setup(state, 0);
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

static bool set_schema(struct index_txn *t, void *arg, struct err *err)
{
    return txn_put(t, TABLE_META, "schema", 6, arg, sizeof(uint32_t), err);
}

/* Of another version it is left as it is. */
static void not_compacted_for_others(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint32_t schema;
        enum err_code code;
    } cases[] = {{INDEX_SCHEMA + 1, ERR_UNSUPPORTED}, {INDEX_SCHEMA_OLDEST - 1, ERR_OUTDATED}};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *data = xasprintf("%s/data.mdb", f->dir);
        if (!f->index) { /* another one */
            unlink(data);
            f->index = index_open(f->dir, 0, NULL, &err);
        }
        free(data);
        change(f, (struct rows){0, 10000, true, 'a'});
        change(f, (struct rows){100, 9900, false, 0});
        assert_true(index_write_wait(f->index, set_schema, (void *)&cases[i].schema, NULL));
        index_close(f->index);
        int64_t before = file_bytes(f);
        f->index = index_open(f->dir, 0, NULL, &err);
        assert_null(f->index);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(file_bytes(f), before);
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
        signal(SIGBUS, SIG_DFL); /* not cmocka's */
        signal(SIGSEGV, SIG_DFL);
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

/* ---- no room for a larger map ---- */

static void put_till_it_fails(struct index *index, struct err *err)
{
    bool ok = true;

    for (int first = 0; ok && first < 100000; first += 500) {
        struct rows r = {.first = first, .count = 500, .put = true, .fill = 'm'};
        ok = index_write_wait(index, apply, &r, err);
    }
}

static void has_first(struct index_txn *t, void *arg)
{
    const int row = 0;

    *(bool *)arg = txn_has(t, TABLE_IDLE, &row, sizeof(row));
}

/* In a process of its own, which may have 24 MiB of addresses more than it has now. */
static int outgrow(const char *dir)
{
    struct index *index = index_open(dir, 1 << 20, NULL, NULL);
    struct err err = {0};
    long pages = 0;
    bool found = false;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!index || !f || fscanf(f, "%ld", &pages) != 1)
        return 1;
    fclose(f);
    rlim_t most = (rlim_t)pages * 4096 + (24 << 20);
    if (setrlimit(RLIMIT_AS, &(struct rlimit){most, most}) != 0)
        return 2;
    put_till_it_fails(index, &err);
    if (err.code != ERR_IO || !strstr(err.msg, "growing the index's map"))
        return 3;
    struct rows last = {.first = 0, .count = 1, .put = true, .fill = 'n'};
    index_read(index, has_first, &found);
    if (!found || !index_write_wait(index, apply, &last, &err)) /* what there is room for goes on */
        return 4;
    index_close(index);
    return 0;
}

/* The map cannot grow: the write fails, what is there is read and changed as before, nothing is taken for damage. */
static UNUSED void no_addresses(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *mark = xasprintf("%s/damaged", dir);
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(outgrow(dir));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_not_equal(access(mark, F_OK), 0);
    struct index *index = index_open(dir, 0, NULL, NULL);
    assert_non_null(index);
    index_close(index);
    remove_tree(dir);
}

/* ---- what an operator waits for ---- */

struct turn {
    pthread_mutex_t lock;
    pthread_cond_t go;
    bool may_go, waits;
    char order[16];
};

struct change {
    struct turn *turn;
    char name;
};

static bool apply_change(struct index_txn *t UNUSED, void *arg, struct err *err UNUSED)
{
    struct change *c = arg;
    struct turn *turn = c->turn;

    pthread_mutex_lock(&turn->lock);
    while (c->name == '0' && !turn->may_go) {
        turn->waits = true;
        pthread_cond_wait(&turn->go, &turn->lock);
    }
    turn->order[strlen(turn->order)] = c->name;
    pthread_mutex_unlock(&turn->lock);
    return true;
}

static void *write_first(void *arg)
{
    struct fixture *f = ((void **)arg)[0];

    assert_true(index_write_first(f->index, apply_change, ((void **)arg)[1], NULL));
    return NULL;
}

/* It is the next commit, before what was queued earlier. */
static void first(void **state)
{
    struct fixture *f = *state;
    struct turn turn = {.lock = PTHREAD_MUTEX_INITIALIZER, .go = PTHREAD_COND_INITIALIZER};
    struct change all[] = {{&turn, '0'}, {&turn, '1'}, {&turn, '2'}, {&turn, 'f'}};
    void *args[] = {f, &all[3]};
    pthread_t operator;

    index_write(f->index, apply_change, NULL, &all[0], NULL);
    for (bool waits = false; !waits;) {
        usleep(1000);
        pthread_mutex_lock(&turn.lock);
        waits = turn.waits;
        pthread_mutex_unlock(&turn.lock);
    }
    index_write(f->index, apply_change, NULL, &all[1], NULL);
    index_write(f->index, apply_change, NULL, &all[2], NULL);
    assert_int_equal(pthread_create(&operator, NULL, write_first, args), 0);
    usleep(50000);
    pthread_mutex_lock(&turn.lock);
    turn.may_go = true;
    pthread_cond_signal(&turn.go);
    pthread_mutex_unlock(&turn.lock);
    pthread_join(operator, NULL);
    index_wait_written(f->index);
    assert_string_equal(turn.order, "0f12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dead_reader, setup, index_teardown),
        cmocka_unit_test_setup_teardown(compacted, setup, index_teardown),
        cmocka_unit_test_setup_teardown(cut_off, setup, index_teardown),
        cmocka_unit_test_setup_teardown(compacted_beside_a_reader, setup, index_teardown),
        cmocka_unit_test_setup_teardown(not_compacted_for_others, setup, index_teardown),
        cmocka_unit_test(whose_fault),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they take all addresses there are */
        cmocka_unit_test(no_addresses),
#endif
        cmocka_unit_test_setup_teardown(first, setup, index_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
