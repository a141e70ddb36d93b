/* The environment of systemd's units: systemd.unit(5), systemd.exec(5). Read is what can set a variable for a unit: its
 * own file and drop-ins, those for all services, the files they name, and the manager's own configuration. */
#include "cli/setup/engines.h"
#include "cli/setup/intercept.h"
#include "cli/setup/place.h"

#include <string.h>
#include <unistd.h>

static const char *const UNIT_FOLDERS[] = {"/etc/systemd/system", "/run/systemd/system",
                                           "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                           "/lib/systemd/system"};

struct unit_scan {
    const char *unit;
    struct proxy_search search;
};

/* ---- texts ---- */

/* The next part of a line, without its quotes; the caller frees it. NULL: at the end. */
static char *next_part(const char **p)
{
    _cleanup_buf_ struct buf out = {0};
    char quote = '\0';

    *p += strspn(*p, " \t");
    if (!**p)
        return NULL;
    buf_adds(&out, "");
    for (; **p && (quote || !strchr(" \t", **p)); (*p)++) {
        if (quote ? **p == quote : **p == '"' || **p == '\'')
            quote = quote ? '\0' : **p;
        else if (**p == '\\' && (*p)[1])
            buf_add(&out, ++*p, 1);
        else
            buf_add(&out, *p, 1);
    }
    return xstrndup(out.data, out.len);
}

/* A line with those that continue it ("\" at the end), without what comments say; false: at the end. */
static bool next_line(const char **p, struct buf *out, int *line, int *next)
{
    bool more = true;

    buf_clear(out);
    buf_adds(out, "");
    if (!**p)
        return false;
    for (*line = *next; more && **p; ++*next) {
        size_t len = strcspn(*p, "\n"), n = len;
        const char *text = *p + strspn(*p, " \t");
        while (n > 0 && (*p)[n - 1] == '\r')
            n--;
        bool comment = *text == '#' || *text == ';';
        more = comment ? out->len > 0 : n > 0 && (*p)[n - 1] == '\\';
        if (!comment)
            buf_addf(out, "%.*s ", (int)(more ? n - 1 : n), *p);
        *p += len + ((*p)[len] != '\0');
    }
    return true;
}

/* ---- what sets variables ---- */

static bool scan_environment(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    const struct setup_text *text = setup_view_read(v, path, err);
    struct unit_scan *scan = arg;
    _cleanup_buf_ struct buf line = {0};
    const char *p = text && text->bytes.len > 0 ? text->bytes.data : "";

    for (int nth = 0, next = 1; next_line(&p, &line, &nth, &next);) {
        const char *at = line.data;
        _cleanup_free_ char *part = next_part(&at);
        if (part)
            proxy_take(&scan->search, part, path, nth);
    }
    return text != NULL;
}

/* EnvironmentFile=: one that cannot be read sets nothing. */
static void scan_environment_file(struct unit_scan *scan, struct setup_view *v, const char *named)
{
    _cleanup_free_ char *name = xstrndup(scan->unit, strcspn(scan->unit, "."));
    _cleanup_buf_ struct buf path = {0};

    for (const char *p = named + (*named == '-'); *p; p++)
        if (p[0] == '%' && p[1] == 'n')
            buf_adds(&path, scan->unit), p++;
        else if (p[0] == '%' && (p[1] == 'N' || p[1] == 'p'))
            buf_adds(&path, name), p++;
        else
            buf_add(&path, p, 1);
    char *slash = path.len > 0 ? strrchr(path.data, '/') : NULL;
    if (!slash || path.data[0] != '/')
        return;
    *slash = '\0';
    setup_view_list(v, path.data[0] ? path.data : "/", slash + 1, scan_environment, scan, NULL);
}

static void scan_setting(struct unit_scan *scan, struct setup_view *v, const char *path, const char *line, int nth)
{
    const char *equals = strchr(line, '='), *at = equals ? equals + 1 : NULL;
    char *part;

    if (!equals)
        return;
    line += strspn(line, " \t");
    _cleanup_free_ char *key = xstrndup(line, strcspn(line, " \t="));
    bool environment = strcmp(key, "Environment") == 0 || strcmp(key, "DefaultEnvironment") == 0;
    bool file = strcmp(key, "EnvironmentFile") == 0, command = strcmp(key, "ExecStart") == 0;
    while ((environment || file || command) && (part = next_part(&at))) {
        if (environment)
            proxy_take(&scan->search, part, path, nth);
        else if (file)
            scan_environment_file(scan, v, part);
        else if (strncmp(part, "--https-proxy=", 14) == 0) { /* dockerd's */
            _cleanup_free_ char *as_variable = xasprintf("HTTPS_PROXY=%s", part + 14);
            proxy_take(&scan->search, as_variable, path, nth);
        }
        free(part);
    }
}

static bool scan_unit(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    const struct setup_text *text = setup_is_proxy_file(path) ? NULL : setup_view_read(v, path, err);
    _cleanup_buf_ struct buf line = {0};
    const char *p = text && text->bytes.len > 0 ? text->bytes.data : "";

    for (int nth = 0, next = 1; next_line(&p, &line, &nth, &next);)
        scan_setting(arg, v, path, line.data, nth);
    return text || setup_is_proxy_file(path);
}

static bool scan_folder(struct unit_scan *scan, struct setup_view *v, const char *folder, struct err *err)
{
    _cleanup_free_ char *own = xasprintf("%s/%s.d", folder, scan->unit);
    _cleanup_free_ char *all = xasprintf("%s/service.d", folder);

    return setup_view_list(v, folder, scan->unit, scan_unit, scan, err) &&
           setup_view_list(v, own, "*.conf", scan_unit, scan, err) &&
           setup_view_list(v, all, "*.conf", scan_unit, scan, err);
}

static bool scan_all(struct unit_scan *scan, struct setup_view *v, struct err *err)
{
    bool ok = setup_view_list(v, "/etc/systemd", "system.conf", scan_unit, scan, err) &&
              setup_view_list(v, "/etc/systemd/system.conf.d", "*.conf", scan_unit, scan, err);

    for (size_t i = 0; ok && i < ARRAY_LEN(UNIT_FOLDERS); i++)
        ok = scan_folder(scan, v, UNIT_FOLDERS[i], err);
    return ok;
}

/* ---- drop-ins ---- */

static bool unit_is_here(const struct setup_view *v, const char *unit)
{
    for (size_t i = 0; i < ARRAY_LEN(UNIT_FOLDERS); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", UNIT_FOLDERS[i], unit);
        _cleanup_free_ char *full = place_resolve(v->root, path, NULL);
        if (full && access(full, F_OK) == 0)
            return true;
    }
    return false;
}

static bool unit_plan(const struct setup_engine *e, const char *unit, struct setup_view *v,
                      const struct setup_target *t, struct err *err)
{
    struct unit_scan scan = {unit, {.url = t->proxy, .prefix = e->prefix ? e->prefix : ""}};
    _cleanup_free_ char *own = xasprintf("%s/%s.d" SETUP_PROXY_FILE, UNIT_FOLDERS[0], unit);
    _cleanup_buf_ struct buf out = {0};

    bool ok = scan_all(&scan, v, err) && proxy_check(&scan.search, v, t, err), led = scan.search.https.value != NULL;
    proxy_search_free(&scan.search);
    if (!ok || led)
        return ok;
    buf_addf(&out,
             SETUP_MARK " %s --intercept`; `entrepot setup %s --undo` removes it.\n[Service]\n"
                        "Environment=\"%sHTTPS_PROXY=%s\"\n",
             e->name, e->name, e->prefix ? e->prefix : "", t->proxy);
    return setup_view_write(v, own, &out, 0644, err);
}

bool units_plan_proxy(const struct setup_engine *e, struct setup_view *v, const struct setup_target *t, struct err *err)
{
    bool any = false;

    for (const char *const *unit = e->units; *unit; unit++)
        if (unit_is_here(v, *unit)) {
            any = true;
            if (!unit_plan(e, *unit, v, t, err))
                return false;
        }
    return any || unit_plan(e, e->units[0], v, t, err);
}
