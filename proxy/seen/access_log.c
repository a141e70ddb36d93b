#include "proxy/seen/access_log.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <systemd/sd-journal.h>

enum {
    GATHER_MS = 50,
    FIELDS_MAX = 32,
    LINE_ROOM = 16 << 10 /* bytes of a line, at most */,
    FULL = ACCESS_FEED_MAX / 4
};

struct access_feed {
    struct access_log *log;
    struct access_second second; /* the loop's */
    pthread_mutex_t lock;
    /* under lock */
    struct buf waiting;
    uint64_t lines;
    enum access_format format; /* of `waiting` */
};

struct access_log {
    int count;
    struct access_feed *feeds;
    atomic_bool on;
    atomic_int format; /* enum access_format */
    atomic_uint_fast64_t dropped;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    /* under lock */
    bool any, full, ending; /* there are lines; so many that they are not to wait */
    int fd;                 /* -1: none */
    bool fresh;             /* it was opened a moment ago: nothing is torn */
    /* the thread's */
    bool torn; /* the last write was not whole */
    struct buf writing;
};

/* ---- writing: the thread ---- */

static void access_lose(struct access_log *l, uint64_t lines, int why)
{
    atomic_fetch_add_explicit(&l->dropped, lines, memory_order_relaxed);
    log_limited(LOG_LEVEL_WARN, "access log", "the access log cannot be written: %s; lines are dropped, pulls go on",
                strerror(why));
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t n = 0;

    for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))) && n < UINT64_MAX; p++)
        n++;
    return n;
}

/* A line that was cut off by a full disk ends before the next one begins. */
static void access_write(struct access_log *l, int fd, const char *text, size_t len)
{
    size_t at = 0;

    if (l->torn && write(fd, "\n", 1) == 1)
        l->torn = false;
    while (at < len && !l->torn) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (at == len)
        return;
    int why = errno;
    l->torn = l->torn || (at > 0 && text[at - 1] != '\n');
    access_lose(l, count_lines(text + at, len - at), why);
}

/* "FIELD=value\0FIELD=value\0\0". Without a journal the message alone goes to standard error. */
static void access_send(struct access_log *l, const char *text, size_t len)
{
    struct iovec fields[FIELDS_MAX];
    const char *end = text + len;

    while (text < end) {
        int n = 0;
        for (; text < end && *text; text += strlen(text) + 1)
            if (n < FIELDS_MAX)
                fields[n++] = (struct iovec){(void *)text, strlen(text)};
        text++;
        if (n == 0 || sd_journal_sendv(fields, n) == 0)
            continue;
        _cleanup_free_ char *line = xasprintf("%s\n", (char *)fields[0].iov_base + strlen("MESSAGE="));
        access_write(l, STDERR_FILENO, line, strlen(line));
    }
}

/* Takes what one feed has. */
static void access_drain(struct access_log *l, struct access_feed *f, int fd)
{
    struct buf empty = l->writing;

    buf_clear(&empty);
    pthread_mutex_lock(&f->lock);
    l->writing = f->waiting;
    f->waiting = empty;
    enum access_format format = f->format;
    uint64_t lines = f->lines;
    f->lines = 0;
    pthread_mutex_unlock(&f->lock);
    if (l->writing.len == 0)
        return;
    if (fd < 0)
        atomic_fetch_add_explicit(&l->dropped, lines, memory_order_relaxed);
    else if (format == ACCESS_JOURNAL)
        access_send(l, l->writing.data, l->writing.len);
    else
        access_write(l, fd, l->writing.data, l->writing.len);
}

static void access_drain_all(struct access_log *l, int fd, bool fresh)
{
    l->torn = l->torn && !fresh;
    for (int i = 0; i < l->count; i++)
        access_drain(l, &l->feeds[i], fd);
}

/* The file may be changed meanwhile: what is written to is a duplicate. */
static int access_file(struct access_log *l, bool *fresh)
{
    HOLDS(&l->lock);
    *fresh = l->fresh;
    l->fresh = false;
    return l->fd < 0 ? -1 : fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
}

static void *access_run(void *arg)
{
    struct access_log *l = arg;
    bool ending = false;

    pthread_setname_np(pthread_self(), "access-log");
    while (!ending) {
        pthread_mutex_lock(&l->lock);
        while (!l->any && !l->ending)
            pthread_cond_wait(&l->cond, &l->lock);
        int64_t until = clock_mono_ms() + GATHER_MS;
        while (!l->ending && !l->full && clock_mono_ms() < until)
            cond_wait_until(&l->cond, &l->lock, until);
        l->any = l->full = false;
        ending = l->ending;
        bool fresh;
        int fd = access_file(l, &fresh);
        pthread_mutex_unlock(&l->lock);
        access_drain_all(l, fd, fresh);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static bool access_start(struct access_log *l, struct err *err)
{
    sigset_t all, before;

    if (l->started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&l->thread, NULL, access_run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = rc;
    l->started = rc == 0;
    return l->started || err_errno(err, ERR_IO, "starting the access log's thread");
}

/* ---- its life ---- */

struct access_log *access_log_new(int feeds)
{
    struct access_log *l = xcalloc(1, sizeof(*l));

    l->count = feeds;
    l->feeds = xcalloc((size_t)feeds, sizeof(*l->feeds));
    l->fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->cond);
    for (int i = 0; i < feeds; i++) {
        l->feeds[i].log = l;
        pthread_mutex_init(&l->feeds[i].lock, NULL);
    }
    return l;
}

bool access_log_open(struct access_log *l, const char *path, enum access_format format, struct err *err)
{
    int fd = -1;

    if (path && strcmp(path, "-") == 0)
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    else if (path)
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (path && fd < 0 && errno == ENXIO)
        return err_set(err, ERR_IO, "opening the access log %s: it is a pipe that nobody reads", path);
    if (path && fd < 0)
        return err_errno(err, ERR_IO, "opening the access log %s", path);
    if (path && !access_start(l, err)) {
        close(fd);
        return false;
    }
    pthread_mutex_lock(&l->lock);
    int before = l->fd;
    l->fd = fd;
    l->fresh = true;
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->format, (int)format);
    atomic_store(&l->on, path != NULL);
    if (before >= 0)
        close(before);
    return true;
}

void access_log_free(struct access_log *l)
{
    if (!l)
        return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->ending = true;
        pthread_cond_signal(&l->cond);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    for (int i = 0; i < l->count; i++) {
        buf_free(&l->feeds[i].waiting);
        pthread_mutex_destroy(&l->feeds[i].lock);
    }
    buf_free(&l->writing);
    if (l->fd >= 0)
        close(l->fd);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    free(l->feeds);
    free(l);
}

struct access_feed *access_log_feed(struct access_log *l, int n)
{
    IN_STATE(n < l->count);
    return &l->feeds[n];
}

uint64_t access_log_dropped(const struct access_log *l)
{
    return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

/* ---- lines: the loops ---- */

bool access_feed_is_on(const struct access_feed *f)
{
    return atomic_load_explicit(&f->log->on, memory_order_relaxed);
}

static void access_wake(struct access_log *l, bool full)
{
    pthread_mutex_lock(&l->lock);
    l->any = true;
    l->full = l->full || full;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

/* False: there is no room. With the lock held. */
static bool feed_take(struct access_feed *f, enum access_format format, const struct access_line *line)
{
    static void (*const formats[])(struct buf * out, struct access_second * s, const struct access_line *l) = {
        [ACCESS_JSON] = access_line_json,
        [ACCESS_COMMON] = access_line_common,
        [ACCESS_JOURNAL] = access_line_journal,
    };

    HOLDS(&f->lock);
    bool mixed = f->waiting.len > 0 && (f->format == ACCESS_JOURNAL) != (format == ACCESS_JOURNAL);
    if (mixed || f->waiting.len + LINE_ROOM > ACCESS_FEED_MAX)
        return false;
    f->format = format;
    f->lines++;
    formats[format](&f->waiting, &f->second, line);
    return true;
}

void access_feed_add(struct access_feed *f, const struct access_line *line)
{
    struct access_log *l = f->log;
    enum access_format format = (enum access_format)atomic_load_explicit(&l->format, memory_order_relaxed);

    pthread_mutex_lock(&f->lock);
    size_t before = f->waiting.len;
    bool taken = feed_take(f, format, line), full = before < FULL && f->waiting.len >= FULL;
    pthread_mutex_unlock(&f->lock);
    if (before == 0 || full)
        access_wake(l, full);
    if (!taken) {
        atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
        log_limited(LOG_LEVEL_WARN, "access log full",
                    "the access log is written more slowly than requests come: lines are dropped, pulls go on");
    }
}
