/* The daemon: whether it runs, which one it is, what it says of itself. */
#include "cli/doctor/doctor.h"

#include "base/buf.h"
#include "base/io.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DAEMON_ASK_S = 5, ENVIRONMENT_MAX = 1 << 20 };

static void look_at_limit(const json_t *u, json_t *findings)
{
    const json_t *left = json_object_get(u, "ratelimit_remaining"), *limit = json_object_get(u, "ratelimit_limit");
    int64_t held_s = cli_bytes(u, "held_seconds"), n = json_integer_value(left), of = json_integer_value(limit);
    const char *name = cli_text(u, "name");
    _cleanup_free_ char *what = NULL;

    if (held_s > 0)
        what = xasprintf("its rate limit is used up: the next request goes out in %lld s", (long long)held_s);
    else if (json_is_integer(left) && json_is_integer(limit))
        what = xasprintf("%lld of %lld pulls left", (long long)n, (long long)of);
    else if (json_is_integer(left))
        what = xasprintf("%lld pulls left", (long long)n);
    if (!what)
        return;
    bool little = held_s > 0 || (json_is_integer(limit) ? n * 10 < of : n < 10);
    doctor_add(findings,
               &(struct doctor_finding){TOPIC_REGISTRY, little ? DOCTOR_WARNING : DOCTOR_OK, name, what, NULL,
                                        little ? "credentials of an account have a limit of their own; cached images "
                                                 "are still served"
                                               : NULL});
}

static void look_at_upstreams(const json_t *list, json_t *findings)
{
    const json_t *u;
    size_t i;

    json_array_foreach(list, i, u) {
        look_at_limit(u, findings);
        if (json_is_true(json_object_get(u, "credentials_refused")))
            doctor_add(findings, &(struct doctor_finding){TOPIC_REGISTRY, DOCTOR_WARNING, cli_text(u, "name"),
                                                          "it refused the credentials when the daemon last used them",
                                                          NULL, "renew them; entrepot reads them again by itself"});
    }
}

static void look_at_version(const json_t *status, json_t *findings)
{
    const char *version = cli_text(status, "version");
    bool same = strcmp(version, ENTREPOT_VERSION) == 0;
    _cleanup_free_ char *what = xasprintf("it runs, version %s", version);

    doctor_add(findings,
               &(struct doctor_finding){TOPIC_DAEMON, same ? DOCTOR_OK : DOCTOR_WARNING, NULL, what,
                                        same ? NULL : "this command is version " ENTREPOT_VERSION,
                                        same ? NULL : "restart it after an upgrade: systemctl restart entrepot"});
}

static void look_at_offline(const json_t *status, json_t *findings)
{
    if (json_is_true(json_object_get(status, "offline")))
        doctor_add(findings, &(struct doctor_finding){TOPIC_DAEMON, DOCTOR_WARNING, NULL,
                                                      "offline mode is on: only what is cached is served", NULL,
                                                      "entrepot offline off ends it"});
}

json_t *doctor_look_at_daemon(const struct cli_options *o, json_t *findings)
{
    struct cli_options bounded = *o;
    struct err err = {0};
    json_t *status = NULL;

    bounded.timeout_s = DAEMON_ASK_S;
    if (!cli_ask(&bounded, "/v1/status", NULL, &status, &err)) {
        bool unknown = err.code == ERR_DENIED || err.code == ERR_INVALID; /* or the configuration names no socket */
        doctor_add(findings,
                   &(struct doctor_finding){TOPIC_DAEMON, unknown ? DOCTOR_UNKNOWN : DOCTOR_BROKEN, NULL,
                                            unknown ? "it could not be asked" : "it does not answer", err.msg,
                                            unknown ? NULL : "systemctl status entrepot, journalctl -u entrepot"});
        return NULL;
    }
    look_at_version(status, findings);
    look_at_offline(status, findings);
    look_at_upstreams(json_object_get(status, "upstreams"), findings);
    return status;
}

json_t *doctor_ask_peers(const struct cli_options *o)
{
    struct cli_options bounded = *o;
    struct err err = {0};
    json_t *answer = NULL;

    bounded.timeout_s = DAEMON_ASK_S;
    return cli_ask(&bounded, "/v1/peers", NULL, &answer, &err) ? answer : NULL;
}

/* ---- its process ---- */

static int open_environment(void)
{
    struct ucred peer;
    char path[64];

    if (!cli_daemon_process(&peer) || peer.pid <= 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)peer.pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool is_proxy(const char *variable)
{
    static const char *const names[] = {"http_proxy=", "https_proxy=", "all_proxy=", "no_proxy="};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strncasecmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void drop_proxies(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "all_proxy", "no_proxy",
                                        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
}

void doctor_take_proxies(void)
{
    int fd = open_environment();
    _cleanup_buf_ struct buf all = {0};
    char data[4096];
    ssize_t n;

    if (fd < 0)
        return;
    while ((n = io_read(fd, data, sizeof(data))) > 0 && all.len < ENVIRONMENT_MAX)
        buf_add(&all, data, (size_t)n);
    close(fd);
    if (n < 0 || all.len == 0) /* not permitted */
        return;
    drop_proxies();
    buf_add(&all, "", 1);
    for (char *v = all.data; v < all.data + all.len; v += strlen(v) + 1) {
        char *value = is_proxy(v) ? strchr(v, '=') : NULL;
        if (!value)
            continue;
        *value = '\0';
        setenv(v, value + 1, 1);
        *value = '=';
    }
}

char *doctor_daemon_user(void)
{
    struct ucred peer;
    const struct passwd *pw = cli_daemon_process(&peer) && peer.uid != geteuid() ? getpwuid(peer.uid) : NULL;

    return pw ? xstrdup(pw->pw_name) : NULL;
}
