#include "cli/config_files.h"

#include "base/authority.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/config.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

static bool check_json(const char *key, const char *file, struct err *err)
{
    _cleanup_secret_ char *text = file ? secret_read(file, err) : NULL;

    if (!file)
        return true;
    if (!text)
        return err_wrap(err, "%s", key);
    json_t *doc = json_loads(text, 0, NULL);
    bool ok = json_is_object(doc);
    json_decref(doc); /* freed, not wiped: the file still has it */
    return ok || err_set(err, ERR_INVALID, "%s: %s is not a JSON object", key, file);
}

static bool is_on_path(const char *program)
{
    const char *path = getenv("PATH");
    _cleanup_free_ char *copy = xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
    char *rest = copy, *folder;

    while ((folder = strsep(&rest, ":"))) {
        _cleanup_free_ char *full = xasprintf("%s/%s", *folder ? folder : ".", program);
        if (access(full, X_OK) == 0)
            return true;
    }
    return false;
}

static bool check_credentials(const struct config_upstream *u, const struct cred_options *o,
                              void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
    _cleanup_free_ char *program = o->helper ? xasprintf("docker-credential-%s", o->helper) : NULL;

    if (program && !is_on_path(program)) {
        _cleanup_free_ char *text =
            xasprintf("upstream %s: credentials.helper: the program %s is not on PATH", u->name, program);
        warn(arg, text);
    }
    return check_json("docker_config", o->docker_config, err) && check_json("key_file", o->key_file, err);
}

static bool check_authority(const struct config *c, void (*warn)(void *arg, const char *text), void *arg,
                            struct err *err)
{
    const struct authority_files files = {c->intercept.cert, c->intercept.key};

    if (!config_intercepts(c) || (access(files.cert, F_OK) != 0 && access(files.key, F_OK) != 0))
        return true; /* it is made at the start */
    struct authority *a = authority_load(&files, err);
    if (!a)
        return err_wrap(err, "intercept.ca");
    char **hosts = config_intercept_hosts(c);
    _cleanup_free_ char *missing = authority_unpermitted(a, (const char *const *)hosts);
    if (missing) {
        _cleanup_free_ char *text = xasprintf("intercept.ca: %s was made for other hosts; these are not opened: %s; "
                                              "`entrepot ca --rotate` makes one for them",
                                              files.cert, missing);
        warn(arg, text);
    }
    config_free_hosts(hosts);
    authority_unref(a);
    return true;
}

bool config_files_check(const struct config *c, void (*warn)(void *arg, const char *text), void *arg, struct err *err)
{
    for (int i = 0; i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        bool ok = true; /* config_load() has checked the certificates */
        for (int k = 0; ok && k < u->credentials_count; k++)
            ok = check_credentials(u, &u->credentials[k], warn, arg, err);
        if (!ok)
            return err_wrap(err, "the upstream %s", u->name);
    }
    return check_authority(c, warn, arg, err);
}
