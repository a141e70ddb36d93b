/* The disk under the cache: the C library's calls, which may fail here, and which note what a power failure would leave
 * behind. Pages that were written since the last sync are lost by it; so are those that a sync failed for, which the
 * kernel reports once. */
#include "base/io.h"
#include "tests/tools/model/arriving.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum page_state { PAGE_CLEAN, PAGE_DIRTY, PAGE_SYNCING, PAGE_LOST };

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static int failing = -1; /* errno of the next write; -1: it succeeds */
static bool failed_write, failing_sync;
static atomic_int delay_us; /* of a sync, at most */
static atomic_uint syncs;

/* With the lock held. */
static struct disk_file *file_of(int fd)
{
    struct stat st;

    if (!S || fstat(fd, &st) != 0)
        return NULL;
    for (int k = 0; k < FILES; k++)
        if (S->files[k].inode == st.st_ino)
            return &S->files[k];
    return NULL;
}

void disk_watch(int fd)
{
    struct stat st;

    pthread_mutex_lock(&disk_lock);
    if (!file_of(fd) && fstat(fd, &st) == 0) {
        static int next;
        struct disk_file *f = &S->files[next++ % FILES]; /* the oldest was stored or dropped long ago */
        memset(f, 0, sizeof(*f));
        f->inode = st.st_ino;
    }
    pthread_mutex_unlock(&disk_lock);
}

void disk_fail_write(int with)
{
    pthread_mutex_lock(&disk_lock);
    failing = with;
    failed_write = false;
    pthread_mutex_unlock(&disk_lock);
}

bool disk_has_failed_write(void)
{
    pthread_mutex_lock(&disk_lock);
    bool failed = failed_write;
    failed_write = false;
    pthread_mutex_unlock(&disk_lock);
    return failed;
}

void disk_fail_sync(bool fail)
{
    pthread_mutex_lock(&disk_lock);
    failing_sync = fail;
    pthread_mutex_unlock(&disk_lock);
}

void disk_delay_syncs(int us)
{
    atomic_store(&delay_us, us);
}

/* Now a long time, now none: what begins later may end earlier. */
static void wait_for_disk(void)
{
    unsigned most = (unsigned)atomic_load(&delay_us), n = atomic_fetch_add(&syncs, 1) * 2654435761u >> 16;

    if (most > 0 && n % 3 > 0)
        usleep(n % most);
}

bool disk_sync_failed(uint64_t inode)
{
    bool failed = false;

    pthread_mutex_lock(&disk_lock);
    for (int k = 0; k < FILES; k++)
        failed = failed || (S->files[k].inode == inode && S->files[k].sync_failed);
    pthread_mutex_unlock(&disk_lock);
    return failed;
}

void disk_forget(void)
{
    memset(S->files, 0, sizeof(S->files));
}

void disk_lose_unsynced(const char *dir, const char *sub)
{
    static const char zeros[PAGE];
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, sub);
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        _cleanup_close_ int fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC);
        struct stat st;
        struct disk_file *f = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? file_of(fd) : NULL;
        for (int64_t p = 0; f && p * PAGE < st.st_size; p++)
            if (f->page[p] != PAGE_CLEAN)
                (void)!syscall(SYS_pwrite64, fd, zeros, MIN((int64_t)PAGE, st.st_size - p * PAGE), p * PAGE);
    }
    if (d)
        closedir(d);
}

/* ---- in place of the C library's ---- */

static void note_dirty(struct disk_file *f, int64_t offset, int64_t len)
{
    for (int64_t p = offset / PAGE; p <= (offset + len - 1) / PAGE && p < CAP / PAGE; p++)
        f->page[p] = PAGE_DIRTY;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    pthread_mutex_lock(&disk_lock);
    struct disk_file *f = file_of(fd);
    int with = f ? failing : -1;
    if (f && with >= 0)
        failing = -1;
    failed_write = failed_write || with > 0;
    if (with == 0)
        len = (len + 1) / 2;
    if (f && with <= 0 && len > 0)
        note_dirty(f, offset, (int64_t)len);
    pthread_mutex_unlock(&disk_lock);
    if (with > 0) {
        errno = with;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

static int sync_file(struct disk_file *f)
{
    static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
    static bool busy[FILES]; /* as in a kernel: a second sync waits for what the first one writes */
    bool *mine = &busy[f - S->files];

    while (*mine)
        pthread_cond_wait(&changed, &disk_lock);
    *mine = true;
    bool fail = failing_sync;
    failing_sync = false;
    for (int p = 0; p < CAP / PAGE; p++)
        if (f->page[p] == PAGE_DIRTY)
            f->page[p] = PAGE_SYNCING;
    pthread_mutex_unlock(&disk_lock);
    wait_for_disk();
    pthread_mutex_lock(&disk_lock);
    for (int p = 0; p < CAP / PAGE; p++)
        if (f->page[p] == PAGE_SYNCING)
            f->page[p] = fail ? PAGE_LOST : PAGE_CLEAN;
    f->sync_failed = f->sync_failed || fail;
    *mine = false;
    pthread_cond_broadcast(&changed);
    errno = EIO;
    return fail ? -1 : 0;
}

static int disk_sync(long call, int fd)
{
    pthread_mutex_lock(&disk_lock);
    struct disk_file *f = file_of(fd);
    int status = f ? sync_file(f) : 0;
    pthread_mutex_unlock(&disk_lock);
    if (f)
        return status;
    wait_for_disk();
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return disk_sync(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return disk_sync(SYS_fdatasync, fd);
}
