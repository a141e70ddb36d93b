/* Each engine on this node: whether it runs, is set up, and has asked lately. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "cli/setup/look.h"
#include "cli/setup/setup.h"
#include "config/config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- processes ---- */

/* "k3s-server" is k3s; "containerd-shim" is not containerd. */
static bool is_program(const char *comm, const char *program)
{
    size_t len = strlen(program);

    return strncmp(comm, program, len) == 0 &&
           (!comm[len] || strcmp(comm + len, "-server") == 0 || strcmp(comm + len, "-agent") == 0);
}

static bool process_is(int proc, const char *pid, const char *const *programs)
{
    _cleanup_free_ char *path = xasprintf("%s/comm", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    char comm[32] = "";
    ssize_t n = fd >= 0 ? read(fd, comm, sizeof(comm) - 1) : -1;

    if (fd >= 0)
        close(fd);
    comm[n > 0 ? strcspn(comm, "\n") : 0] = '\0';
    for (; *programs; programs++)
        if (is_program(comm, *programs))
            return true;
    return false;
}

static bool engine_runs(const struct setup_engine *e)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;
    bool runs = false;

    while (proc && !runs && (d = readdir(proc)))
        runs = isdigit((unsigned char)d->d_name[0]) && process_is(dirfd(proc), d->d_name, e->programs);
    if (proc)
        closedir(proc);
    return runs;
}

/* ---- findings ---- */

/* What it is known by in the daemon's status (proxy/seen/engines.h). */
static const char *engine_kind(const char *engine)
{
    return strcmp(engine, "k3s") == 0 || strcmp(engine, "rke2") == 0 ? "containerd" : engine;
}

static char *engine_last(const char *engine, const json_t *status)
{
    const json_t *seen = json_object_get(json_object_get(status, "engines"), engine_kind(engine));
    char ago[CLI_TEXT];

    if (!status)
        return xstrdup("");
    if (!seen)
        return xstrdup(", has requested nothing since entrepot started");
    return xasprintf(", last request %s", cli_ago(clock_now_s() - cli_bytes(seen, "last_request_seconds"), ago));
}

static const char *engine_running(const struct setup_engine *e)
{
    if (strcmp(e->name, "podman") == 0) /* and buildah and skopeo: each command reads the files */
        return "";
    return engine_runs(e) ? "runs, " : "does not run, ";
}

static void look_at_engine(const struct setup_engine *e, const struct setup_target *t, const json_t *status,
                           json_t *findings)
{
    static const struct {
        enum doctor_level level;
        const char *what;
    } STATES[] = {
        [SETUP_WHOLE] = {DOCTOR_OK, "is set up"},
        [SETUP_PARTLY] = {DOCTOR_WARNING, "is set up for some registries only"},
        [SETUP_OTHERWISE] = {DOCTOR_OK, "is set up with options of its own"},
        [SETUP_EDITED] = {DOCTOR_BROKEN, "was set up, and changed by hand since"},
        [SETUP_ABSENT] = {DOCTOR_WARNING, "is not set up"},
        [SETUP_UNKNOWN] = {DOCTOR_UNKNOWN, "has a configuration that cannot be looked at"},
    };
    struct err why = {0};
    enum setup_state state = setup_look(e, t, "", &why);
    bool absent = state == SETUP_ABSENT || state == SETUP_EDITED;
    _cleanup_free_ char *last = engine_last(e->name, absent ? NULL : status);
    _cleanup_free_ char *what = xasprintf("%s%s%s", engine_running(e), STATES[state].what, last);
    _cleanup_free_ char *advice = xasprintf("entrepot setup %s --dry-run shows what is missing, without --dry-run it "
                                            "is written",
                                            e->name);

    doctor_add(findings, &(struct doctor_finding){TOPIC_ENGINE, STATES[state].level, e->name, what,
                                                  state == SETUP_WHOLE || state == SETUP_OTHERWISE ? NULL : why.msg,
                                                  absent ? advice : NULL});
}

void doctor_look_at_engines(const struct config *c, const json_t *status, json_t *findings)
{
    _cleanup_free_ char *address = setup_address(c);
    struct setup_target target = {.address = address};
    size_t found = 0;

    setup_target_add_all(&target, c);
    for (size_t i = 0; address && i < SETUP_ENGINES_COUNT; i++)
        if (setup_engine_is_here(SETUP_ENGINES[i], "")) {
            look_at_engine(SETUP_ENGINES[i], &target, status, findings);
            found++;
        }
    if (!address)
        doctor_add(findings, &(struct doctor_finding){TOPIC_ENGINE, DOCTOR_WARNING, NULL,
                                                      "no listener is one that engines can be led to", NULL,
                                                      "add an address for all registries under listen"});
    else if (found == 0)
        doctor_add(findings,
                   &(struct doctor_finding){TOPIC_ENGINE, DOCTOR_OK, NULL, "none was found on this node", NULL, NULL});
    setup_target_clear(&target);
}
