/* A child process for what is looked at as the daemon's user, or needs threads. */
#include "cli/doctor/doctor.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASIDE_MS = 30000 };

static void aside_run(int to, void (*work)(void *arg, json_t *findings), void *arg)
{
    json_t *findings = json_array();

    work(arg, findings);
    char *text = json_dumps(findings, JSON_COMPACT);
    bool ok = text && io_write(to, text, strlen(text));
    _exit(ok ? EXIT_DONE : EXIT_FAILED); /* threads may still wait for a name or a program */
}

bool aside_start(struct aside *a, void (*work)(void *arg, json_t *findings), void *arg, struct err *err)
{
    int ends[2];

    *a = (struct aside){-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(err, ERR_IO, "making a pipe");
    a->pid = fork();
    if (a->pid < 0) {
        err_errno(err, ERR_IO, "starting a process");
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (a->pid == 0) {
        close(ends[0]);
        aside_run(ends[1], work, arg);
    }
    close(ends[1]);
    a->from = ends[0];
    return true;
}

static bool aside_read(int from, struct buf *out)
{
    int64_t end_ms = clock_mono_ms() + ASIDE_MS;
    struct pollfd p = {.fd = from, .events = POLLIN};
    char data[4096];
    ssize_t n = 1;

    while (n > 0) {
        int64_t left_ms = end_ms - clock_mono_ms();
        int ready = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        n = io_read(from, data, sizeof(data));
        if (n > 0)
            buf_add(out, data, (size_t)n);
    }
    return n == 0;
}

bool aside_take(struct aside *a, json_t *findings, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    bool whole = aside_read(a->from, &text);

    close(a->from);
    if (!whole)
        kill(a->pid, SIGKILL);
    while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    json_t *more = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    bool ok = json_is_array(more) && json_array_extend(findings, more) == 0;
    json_decref(more);
    return ok || err_set(err, ERR_TIMEOUT,
                         whole ? "the process that looked at it ended early"
                               : "the process that looked at it took longer than half a minute");
}
