/* containerd's folders of registries: certs.d/HOST/hosts.toml, and certs.d/_default/hosts.toml for those that have
 * none. https://github.com/containerd/containerd/blob/main/docs/hosts.md */
#include "cli/setup/hosts.h"

#include "cli/setup/engines.h"
#include "cli/setup/toml.h"

#include <string.h>

/* In the folder of all registries. */
#define CERTIFICATE "/entrepot-ca.crt"

static void hosts_make(struct buf *out, const char *folder, const char *registry, const struct setup_target *t)
{
    _cleanup_free_ char *url = setup_url_of(t);

    buf_adds(out, SETUP_MARK " containerd`; `entrepot setup containerd --undo` removes it.\n");
    if (registry)
        buf_addf(out, "server = \"https://%s\"\n\n", setup_server_of(registry));
    buf_addf(out, "[host.\"%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", url);
    if (t->certificate)
        buf_addf(out, "  ca = \"%s" CERTIFICATE "\"\n", folder);
}

/* Whether the first host of a file that others have written is entrepot. */
static bool hosts_is_led(const struct setup_text *text, const struct setup_target *t)
{
    _cleanup_free_ char *url = setup_url_of(t), *host = xasprintf("host" TOML_DOT "%s", url);
    _cleanup_toml_ struct toml_file f = {0};
    bool is = false;

    if (!toml_read(&f, text, NULL))
        return false;
    for (size_t i = 0; i < f.count; i++)
        if (strncmp(f.list[i].path, "host" TOML_DOT, 5) == 0) {
            is = toml_is_below(f.list[i].path, host);
            break;
        }
    toml_free(&f);
    return is;
}

static bool hosts_plan_one(struct setup_view *v, const char *folder, const char *registry, const struct setup_target *t,
                           struct err *err)
{
    _cleanup_free_ char *url = setup_url_of(t);
    const char *colon = registry ? strrchr(registry, ':') : NULL;
    _cleanup_free_ char *own = xasprintf("%s/%s", folder, registry ? registry : "_default");
    _cleanup_free_ char *other = /* which containerd looks for first */
        colon ? xasprintf("%s/%.*s_%s_", folder, (int)(colon - registry), registry, colon + 1) : NULL;
    const char *place = other && setup_view_has_content(v, other) ? other : own;
    _cleanup_free_ char *path = xasprintf("%s/hosts.toml", place);
    const struct setup_text *text = setup_view_read(v, path, err);
    _cleanup_buf_ struct buf out = {0};

    if (!text)
        return false;
    bool ours = text->bytes.len > strlen(SETUP_MARK) && strncmp(text->bytes.data, SETUP_MARK, strlen(SETUP_MARK)) == 0;
    if (text->exists && !ours && hosts_is_led(text, t))
        return true;
    if (text->exists && !ours) {
        setup_leave(v,
                    "%s is left as it is: add [host.\"%s\"] with capabilities = [\"pull\", \"resolve\"] as its "
                    "first host",
                    path, url);
        return true;
    }
    if (!text->exists && setup_view_has_content(v, place)) { /* Docker's form: certificates alone */
        setup_leave(v,
                    "%s is left as it is: containerd takes the files there for certificates, unless there is a "
                    "hosts.toml that names them",
                    place);
        return true;
    }
    hosts_make(&out, folder, registry, t);
    return setup_view_write(v, path, &out, 0644, err);
}

bool hosts_plan(struct setup_view *v, const char *folder, const struct setup_target *t, struct err *err)
{
    _cleanup_free_ char *certificate = xasprintf("%s" CERTIFICATE, folder);

    if (!setup_plan_certificate(v, t, certificate, err)) /* first: hosts.toml is read at each pull */
        return false;
    for (size_t i = 0; i < t->count; i++)
        if (!hosts_plan_one(v, folder, t->registries[i], t, err))
            return false;
    return !t->any || hosts_plan_one(v, folder, NULL, t, err);
}
