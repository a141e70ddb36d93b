/* Reads from systemd, over the system bus, what entrepot.service may write to. A failure is not an error: the node may
 * run without systemd. */
#include "cli/config_user.h"

#include <pwd.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define SYSTEMD      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_NAME    "entrepot.service"

struct unit_bus {
    sd_bus *bus;
    const char *unit; /* its path on the bus */
};

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

static char *unit_get_text(const struct unit_bus *a, const char *property)
{
    char *text = NULL;

    if (sd_bus_get_property_string(a->bus, SYSTEMD, a->unit, SYSTEMD ".Service", property, NULL, &text) < 0)
        return NULL;
    if (*text)
        return text;
    free(text);
    return NULL;
}

static bool unit_is(const struct unit_bus *a, const char *property, const char *value)
{
    _cleanup_free_ char *text = unit_get_text(a, property);

    return text && strcmp(text, value) == 0;
}

static bool unit_get_bool(const struct unit_bus *a, const char *property)
{
    int value = 0;

    return sd_bus_get_property_trivial(a->bus, SYSTEMD, a->unit, SYSTEMD ".Service", property, NULL, 'b', &value) >=
               0 &&
           value;
}

/* The folder "entrepot" in StateDirectory=, LogsDirectory= or RuntimeDirectory=. */
static char *unit_get_folder(const struct unit_bus *a, const char *property, const char *base)
{
    char **names = NULL, *found = NULL;

    if (sd_bus_get_property_strv(a->bus, SYSTEMD, a->unit, SYSTEMD ".Service", property, NULL, &names) < 0)
        return NULL;
    for (char **n = names; n && *n; n++) {
        if (!found && strcmp(*n, "entrepot") == 0)
            found = xasprintf("%s/%s", base, *n);
        free(*n);
    }
    free(names);
    return found;
}

static void unit_add_path(char ***list, const char *path)
{
    size_t count = 0;

    while (*list && (*list)[count])
        count++;
    *list = xrealloc(*list, (count + 2) * sizeof(char *));
    (*list)[count] = xstrdup(path + strspn(path, "-+"));
    (*list)[count + 1] = NULL;
}

static void unit_get_paths(const struct unit_bus *a, const char *property, char ***list)
{
    char **paths = NULL;

    if (sd_bus_get_property_strv(a->bus, SYSTEMD, a->unit, SYSTEMD ".Service", property, NULL, &paths) < 0)
        return;
    for (char **p = paths; p && *p; p++)
        unit_add_path(list, *p);
    free_list(paths);
}

static void unit_get_binds(const struct unit_bus *a, const char *property, char ***list)
{
    sd_bus_message *reply = NULL;
    const char *from, *to;
    int missing_ok;
    uint64_t flags;

    if (sd_bus_get_property(a->bus, SYSTEMD, a->unit, SYSTEMD ".Service", property, NULL, &reply, "a(ssbt)") >= 0 &&
        sd_bus_message_enter_container(reply, 'a', "(ssbt)") >= 0)
        while (sd_bus_message_read(reply, "(ssbt)", &from, &to, &missing_ok, &flags) > 0)
            unit_add_path(list, to);
    sd_bus_message_unref(reply);
}

static void unit_get_all(const struct unit_bus *a, struct unit_view *v)
{
    _cleanup_free_ char *home = unit_get_text(a, "ProtectHome");

    v->user = unit_get_text(a, "User");
    v->state = unit_get_folder(a, "StateDirectory", "/var/lib");
    v->logs = unit_get_folder(a, "LogsDirectory", "/var/log");
    v->runtime = unit_get_folder(a, "RuntimeDirectory", "/run");
    v->strict = unit_is(a, "ProtectSystem", "strict");
    v->no_home = home && (strcmp(home, "yes") == 0 || strcmp(home, "tmpfs") == 0);
    v->own_tmp = unit_get_bool(a, "PrivateTmp");
    unit_get_paths(a, "ReadWritePaths", &v->writable);
    unit_get_binds(a, "BindPaths", &v->bound);
    unit_get_binds(a, "BindReadOnlyPaths", &v->bound);
}

static bool is_loaded(const struct unit_bus *a)
{
    char *state = NULL;
    int rc = sd_bus_get_property_string(a->bus, SYSTEMD, a->unit, SYSTEMD ".Unit", "LoadState", NULL, &state);
    bool loaded = rc >= 0 && strcmp(state, "loaded") == 0;

    free(state);
    return loaded;
}

static bool unit_read(struct unit_view *v)
{
    struct unit_bus a = {0};
    sd_bus_message *reply = NULL;
    bool known = false;

    if (sd_bus_default_system(&a.bus) < 0)
        return false;
    /* The path is owned by the reply. */
    if (sd_bus_call_method(a.bus, SYSTEMD, MANAGER_PATH, SYSTEMD ".Manager", "LoadUnit", NULL, &reply, "s",
                           UNIT_NAME) >= 0 &&
        sd_bus_message_read(reply, "o", &a.unit) >= 0 && is_loaded(&a)) {
        unit_get_all(&a, v);
        known = true;
    }
    sd_bus_message_unref(reply);
    sd_bus_unref(a.bus);
    return known;
}

void unit_view_read(struct unit_view *v)
{
    memset(v, 0, sizeof(*v));
    if (unit_read(v) || !getpwnam("entrepot"))
        return;
    v->user = xstrdup("entrepot");
    v->state = xstrdup("/var/lib/entrepot");
    v->logs = xstrdup("/var/log/entrepot");
    v->runtime = xstrdup("/run/entrepot");
}

void unit_view_free(struct unit_view *v)
{
    free_list(v->writable);
    free_list(v->bound);
    free(v->user);
    free(v->state);
    free(v->logs);
    free(v->runtime);
    memset(v, 0, sizeof(*v));
}
