/* Detects the format of an archive. */
#include "cli/archive/import_private.h"

/* docker's manifest.json is an array, that of skopeo's dir: a manifest. */
static bool is_dir(const struct archive_files *a)
{
    const struct archive_file *f = archive_find(a, "manifest.json");

    return f && f->text && f->text[strspn(f->text, " \t\r\n")] == '{';
}

static bool plan_any(struct import_plan *out, const struct archive_files *a, const char *name, struct err *err)
{
    if (archive_find(a, "index.json"))
        return import_layout(out, a, name, err);
    if (is_dir(a))
        return import_dir(out, a, name, err);
    if (archive_find(a, "manifest.json"))
        return import_docker(out, a, name, err);
    return err_set(
        err, ERR_INVALID,
        "%s is neither an OCI image layout (no index.json) nor an archive of docker save or a dir: of skopeo (no "
        "manifest.json)",
        a->path);
}

bool import_plan(const struct archive_files *a, const char *name, struct import_plan *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    out->images = json_array();
    bool ok = plan_any(out, a, name, err);
    return out->too_much ? err_set(err, ERR_TOO_LARGE, "%s: %s", a->path, out->too_much) : ok;
}
