/* Files on their way out, and the disk. sendfile(2) of pages that are not in memory waits for the disk, and the
 * loop with all its clients waits with it. So a piece is sent only when mincore(2) says that its pages are there;
 * else a read worker has them read, the loop goes on with others, and http_pump() comes back to the answer.
 *
 *     piece ─▶ in memory? ─ yes ─▶ sendfile to the client
 *                 │ no                    ▲
 *                 ▼                       │ http_pump()
 *              read worker: WILLNEED for this piece and some more, then waits for this one
 *
 * mincore(2) tells of each page whether its bytes are there, on every file system; it needs a mapping, and says
 * "here" of all files that we neither own nor may write. While nothing is read from the disk cachestat(2) is
 * asked, where there is one, which is cheaper and counts pages that are still being read. preadv2(RWF_NOWAIT)
 * would tell of a whole piece only by copying it, and tmpfs, overlayfs, FUSE and network file systems refuse it
 * (EOPNOTSUPP): it samples the piece where mincore(2) fails (a seccomp filter, a file that cannot be mapped).
 * Where that is refused, too, the piece is sent, and the loop waits as it would without all this.
 *
 * Bytes stay in the page cache; nothing is held in user space. Bounds: a job at a time for each answer, the
 * workers of the pool, and what is read ahead: AHEAD for an answer, AHEAD_ALL for all. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    WINDOW = 16 << 20,        /* of a file, mapped at a time for mincore(2); never touched, so it costs no memory */
    AHEAD = 8 << 20,          /* bytes; enough for a slow disk to stream */
    AHEAD_ALL = 64 << 20,     /* shared by all answers that come from the disk */
    ADVICE = 1 << 20,         /* of one posix_fadvise(2): the kernel shortens it to the setting of the device */
    ADVICE_LEAST = 128 << 10, /* ... which is this by default */
    PAGE_LEAST = 4096,
    READS_END_MS = 5000, /* by then all that was read ahead has arrived */
};

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* on every architecture; older headers lack it */
#endif

/* Answers that are read from the disk now, of all loops. */
static atomic_int cold_answers;
/* When a read last began or ended (monotonic ms): some may still run for answers that are over. */
static _Atomic int64_t last_read_ms = -READS_END_MS;
/* What answers have waited for the disk, of all loops. */
static atomic_uint_fast64_t disk_waited_us;

/* What an answer's file needs of the disk. Freed when the answer is over and no job is out. */
struct http_read {
    /* set once */
    struct loop *loop;
    int source; /* the answer's descriptor; its owner may close it once the answer is over */
    /* any thread */
    atomic_bool over; /* a job may be skipped */
    /* owned by the loop */
    struct http_conn *conn; /* NULL: the answer is over */
    char *map;
    int64_t map_at;
    size_t map_len;
    bool cold;         /* has waited for the disk: read ahead */
    int64_t asked_end; /* how far ahead has been asked for */
    /* What a worker has just read: sent without another check, so that the answer always makes progress. */
    int64_t here_at, here_end;
    bool busy; /* a job is out */
    /* the job's: the worker's while it is out */
    int fd; /* its own; it closes it */
    bool failed;
    int64_t begun_us;          /* monotonic */
    int64_t need_at, need_end; /* what the client waits for; empty: read ahead only */
    int64_t ahead_at, ahead_end;
};

/* ---- read workers ---- */

/* Waits until the range is in memory: thrown away page by page, without a copy. False: the disk fails. */
static bool wait_for_disk(const struct http_read *r)
{
    static const char nowhere[] = "/dev/null";
    _cleanup_close_ int null = open(nowhere, O_WRONLY | O_CLOEXEC);
    off_t at = r->need_at;
    char byte;

    while (at < r->need_end && !atomic_load(&r->over)) {
        size_t len = (size_t)MIN(r->need_end - at, (int64_t)ADVICE_LEAST);
        if (sendfile(null, r->fd, &at, len) > 0)
            continue;
        ssize_t n = pread(r->fd, &byte, 1, at); /* a page at a time, where sendfile(2) cannot */
        if (n <= 0)
            return n == 0 || errno != EIO;
        at += PAGE_LEAST;
    }
    return true;
}

static void read_landed(void *arg);

static void advise(const struct http_read *r, int64_t step)
{
    for (int64_t at = r->ahead_at; at < r->ahead_end && !atomic_load(&r->over); at += step)
        posix_fadvise(r->fd, at, MIN(r->ahead_end - at, step), POSIX_FADV_WILLNEED);
}

static void read_job(void *arg)
{
    struct http_read *r = arg;

    OFF_LOOPS;
    advise(r, ADVICE);
    advise(r, ADVICE_LEAST); /* where that was shortened; pages in memory or being read are skipped */
    r->failed = !wait_for_disk(r);
    close(r->fd);
    loop_post(r->loop, read_landed, r);
}

/* ---- the loop ---- */

static void read_landed(void *arg)
{
    struct http_read *r = arg;

    ON_LOOP(r->loop);
    r->busy = false;
    atomic_store(&last_read_ms, clock_mono_ms());
    if (r->need_end > r->need_at)
        atomic_fetch_add(&disk_waited_us, (uint64_t)(clock_mono_us() - r->begun_us));
    if (!r->conn) {
        free(r);
        return;
    }
    if (r->failed) { /* sendfile(2) would fail as well, after the loop had waited for it */
        r->conn->server->landed(r->conn, false);
        return;
    }
    if (r->need_end > r->need_at) {
        r->here_at = r->need_at;
        r->here_end = r->need_end;
    }
    r->conn->server->landed(r->conn, true);
}

static void set_cold(struct http_read *r, bool cold)
{
    atomic_fetch_add(&cold_answers, cold - r->cold);
    r->cold = cold;
}

/* How far to read ahead of an answer. */
static int64_t share(void)
{
    return MIN((int64_t)AHEAD, (int64_t)AHEAD_ALL / MAX(atomic_load(&cold_answers), 1));
}

/* Plans the read-ahead behind `to`, the end of the piece that is sent or waited for: nothing, unless there is enough
 * for a job, or the piece itself is not being read yet. */
static void plan_ahead(struct http_read *r, int64_t at, int64_t to, int64_t end)
{
    const int64_t ahead = share(), from = MAX(r->asked_end, at), until = MAX(from, MIN(to + ahead, end));

    r->ahead_at = r->ahead_end = from;
    if (until - from >= ahead / 2 || until == end || from < to)
        r->ahead_end = until;
}

/* Starts a job that reads what is planned and waits for [need_at, need_end). False: there is no descriptor for it. */
static bool begin_job(struct http_read *r, int64_t need_at, int64_t need_end)
{
    r->fd = fcntl(r->source, F_DUPFD_CLOEXEC, 0);
    if (r->fd < 0)
        return false;
    set_cold(r, true);
    r->busy = true;
    atomic_store(&last_read_ms, clock_mono_ms());
    r->begun_us = clock_mono_us();
    r->need_at = need_at;
    r->need_end = need_end;
    r->asked_end = r->ahead_end;
    pool_run(r->conn->server->readers, read_job, r);
    return true;
}

static void unmap(struct http_read *r)
{
    if (r->map)
        munmap(r->map, r->map_len);
    r->map = NULL;
}

static bool map_window(struct http_read *r, int64_t from, int64_t to, int64_t end)
{
    if (r->map && from >= r->map_at && to <= r->map_at + (int64_t)r->map_len)
        return true;
    unmap(r);
    size_t len = (size_t)MIN(end - from, (int64_t)WINDOW);
    void *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, r->source, from);
    if (map == MAP_FAILED)
        return false;
    r->map = map;
    r->map_at = from;
    r->map_len = len;
    return true;
}

/* Where mincore(2) is forbidden or there is no mapping: a sample. What is not known counts as in memory. */
static bool seems_in_memory(const struct http_read *r, int64_t at, int64_t to)
{
    char byte;

    for (int64_t next = at; next < to; next += ADVICE_LEAST)
        if (!http_read_now(r->source, &byte, 1, next) && errno == EAGAIN)
            return false;
    return http_read_now(r->source, &byte, 1, to - 1) || errno != EAGAIN;
}

/* A third of mincore(2)'s cost or less, and no mapping; but pages that are being read count as well, so that it is
 * reliable only while nothing is read from the disk. False: no, or not known this way. */
static bool readahead_is_cached(const struct http_read *r, int64_t at, int64_t to)
{
    static atomic_bool refused; /* by the kernel (before Linux 6.5) or a seccomp filter: not tried again */
    const struct {
        uint64_t at, len;
    } range = {(uint64_t)at, (uint64_t)(to - at)};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages;
    const int64_t page = sysconf(_SC_PAGESIZE);

    if (atomic_load(&cold_answers) > 0 || atomic_load(&refused) ||
        clock_mono_ms() - atomic_load(&last_read_ms) < READS_END_MS)
        return false;
    if (syscall(SYS_cachestat, r->source, &range, &pages, 0) != 0) {
        atomic_store(&refused, errno == ENOSYS || errno == EPERM);
        return false;
    }
    return (int64_t)pages.cached >= (to + page - 1) / page - at / page;
}

/* Whether all pages of [at, to) are in memory, as far as is known. `end` is that of the answer. */
static bool is_in_memory(struct http_read *r, int64_t at, int64_t to, int64_t end)
{
    static const int64_t most = AHEAD;
    unsigned char pages[AHEAD / PAGE_LEAST + 1], all = 1;
    const int64_t page = sysconf(_SC_PAGESIZE), from = at / page * page;

    to = MIN(to, at + most);
    if (readahead_is_cached(r, at, to))
        return true;
    if (!map_window(r, from, to, end) || mincore(r->map + (from - r->map_at), (size_t)(to - from), pages) != 0)
        return seems_in_memory(r, at, to);
    for (int64_t i = 0; i < (to - from + page - 1) / page; i++)
        all &= pages[i];
    return all & 1;
}

/* Behind what is about to be sent: more of it, before the client gets there. */
static void read_further(struct http_read *r, int64_t to, int64_t end)
{
    plan_ahead(r, to, to, end);
    if (r->ahead_at == r->ahead_end)
        return;
    if (is_in_memory(r, r->ahead_at, r->ahead_end, end))
        set_cold(r, false); /* it was in memory without having been read ahead */
    else
        begin_job(r, to, to);
}

static struct http_read *read_of(struct http_request *req, int fd)
{
    if (req->read && req->read->source != fd)
        http_read_end(req);
    if (!req->read) {
        req->read = xcalloc(1, sizeof(*req->read));
        req->read->loop = req->conn->server->loop;
        req->read->conn = req->conn;
        req->read->source = fd;
    }
    return req->read;
}

bool http_read_is_here(struct http_request *req, int fd, int64_t at, int64_t to, int64_t end)
{
    ON_LOOP(req->conn->server->loop);
    if (!req->conn->server->readers)
        return true;
    struct http_read *r = read_of(req, fd);
    if (r->busy && at >= r->need_at && at < r->need_end)
        return false;
    if ((at < r->here_at || to > r->here_end) && !is_in_memory(r, at, to, end)) {
        if (r->busy)
            return false;
        plan_ahead(r, at, to, MIN(to + (int64_t)ADVICE, end)); /* read_further() reads the rest while this is sent */
        return !begin_job(r, at, to);
    }
    if (r->cold && !r->busy)
        read_further(r, to, end);
    return true;
}

bool http_read_now(int fd, void *to, size_t len, int64_t at)
{
    struct iovec all = {to, len};

    return preadv2(fd, &all, 1, at, RWF_NOWAIT) == (ssize_t)len;
}

void http_read_end(struct http_request *req)
{
    struct http_read *r = req->read;

    ON_LOOP(req->conn->server->loop);
    if (!r)
        return;
    req->read = NULL;
    set_cold(r, false);
    unmap(r);
    r->conn = NULL;
    atomic_store(&r->over, true);
    if (!r->busy)
        free(r); /* else read_landed() does */
}

uint64_t http_disk_waited_us(void)
{
    return atomic_load(&disk_waited_us);
}

void http_server_set_readers(struct http_server *s, struct pool *readers)
{
    ON_LOOP(s->loop); /* before it starts */
    s->readers = readers;
}
