#include "cli/config_user.h"

#include "base/writable.h"
#include "config/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the user ---- */

/* The environment of that user, in place of root's. */
static void set_environment(const struct passwd *pw, const struct unit_view *v)
{
    bool unit = v->user && strcmp(v->user, pw->pw_name) == 0;

    setenv("HOME", pw->pw_dir, 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    if (unit && v->state)
        setenv("STATE_DIRECTORY", v->state, 1);
    if (unit && v->runtime)
        setenv("RUNTIME_DIRECTORY", v->runtime, 1);
}

bool config_user_become(const char *name, const struct unit_view *v, struct err *err)
{
    errno = 0;
    const struct passwd *pw = getpwnam(name);

    if (!pw)
        return err_set(err, ERR_NOT_FOUND, "--user %s: there is no such user; `systemd-sysusers` creates the service's",
                       name);
    if (geteuid() == pw->pw_uid)
        return true;
    if (geteuid() != 0)
        return err_set(err, ERR_DENIED, "--user %s: only root can check as another user", name);
    set_environment(pw, v);
    if (initgroups(name, pw->pw_gid) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
        return err_errno(err, ERR_IO, "switching to the user %s", name);
    return true;
}

/* ---- paths it writes to ---- */

static bool is_under(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/' || strcmp(folder, "/") == 0);
}

static bool is_under_one(const char *path, const char *const *folders)
{
    for (; folders && *folders; folders++)
        if (is_under(path, *folders))
            return true;
    return false;
}

/* Whether the unit hides a path: systemd.exec(5), ProtectHome=, PrivateTmp=. */
static bool unit_hides(const struct unit_view *v, const char *path, struct err *err)
{
    static const char *const homes[] = {"/home", "/root", "/run/user", NULL};
    static const char *const tmps[] = {"/tmp", "/var/tmp", NULL};

    if (is_under_one(path, (const char *const *)v->bound))
        return false;
    if (v->no_home && is_under_one(path, homes))
        return !err_set(err, ERR_IO,
                        "%s: entrepot.service has no access to /home, /root and /run/user (ProtectHome=): "
                        "choose another path",
                        path);
    if (v->own_tmp && is_under_one(path, tmps))
        return !err_set(err, ERR_IO,
                        "%s: entrepot.service has a private /tmp, deleted when it stops (PrivateTmp=): choose "
                        "another path",
                        path);
    return false;
}

/* Under ProtectSystem=strict only the paths that the unit names are writable. */
static bool unit_protects(const struct unit_view *v, const char *path, struct err *err)
{
    if (unit_hides(v, path, err))
        return true;
    if (!v->strict || is_under_one(path, (const char *const *)v->writable) ||
        is_under_one(path, (const char *const *)v->bound) || (v->state && is_under(path, v->state)) ||
        (v->logs && is_under(path, v->logs)) || (v->runtime && is_under(path, v->runtime)))
        return false;
    _cleanup_free_ char *advice = writable_unit_advice(path, v->user ? v->user : "root");
    return !err_set(err, ERR_IO, "%s is read-only for entrepot.service; %s", path, advice);
}

/* systemd creates the unit's folders, or changes its owner with all its content. */
static bool systemd_prepares(const struct unit_view *v, const char *path)
{
    struct stat st;

    if (!v || !((v->state && strcmp(path, v->state) == 0) || (v->logs && strcmp(path, v->logs) == 0)))
        return false;
    return stat(path, &st) != 0 || st.st_uid != geteuid();
}

/* Whether systemd will create the folder, or it is writable, and not hidden by the unit. */
static bool folder_is_good(const char *path, const struct unit_view *v, struct err *err)
{
    if (v && unit_protects(v, path, err))
        return false;
    return (v && v->runtime && is_under(path, v->runtime)) || systemd_prepares(v, path) ||
           writable_check_folder(path, err);
}

/* `address`: as in `listen`. */
static bool can_listen(const char *address, const struct unit_view *v, struct err *err)
{
    if (!address || strncmp(address, "unix:", 5) != 0)
        return true;
    _cleanup_free_ char *folder = writable_folder_of(address + 5);
    return folder_is_good(folder, v, err) || err_wrap(err, "the socket %s", address + 5);
}

/* One that is made at the start, beside its folder's other files. */
static bool can_make(const char *file, const struct unit_view *v, struct err *err)
{
    _cleanup_free_ char *folder = writable_folder_of(file);

    return access(file, F_OK) == 0 || folder_is_good(folder, v, err) || err_wrap(err, "intercept.ca");
}

/* The access log: its folder is not created. A pipe or a device needs no more than the right to write. */
static bool can_log(const char *path, const struct unit_view *v, struct err *err)
{
    struct stat st;

    if (!path || strcmp(path, "-") == 0)
        return true;
    _cleanup_free_ char *folder = writable_folder_of(path);
    bool is_there = stat(path, &st) == 0;
    if (!is_there && errno != ENOENT)
        return err_errno(err, ERR_IO, "%s", path);
    if (is_there && S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "%s is a folder: it has to be a file", path);
    if (systemd_prepares(v, folder))
        return true;
    if (!is_there && (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)))
        return err_set(err, ERR_IO, "%s is no folder: create it, for the user that entrepot runs as", folder);
    if (v && (!is_there || S_ISREG(st.st_mode)) && unit_protects(v, path, err))
        return false;
    if (!is_there && access(folder, W_OK | X_OK) != 0)
        return err_set(err, ERR_IO,
                       "no file can be created in %s (%s): take a folder that belongs to the user that entrepot runs "
                       "as",
                       folder, strerror(errno));
    if (!is_there)
        return true;
    return access(path, W_OK) == 0 || err_errno(err, ERR_IO, "writing to %s", path);
}

bool config_user_can_write(const struct config *c, const struct unit_view *v, struct err *err)
{
    _cleanup_free_ char *admin = xasprintf("unix:%s", c->admin_socket);

    if (!folder_is_good(c->cache_path, v, err) ||
        (!systemd_prepares(v, c->cache_path) && !writable_check_content(c->cache_path, "index", err)))
        return err_wrap(err, "the cache");
    for (int i = 0; c->listen[i]; i++)
        if (!can_listen(c->listen[i], v, err))
            return false;
    if (config_intercepts(c) && (!can_make(c->intercept.cert, v, err) || !can_make(c->intercept.key, v, err)))
        return false;
    if (!can_log(c->access_log.path, v, err))
        return err_wrap(err, "access_log.path");
    return can_listen(c->metrics_address, v, err) && can_listen(admin, v, err);
}

/* ---- files it reads ---- */

static bool sees_one(const char *file, const struct unit_view *v, struct err *err)
{
    return !file || !unit_hides(v, file, err);
}

bool config_user_can_see(const struct config *c, const struct unit_view *v, struct err *err)
{
    bool ok = sees_one(c->file, v, err);

    if (ok && config_intercepts(c))
        ok = sees_one(c->intercept.cert, v, err) && sees_one(c->intercept.key, v, err);
    for (int i = 0; ok && i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        ok = sees_one(u->trust.ca, v, err) && sees_one(u->trust.client_cert, v, err) &&
             sees_one(u->trust.client_key, v, err);
        for (int k = 0; ok && k < u->credentials_count; k++) {
            const struct cred_options *o = &u->credentials[k];
            ok = sees_one(o->password_file, v, err) && sees_one(o->docker_config, v, err) &&
                 sees_one(o->key_file, v, err) && sees_one(o->client_secret_file, v, err) &&
                 sees_one(o->command, v, err);
        }
        if (!ok)
            err_wrap(err, "the upstream %s", u->name);
    }
    return ok;
}
