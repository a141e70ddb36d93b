/* Listening sockets outlive the process: systemd keeps a copy of each (sd_notify(3), FDSTORE=1) from the start on, and
 * hands them to the next process, after a restart as after a crash. Meanwhile clients wait in the kernel's queues; they
 * would be refused otherwise. Sockets of a socket unit are systemd's own, and a unix socket has a file, which goes.
 *
 * When the service is stopped, systemd closes what it keeps, but only after the last request has ended. So the daemon
 * asks for which job it is to end, and takes its sockets back if nobody comes after it. */
#include "proxy/private.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SYSTEMD     "org.freedesktop.systemd1"
#define KEPT_PREFIX "kept "

enum { BARRIER_US = 2000000, ASK_US = 300000 };

/* ---- what is kept ---- */

/* A name must not contain ':'. */
static char *kept_name(int fd)
{
    _cleanup_free_ char *address = socket_address(fd);

    for (char *c = address; *c; c++)
        if (*c == ':')
            *c = ',';
    return xasprintf(KEPT_PREFIX "%s", address);
}

static bool has_keeper(void)
{
    return getenv("NOTIFY_SOCKET") != NULL;
}

/* What is kept, for keep_remove_all(). */
static struct {
    pthread_mutex_t lock;
    char *names[LISTENERS_MAX];
    int count;
} kept_names = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int kept_place(const char *name)
{
    int i = 0;

    while (i < kept_names.count && strcmp(kept_names.names[i], name) != 0)
        i++;
    return i;
}

static void note_kept(const char *name, bool is_kept)
{
    pthread_mutex_lock(&kept_names.lock);
    int i = kept_place(name);
    if (is_kept && i == kept_names.count && i < LISTENERS_MAX) {
        kept_names.names[kept_names.count++] = xstrdup(name);
    } else if (!is_kept && i < kept_names.count) {
        free(kept_names.names[i]);
        kept_names.names[i] = kept_names.names[--kept_names.count];
    }
    pthread_mutex_unlock(&kept_names.lock);
}

void keep_remove_all(void)
{
    if (pthread_mutex_trylock(&kept_names.lock) != 0)
        return;
    for (int i = 0; i < kept_names.count; i++)
        sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", kept_names.names[i]);
    pthread_mutex_unlock(&kept_names.lock);
}

void keep_add(const struct listener *l)
{
    int fds[KEPT_MAX], count = has_keeper() ? listener_sockets(l, fds, KEPT_MAX) : 0;

    if (count == 0)
        return;
    _cleanup_free_ char *name = kept_name(fds[0]), *text = xasprintf("FDSTORE=1\nFDNAME=%s", name);
    int rc = sd_pid_notify_with_fds(0, 0, text, fds, (unsigned)count);
    note_kept(name, true);
    if (rc < 0)
        log_warn("systemd cannot keep %s while entrepot restarts: %s", listener_address(l), strerror(-rc));
}

static void remove_at(int fd)
{
    _cleanup_free_ char *name = kept_name(fd);

    note_kept(name, false);
    sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void keep_remove(const struct listener *l)
{
    int fds[KEPT_MAX];

    if (has_keeper() && listener_sockets(l, fds, KEPT_MAX) > 0)
        remove_at(fds[0]);
}

/* ---- what was kept ---- */

int keep_read(struct kept *k, void (*take)(struct proxy *p, int fd), struct proxy *p)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names), others = 0;

    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (strncmp(names[i], KEPT_PREFIX, strlen(KEPT_PREFIX)) != 0) {
            take(p, fd);
            others++;
        } else if (k->count < KEPT_MAX) {
            k->fds[k->count++] = fd;
        } else {
            close(fd);
        }
        free(names[i]);
    }
    free(names);
    if (k->count > 0)
        log_info("%d listening sockets were kept", k->count);
    return others;
}

int keep_find(struct kept *k, const char *address, int *fds)
{
    int found = 0, left = 0;

    for (int i = 0; i < k->count; i++)
        if (socket_is_at(k->fds[i], address))
            fds[found++] = k->fds[i];
        else
            k->fds[left++] = k->fds[i];
    k->count = left;
    return found;
}

void keep_close(struct kept *k)
{
    for (int i = 0; i < k->count; i++) {
        remove_at(k->fds[i]);
        close(k->fds[i]);
    }
    /* Until systemd has closed its own, their addresses are in use. */
    if (k->count > 0)
        sd_notify_barrier(0, BARRIER_US);
    k->count = 0;
}

/* ---- for whom ---- */

/* The kind of job that systemd has for a unit, "" if none; the caller frees it. NULL: it cannot be asked. */
static char *job_of(sd_bus *bus, const char *unit)
{
    sd_bus_message *reply = NULL;
    const char *job = NULL;
    uint32_t id = 0;
    char *type = NULL;

    if (sd_bus_get_property(bus, SYSTEMD, unit, SYSTEMD ".Unit", "Job", NULL, &reply, "(uo)") >= 0 &&
        sd_bus_message_read(reply, "(uo)", &id, &job) >= 0 &&
        (id == 0 || sd_bus_get_property_string(bus, SYSTEMD, job, SYSTEMD ".Job", "JobType", NULL, &type) < 0))
        type = xstrdup("");
    sd_bus_message_unref(reply);
    return type;
}

/* Whether a socket unit is about to start, which could not have the addresses that are kept. */
static bool has_socket_job(sd_bus *bus, const char *unit)
{
    char **names = NULL, *path = NULL;
    bool any = false;

    if (sd_bus_get_property_strv(bus, SYSTEMD, unit, SYSTEMD ".Unit", "TriggeredBy", NULL, &names) < 0)
        return false;
    for (int i = 0; names && names[i]; i++) {
        if (!any && sd_bus_path_encode("/org/freedesktop/systemd1/unit", names[i], &path) >= 0) {
            _cleanup_free_ char *job = job_of(bus, path);
            any = job && job[0];
            free(path);
        }
        free(names[i]);
    }
    free(names);
    return any;
}

/* A job "restart" stops the service and becomes a "start". */
static bool unit_has_heir(sd_bus *bus, const char *unit)
{
    _cleanup_free_ char *job = job_of(bus, unit);

    return !job || (job[0] && strcmp(job, "stop") != 0 && !has_socket_job(bus, unit));
}

/* A call would wait for the bus to greet for as long as it takes. */
static bool bus_greets(sd_bus *bus)
{
    int64_t until = clock_mono_ms() + ASK_US / 1000, now;
    int rc = 1;

    while (rc >= 0 && sd_bus_is_ready(bus) == 0 && (now = clock_mono_ms()) < until) {
        rc = sd_bus_process(bus, NULL);
        if (rc == 0)
            rc = sd_bus_wait(bus, (uint64_t)(until - now) * 1000);
    }
    return sd_bus_is_ready(bus) > 0;
}

bool keep_has_heir(void)
{
    sd_bus_message *reply = NULL;
    sd_bus *bus = NULL;
    const char *unit;
    bool heir = true;

    if (!has_keeper() || sd_bus_open_system(&bus) < 0)
        return true;
    sd_bus_set_method_call_timeout(bus, ASK_US);
    if (bus_greets(bus) &&
        sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "GetUnitByPID", NULL, &reply,
                           "u", (uint32_t)getpid()) >= 0 &&
        sd_bus_message_read(reply, "o", &unit) >= 0)
        heir = unit_has_heir(bus, unit);
    sd_bus_message_unref(reply);
    sd_bus_close_unref(bus);
    return heir;
}
