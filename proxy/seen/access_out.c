#include "proxy/seen/access_out.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

enum { FIELDS_MAX = 32, POLL_MS = 50 };

struct access_out *access_out_new(const char *path, enum access_format format, struct err *err)
{
    bool is_log = path && strcmp(path, "-") == 0;
    struct stat st;
    int fd = -1;

    if (is_log)
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    else if (path)
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (path && fd < 0) {
        if (errno == ENXIO)
            err_set(err, ERR_IO, "opening the access log %s: it is a pipe that nobody reads", path);
        else
            err_errno(err, ERR_IO, "opening the access log %s", path);
        return NULL;
    }
    struct access_out *o = xcalloc(1, sizeof(*o));
    o->fd = fd;
    o->format = format;
    o->is_log = is_log;
    o->is_slow = fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode));
    return o;
}

void access_out_free(struct access_out *o)
{
    if (o && o->fd >= 0)
        close(o->fd);
    free(o);
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t n = 0;

    for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))) && n < UINT64_MAX; p++)
        n++;
    return n;
}

/* Whole lines, as many as a pipe takes at once; or a part of one that is longer. */
static size_t out_piece(const struct access_out *o, const char *text, size_t len)
{
    const char *end = o->is_slow && len > PIPE_BUF ? memrchr(text, '\n', PIPE_BUF) : NULL;

    return end ? (size_t)(end + 1 - text) : o->is_slow ? MIN(len, (size_t)PIPE_BUF) : len;
}

/* False: the time is over. */
static bool out_wait(const struct access_out *o, const atomic_int_fast64_t *until_ms)
{
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};

    while (o->is_slow && poll(&p, 1, POLL_MS) <= 0) {
        int64_t until = atomic_load(until_ms);
        if (until != 0 && clock_mono_ms() >= until) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

/* As much as it takes: all, or errno. */
static size_t out_put(struct access_out *o, const char *text, size_t len, const atomic_int_fast64_t *until_ms)
{
    size_t at = 0;

    while (at < len && out_wait(o, until_ms)) {
        size_t piece = out_piece(o, text + at, len - at);
        ssize_t n = o->is_log ? (ssize_t)log_pass_on(text + at, piece) : write(o->fd, text + at, piece);
        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    return at;
}

/* A line that was cut off by a full disk ends before the next one begins. */
static uint64_t out_lines(struct access_out *o, const char *text, size_t len, const atomic_int_fast64_t *until_ms)
{
    size_t at = 0;

    if (o->torn)
        o->torn = out_put(o, "\n", 1, until_ms) == 0;
    if (!o->torn)
        at = out_put(o, text, len, until_ms);
    if (at == len)
        return 0;
    int why = errno;
    o->torn = o->torn || (at > 0 && text[at - 1] != '\n');
    uint64_t lost = count_lines(text + at, len - at);
    errno = why;
    return lost;
}

/* "FIELD=value\0FIELD=value\0\0". Without a journal the message alone goes to standard error. */
static uint64_t out_send(struct access_out *o, const char *text, size_t len, const atomic_int_fast64_t *until_ms)
{
    struct iovec fields[FIELDS_MAX];
    const char *end = text + len;
    uint64_t lost = 0;

    while (text < end) {
        int n = 0;
        for (; text < end && *text; text += strlen(text) + 1)
            if (n < FIELDS_MAX)
                fields[n++] = (struct iovec){(void *)text, strlen(text)};
        text++;
        if (n == 0 || sd_journal_sendv(fields, n) == 0)
            continue;
        _cleanup_free_ char *line = xasprintf("%s\n", (char *)fields[0].iov_base + strlen("MESSAGE="));
        lost += out_lines(o, line, strlen(line), until_ms);
    }
    return lost;
}

uint64_t access_out_write(struct access_out *o, const char *text, size_t len, const atomic_int_fast64_t *until_ms)
{
    return o->format == ACCESS_JOURNAL ? out_send(o, text, len, until_ms) : out_lines(o, text, len, until_ms);
}
