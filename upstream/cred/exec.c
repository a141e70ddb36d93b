/* Credential programs: Docker's credential helpers, and running them. */
#include "upstream/cred/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

enum { HELPER_NAME_MAX = 64, LOOK_MS = 50 };

struct pipes {
    int in[2], out[2]; /* of the program; -1: closed */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_pipes(struct pipes *p)
{
    close_end(&p->in[0]);
    close_end(&p->in[1]);
    close_end(&p->out[0]);
    close_end(&p->out[1]);
}

/* A process group of its own, so that its children are killed with it; default signal handling. */
static int spawn(const char *const *argv, struct pipes *p, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;

    sigemptyset(&none);
    sigemptyset(&all);
    sigaddset(&all, SIGPIPE);
    sigaddset(&all, SIGTERM);
    sigaddset(&all, SIGINT);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, p->in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, p->out[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int rc = posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc;
}

/* Writes the rest of the input, as far as the pipe accepts it. */
static void exec_feed(struct pipes *p, const char **input)
{
    size_t left = strlen(*input);
    ssize_t n = left > 0 ? write(p->in[1], *input, left) : 0;

    if (n > 0)
        *input += n;
    if (**input == '\0' || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_end(&p->in[1]);
}

/* False: end of output. */
static bool exec_gather(struct pipes *p, struct buf *out)
{
    ssize_t n = read(p->out[0], buf_reserve(out, 4096), 4096);

    if (n > 0) {
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool talk(const char *name, struct pipes *p, const char *input, atomic_bool *stop, struct buf *out,
                 struct err *err)
{
    int64_t until = clock_mono_ms() + CRED_TIMEOUT_MS;

    for (;;) {
        struct pollfd fds[2] = {{.fd = p->out[0], .events = POLLIN}, {.fd = p->in[1], .events = POLLOUT}};
        if (atomic_load(stop))
            return err_set(err, ERR_CANCELLED, "the cache is being stopped");
        if (clock_mono_ms() >= until)
            return err_set(err, ERR_TIMEOUT, "%s did not answer within %d s", name, CRED_TIMEOUT_MS / 1000);
        if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, "waiting for %s", name);
        if (p->in[1] >= 0 && fds[1].revents)
            exec_feed(p, &input);
        if (fds[0].revents && !exec_gather(p, out))
            return true;
        if (out->len > CRED_ANSWER_MAX)
            return err_set(err, ERR_UPSTREAM, "%s printed more than %d bytes", name, (int)CRED_ANSWER_MAX);
    }
}

/* It has closed its stdout and should end now. */
static void exec_reap(pid_t pid, bool at_once, int *status)
{
    for (int i = 0; !at_once && i < 20; i++) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return;
        poll(NULL, 0, LOOK_MS);
    }
    kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
}

bool cred_run(const char *const *argv, const char *input, atomic_bool *stop, struct buf *out, int *status,
              struct err *err)
{
    OFF_LOOPS;
    struct pipes p = {{-1, -1}, {-1, -1}};
    pid_t pid;
    int raw = 0;

    if (pipe2(p.in, O_CLOEXEC) != 0 || pipe2(p.out, O_CLOEXEC) != 0) {
        close_pipes(&p);
        return err_errno(err, ERR_IO, "starting %s", argv[0]);
    }
    fcntl(p.in[1], F_SETFL, O_NONBLOCK);
    fcntl(p.out[0], F_SETFL, O_NONBLOCK);
    int rc = spawn(argv, &p, &pid);
    if (rc != 0) {
        close_pipes(&p);
        return err_set(err, ERR_UNREACHABLE, "starting %s: %s", argv[0], strerror(rc));
    }
    close_end(&p.in[0]);
    close_end(&p.out[1]);
    bool ok = talk(argv[0], &p, input, stop, out, err);
    close_pipes(&p);
    exec_reap(pid, !ok, &raw);
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return ok;
}

/* ---- docker-credential-NAME ---- */

static bool is_helper_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len > 0 && len <= HELPER_NAME_MAX && name[len] == '\0';
}

bool cred_ask_helper(struct cred_task *t, const char *name, const char *server, struct err *err)
{
    _cleanup_free_ char *program = xasprintf("docker-credential-%s", name);
    const char *const argv[] = {program, "get", NULL};
    _cleanup_secret_buf_ struct buf out = {0};
    int status = 0;

    /* The name comes from a file with secrets, and may be one by mistake: it is not shown. */
    if (!is_helper_name(name))
        return err_set(err, ERR_INVALID, "the helper's name is not valid");
    if (!cred_run(argv, server, t->stop, &out, &status, err))
        return false;
    /* how the protocol reports an unknown server: on stdout, with a failure status */
    if (status != 0 && out.data && strstr(out.data, "credentials not found"))
        return true;
    if (status != 0)
        return err_set(err, ERR_UPSTREAM, "%s ended with status %d", program, status);
    json_t *doc = json_loads(out.data ? out.data : "", 0, NULL);
    t->id.username = cred_json_text(doc, "Username");
    t->id.secret = cred_json_text(doc, "Secret");
    json_decref(doc);
    if (!t->id.username || !t->id.secret)
        return err_set(err, ERR_UPSTREAM, "%s printed no Username and Secret", program);
    t->life_ms = CRED_HELPER_MS;
    t->id.is_identity_token = strcmp(t->id.username, "<token>") == 0;
    return true;
}

static bool exec_ask(struct cred_task *t, struct err *err)
{
    const char *server = strcmp(t->host, "docker.io") == 0 ? "https://index.docker.io/v1/" : t->host;

    return cred_ask_helper(t, t->o->helper, server, err);
}

const struct cred_backend CRED_HELPER = {"helper", CRED_FOR_HOST, 0, exec_ask};
