/* Each engine on this node: whether it runs, is set up, and has asked lately. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "cli/setup/intercept.h"
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

/* Where engines may be led to: as a mirror, or through the forward proxy. */
struct engine_doors {
    struct setup_target mirror, proxy; /* without an address: there is no such door */
};

struct engine_look {
    enum setup_state state;
    bool proxy; /* by the one that it is led to, or was */
    struct err why;
};

static bool engine_is_led(enum setup_state state)
{
    return state == SETUP_WHOLE || state == SETUP_PARTLY;
}

/* A proxy counts if it is ours, or a setup has led the engine to one. */
static void engine_look_by_proxy(const struct setup_engine *e, const struct setup_target *t, struct engine_look *l)
{
    struct engine_look by = {.proxy = true, .state = SETUP_OTHERWISE};
    bool was = setup_has_proxy(e, "");

    if (t->address)
        by.state = setup_look(e, t, "", &by.why);
    else
        err_set(&by.why, ERR_NOT_FOUND, "intercept.address is not set");
    if (was || engine_is_led(by.state))
        *l = by;
}

static struct engine_look engine_look(const struct setup_engine *e, const struct engine_doors *doors)
{
    struct engine_look l = {.state = SETUP_ABSENT};

    if (doors->mirror.address)
        l.state = setup_look(e, &doors->mirror, "", &l.why);
    else
        err_set(&l.why, ERR_NOT_FOUND, "no listener is one for mirrors");
    if (!engine_is_led(l.state))
        engine_look_by_proxy(e, &doors->proxy, &l);
    return l;
}

/* An engine refuses what a proxy answers under an authority that it does not trust. */
static void look_at_trust(const struct setup_engine *e, const struct setup_target *t, json_t *findings)
{
    const struct setup_run here = {.root = ""};
    _cleanup_free_ char *advice =
        xasprintf("entrepot setup %s --intercept puts it there; then restart the engine", e->name);
    struct err why = {0};

    if (bundle_check(t, &here, &why))
        return;
    bool missing = why.code == ERR_NOT_FOUND;
    doctor_add(findings, &(struct doctor_finding){TOPIC_ENGINE, missing ? DOCTOR_BROKEN : DOCTOR_UNKNOWN, e->name,
                                                  missing ? "it does not trust the authority of interception"
                                                          : "whether it trusts the authority of interception",
                                                  why.msg, missing ? advice : NULL});
}

static const struct engine_state {
    enum doctor_level level;
    const char *as_mirror, *by_proxy;
    bool asks; /* it may have requested something */
} ENGINE_STATES[] = {
    [SETUP_WHOLE] = {DOCTOR_OK, "is set up", "is set up with the proxy", true},
    [SETUP_PARTLY] = {DOCTOR_WARNING, "is set up for some registries only",
                      "is set up with the proxy, for some registries only", true},
    [SETUP_OTHERWISE] = {DOCTOR_OK, "is set up with options of its own", "is set up with another proxy", true},
    [SETUP_EDITED] = {DOCTOR_BROKEN, "was set up, and changed by hand since",
                      "was set up with the proxy, and changed by hand since", false},
    [SETUP_ABSENT] = {DOCTOR_WARNING, "is not set up", "is not set up", false},
    [SETUP_UNKNOWN] = {DOCTOR_UNKNOWN, "has a configuration that cannot be looked at",
                       "has a configuration that cannot be looked at", true},
};

static void look_at_engine(const struct setup_engine *e, const struct engine_doors *doors, const json_t *status,
                           json_t *findings)
{
    struct engine_look l = engine_look(e, doors);
    const struct engine_state *s = &ENGINE_STATES[l.state];
    bool other = l.proxy && l.state == SETUP_OTHERWISE; /* nothing of it may come here */
    bool good = s->level == DOCTOR_OK && !other;
    _cleanup_free_ char *last = engine_last(e->name, s->asks ? status : NULL);
    _cleanup_free_ char *what = xasprintf("%s%s%s", engine_running(e), l.proxy ? s->by_proxy : s->as_mirror, last);
    _cleanup_free_ char *advice = xasprintf("entrepot setup %s%s --dry-run shows what is missing, without --dry-run it "
                                            "is written",
                                            e->name, l.proxy ? " --intercept" : "");

    doctor_add(findings, &(struct doctor_finding){TOPIC_ENGINE, other ? DOCTOR_WARNING : s->level, e->name, what,
                                                  good ? NULL : l.why.msg, other || !s->asks ? advice : NULL});
    if (l.proxy && engine_is_led(l.state))
        look_at_trust(e, &doors->proxy, findings);
}

void doctor_look_at_engines(const struct config *c, const json_t *status, json_t *findings)
{
    struct engine_doors doors = {0};
    _cleanup_free_ char *address = setup_address(c);
    _cleanup_free_ char *forward = c->intercept.address ? setup_address_of(c->intercept.address) : NULL;
    _cleanup_free_ char *proxy = forward ? xasprintf("http://%s", forward) : NULL;
    size_t found = 0;

    doors.mirror.address = address;
    doors.proxy.address = forward;
    doors.proxy.proxy = proxy;
    doors.proxy.ca = c->intercept.cert;
    setup_target_add_all(&doors.mirror, c);
    setup_target_add_opened(&doors.proxy, c);
    for (size_t i = 0; i < SETUP_ENGINES_COUNT; i++)
        if (setup_engine_is_here(SETUP_ENGINES[i], "")) {
            look_at_engine(SETUP_ENGINES[i], &doors, status, findings);
            found++;
        }
    if (!address && !proxy)
        doctor_add(findings, &(struct doctor_finding){TOPIC_ENGINE, DOCTOR_WARNING, NULL,
                                                      "no listener is one that engines can be led to", NULL,
                                                      "add an address for all registries under listen"});
    else if (found == 0)
        doctor_add(findings,
                   &(struct doctor_finding){TOPIC_ENGINE, DOCTOR_OK, NULL, "none was found on this node", NULL, NULL});
    setup_target_clear(&doors.mirror);
    setup_target_clear(&doors.proxy);
}
