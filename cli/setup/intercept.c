#include "cli/setup/intercept.h"

#include <string.h>
#include <strings.h>

bool setup_is_proxy_file(const char *path)
{
    return strcmp(strrchr(path, '/'), SETUP_PROXY_FILE) == 0;
}

static void variable_set(struct proxy_variable *v, const char *value, const char *file, int line)
{
    free(v->value);
    free(v->file);
    *v = (struct proxy_variable){xstrdup(value), xstrdup(file), line};
}

static bool variable_is(const char *assignment, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(assignment, name, len) == 0; /* Go reads https_proxy, too */
}

void proxy_take(struct proxy_search *s, const char *assignment, const char *file, int line)
{
    size_t prefix = strlen(s->prefix);
    const char *name = assignment + (strncmp(assignment, s->prefix, prefix) == 0 ? prefix : 0);
    size_t len = strcspn(name, "=");

    if (name[len] != '=')
        return;
    if (variable_is(name, len, "HTTPS_PROXY") && (!s->https.value || strcmp(s->https.value, s->url) == 0))
        variable_set(&s->https, name + len + 1, file, line);
    if (variable_is(name, len, "NO_PROXY"))
        variable_set(&s->none, name + len + 1, file, line);
}

void proxy_search_free(struct proxy_search *s)
{
    free(s->https.value);
    free(s->https.file);
    free(s->none.value);
    free(s->none.file);
    memset(s, 0, sizeof(*s));
}

/* As Go reads NO_PROXY: names with all that is below them, "*" for everything. */
static bool no_proxy_has(const char *list, const char *host)
{
    size_t host_len = strlen(host), len;

    for (const char *p = list; *p; p += len + (p[len] != '\0')) {
        len = strcspn(p, ", ");
        const char *name = p;
        size_t n = len;
        if (n == 1 && *name == '*')
            return true;
        for (; n > 0 && (*name == '*' || *name == '.'); n--)
            name++;
        if (n > 0 && n <= host_len && strncasecmp(host + host_len - n, name, n) == 0 &&
            (n == host_len || host[host_len - n - 1] == '.'))
            return true;
    }
    return false;
}

bool proxy_check(const struct proxy_search *s, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    if (s->https.value && strcmp(s->https.value, s->url) != 0)
        return err_set(err, ERR_BUSY,
                       "%s, line %d sets another proxy (HTTPS_PROXY), which is left as it is: give that proxy to "
                       "entrepot's own unit, remove it there and run it again",
                       s->https.file, s->https.line);
    for (size_t i = 0; s->none.value && i < t->count; i++)
        if (no_proxy_has(s->none.value, setup_server_of(t->registries[i])))
            setup_leave(v, "%s, line %d: NO_PROXY has %s, which does not come through entrepot; it is left as it is",
                        s->none.file, s->none.line, t->registries[i]);
    return true;
}
