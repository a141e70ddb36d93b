/* A damaged index is noted on disk, so that the next start rebuilds it; and the reserve of room for a full disk. */
#include "cache/index/private.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* A reserve for a full disk: without it the collector could not even write what it has evicted. */
enum { BALLAST_BYTES = 4 << 20, FULL_BYTES = 64 << 20 };

/* ---- the mark ---- */

bool index_is_marked(const char *dir)
{
    _cleanup_free_ char *path = xasprintf("%s/damaged", dir);

    return access(path, F_OK) == 0;
}

static void mark(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

static void note_damage(struct index *index, int rc)
{
    if (atomic_exchange(&index->damaged, true))
        return;
    mark(index->mark);
    log_error("index: %s: it is damaged, and will be rebuilt from the blobs after a restart", mdb_strerror(rc));
    if (index->watcher.damaged)
        index->watcher.damaged(index->watcher.arg);
}

int index_check(struct index *index, int rc)
{
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_CURSOR_FULL || rc == MDB_INVALID)
        note_damage(index, rc);
    return rc;
}

/* ---- when LMDB comes to grief inside its map ---- */

static _Thread_local volatile sig_atomic_t inside;
static char mark_path[4096]; /* of the one index of this process; for the handler */

void index_enter(void)
{
    inside = inside + 1;
}

void index_leave(void)
{
    inside = inside - 1;
}

static void mark_from_handler(void)
{
    static const char words[] = "entrepot: the index is damaged; it is rebuilt at the next start\n";

    if (!mark_path[0])
        return;
    mark(mark_path);
    (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
}

static struct sigaction bus_before, segv_before;

/* A page that is not what it should be can lead LMDB anywhere. The process ends as it would have; the mark stays. What
 * our own code aborts for, inside or not, is not the index's fault: SIGABRT is not watched. */
static void on_fault(int sig, siginfo_t *info, void *context UNUSED)
{
    if (inside > 0)
        mark_from_handler();
    sigaction(sig, sig == SIGBUS ? &bus_before : &segv_before, NULL);
    if (info->si_code <= 0) /* sent by a process; a fault happens again, with its address */
        raise(sig);
}

/* Another index of this process may have been opened before. */
static void watch_fault(int sig, const struct sigaction *sa, struct sigaction *before)
{
    struct sigaction now;

    if (sigaction(sig, NULL, &now) == 0 && now.sa_sigaction != on_fault)
        sigaction(sig, sa, before);
}

void index_watch_faults(struct index *index)
{
    const struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    snprintf(mark_path, sizeof(mark_path), "%s", index->mark);
    watch_fault(SIGBUS, &sa, &bus_before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    watch_fault(SIGSEGV, &sa, &segv_before);
#endif
}

/* LMDB prints the assertion, and aborts. */
static void on_assertion(MDB_env *env UNUSED, const char *text UNUSED)
{
    mark_from_handler();
}

void index_watch_assertions(struct index *index)
{
    mdb_env_set_assert(index->env, on_assertion);
}

void index_unwatch_faults(void)
{
    mark_path[0] = '\0';
}

/* ---- a file that was cut ---- */

/* Touches every page that is in use; whatever is wrong ends the process. In a child of ours, with its own environment.
 */
static void walk(const char *dir)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *c;
    MDB_val k, v;

    signal(SIGBUS, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, TABLE_COUNT) != 0 ||
        mdb_env_open(env, dir, MDB_RDONLY | MDB_NOLOCK, 0600) != 0 || mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
        _exit(1);
    struct index tables = {.env = env};
    int rc = index_open_tables(&tables, txn, false);
    volatile unsigned char seen = 0;
    for (int i = -1; i < TABLE_COUNT && rc == 0; i++) {
        rc = mdb_cursor_open(txn, i < 0 ? 0 /* LMDB's own list of free pages */ : tables.tables[i], &c);
        while (rc == 0 && (rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0)
            for (size_t at = 0; at < v.mv_size; at += 4096) /* a value may have pages of its own */
                seen = seen + ((const unsigned char *)v.mv_data)[at];
        if (rc == MDB_NOTFOUND)
            rc = 0;
    }
    _exit(rc == 0 ? 0 : 1);
}

static bool is_walkable(const char *dir)
{
    int status = 1;
    pid_t child = fork();

    if (child == 0)
        walk(dir);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A page in use beyond the end of the file would kill us with SIGBUS when we come to read it. But the end may be
 * missing for a good reason: LMDB does not write pages that a transaction took and gave back, and when that was the
 * last one before a crash the file ends before the last page that its head names. So when it is short, the pages are
 * looked at. */
bool index_check_size(struct index *index, const char *data, struct err *err)
{
    MDB_envinfo info;
    MDB_stat page;
    struct stat st;

    mdb_env_info(index->env, &info);
    mdb_env_stat(index->env, &page);
    int64_t due = ((int64_t)info.me_last_pgno + 1) * page.ms_psize;
    if (stat(data, &st) != 0)
        return err_errno(err, ERR_IO, "looking at %s", data);
    if (st.st_size >= due || info.me_last_txnid == 0)
        return true;
    if (!is_walkable(index->dir))
        return err_set(err, ERR_CORRUPT, "%s has %lld bytes where %lld are due: it was cut", data,
                       (long long)st.st_size, (long long)due);
    return truncate(data, due) == 0 || err_errno(err, ERR_IO, "lengthening %s", data); /* not again next time */
}

/* ---- ballast ---- */

void index_restock(struct index *index)
{
    struct stat st;

    if (stat(index->ballast, &st) == 0 && st.st_size == BALLAST_BYTES)
        return;
    int fd = open(index->ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool ok = posix_fallocate(fd, 0, BALLAST_BYTES) == 0;
    close(fd);
    if (!ok)
        unlink(index->ballast);
}

int index_why(const struct index *index, int rc)
{
    struct statvfs fs;
    bool full = rc == EIO && statvfs(index->dir, &fs) == 0 && fs.f_bavail * fs.f_frsize < FULL_BYTES;

    return full ? ENOSPC : rc;
}

bool index_drop_ballast(struct index *index)
{
    return unlink(index->ballast) == 0;
}
