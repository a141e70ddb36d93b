#include "cli/setup/setup.h"

#include "cli/setup/place.h"

#include <string.h>

static const char PEM_BEGIN[] = "-----BEGIN CERTIFICATE-----", PEM_END[] = "-----END CERTIFICATE-----";

char *setup_url_of(const struct setup_target *t)
{
    return xasprintf("%s://%s", t->tls ? "https" : "http", t->address);
}

bool setup_read_certificates(const char *root, const char *path, struct setup_text *out, struct err *err)
{
    struct setup_text text = {0};
    bool ok = place_read(root, path, &text, err);
    const char *p = ok && text.bytes.len > 0 ? text.bytes.data : "", *end;

    setup_text_free(out);
    for (; (p = strstr(p, PEM_BEGIN)) && (end = strstr(p, PEM_END));) {
        for (end += strlen(PEM_END); p < end; p++)
            if (*p != '\r')
                buf_add(&out->bytes, p, 1);
        buf_adds(&out->bytes, "\n");
    }
    out->exists = text.exists;
    setup_text_free(&text);
    if (ok && !out->exists)
        return err_set(err, ERR_NOT_FOUND, "%s%s is not there", root, path);
    return ok && (out->bytes.len > 0 || err_set(err, ERR_INVALID, "%s%s has no certificate in PEM", root, path));
}

bool setup_plan_certificate(struct setup_view *v, const struct setup_target *t, const char *path, struct err *err)
{
    return !t->certificate || setup_view_write(v, path, &t->certificate->bytes, 0644, err);
}

const char *setup_server_of(const char *registry)
{
    return strcmp(registry, "docker.io") == 0 ? "registry-1.docker.io" : registry;
}
