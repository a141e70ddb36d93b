/* skopeo's and podman's `dir:`: manifest.json is the image's manifest or index; beside it are the blobs, named by
 * their hex digests, and an index's manifests as <hex>.manifest.json (containers/image, directory_transport.go). */
#include "cli/archive/import_private.h"

static bool digest_of_name(const char *name, struct digest *d)
{
    char text[DIGEST_TEXT_MAX + 8];
    size_t len = strcspn(name, ".");
    const char *dash = strchr(name, '-');

    if (name[len] && strcmp(name + len, ".manifest.json") != 0)
        return false;
    int n = dash ? snprintf(text, sizeof(text), "%.*s:%.*s", (int)(dash - name), name, (int)(len - (dash - name) - 1),
                            dash + 1)
                 : snprintf(text, sizeof(text), "sha256:%.*s", (int)len, name);
    return n > 0 && n < (int)sizeof(text) && digest_parse(d, text, (size_t)n);
}

bool import_dir(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err)
{
    const struct archive_file *manifest = archive_find(a, "manifest.json");
    char name[REF_TEXT_MAX], own[REF_TEXT_MAX];
    struct digest d;

    if (!given)
        return err_set(
            err, ERR_INVALID,
            "%s is a dir: of skopeo, which does not name its image: use --name REF, such as --name %s:latest", a->path,
            import_own_name(a, own));
    if (!import_expand(a, given, REF_DEFAULT_TAG, name, err))
        return false;
    digest_of(DIGEST_SHA256, manifest->text, strlen(manifest->text), &d);
    import_add_blob(p, &d, manifest);
    import_add_image(p, name, &d);
    for (size_t i = 0; i < a->count; i++)
        if (digest_of_name(a->list[i].name, &d))
            import_add_blob(p, &d, &a->list[i]);
    return true;
}
