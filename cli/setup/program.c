#include "cli/setup/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

static bool program_start(pid_t *pid, const char *const *argv, struct err *err)
{
    posix_spawn_file_actions_t actions;

    if (posix_spawn_file_actions_init(&actions) != 0)
        abort();
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    errno = posix_spawnp(pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", argv[0]);
    return errno == 0 || err_errno(err, ERR_IO, "running %s", argv[0]);
}

bool setup_run_program(const char *const *argv, struct err *err)
{
    int status;
    pid_t pid;

    if (!program_start(&pid, argv, err))
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(err, ERR_IO, "waiting for %s", argv[0]);
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           err_set(err, ERR_IO, "%s %s failed", argv[0], argv[1] ? argv[1] : "");
}
