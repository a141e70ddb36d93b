/* A damaged index: found, noted on disk, so that the next start makes it anew; and room for it on a full disk. */
#include "cache/index_private.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* Kept aside for a day on which the disk is full: without it the collector could not even write what it let go of. */
enum { BALLAST_BYTES = 4 << 20 };

/* ---- the mark ---- */

bool index_is_marked(const char *dir)
{
    _cleanup_free_
    char *path = xasprintf("%s/damaged", dir);

    return access(path, F_OK) == 0;
}

static void mark(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

void index_note_damage(struct index *index, int rc)
{
    if (atomic_exchange(&index->damaged, true))
        return;
    mark(index->mark);
    log_error("index: %s: it is damaged, and is made anew from the blobs after a restart", mdb_strerror(rc));
    if (index->on_damage)
        index->on_damage(index->on_damage_arg);
}

void index_on_damage(struct index *index, void (*fn)(void *arg), void *arg)
{
    index->on_damage_arg = arg;
    index->on_damage = fn;
}

bool index_is_damage(int rc)
{
    return rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_CURSOR_FULL || rc == MDB_INVALID;
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

/* A page that is not what it should be can lead LMDB anywhere. The process ends as it would have; the mark stays. */
static void on_fault(int sig)
{
    static const char words[] = "entrepot: the index is damaged; it is made anew at the next start\n";

    if (inside > 0 && mark_path[0]) {
        int fd = open(mark_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

void index_watch_faults(struct index *index)
{
    struct sigaction sa = {.sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND};

    snprintf(mark_path, sizeof(mark_path), "%s", index->mark);
    sigaction(SIGBUS, &sa, NULL);
    sigaction(SIGABRT, &sa, NULL); /* LMDB's assertions */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    sigaction(SIGSEGV, &sa, NULL);
#endif
}

void index_unwatch_faults(void)
{
    mark_path[0] = '\0';
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

bool index_drop_ballast(struct index *index)
{
    return unlink(index->ballast) == 0;
}
