#include "cache/manifest.h"

#include "base/platform.h"

#include <jansson.h>
#include <stdio.h>

static const char *const TYPES[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
};

bool manifest_is_type(const char *media_type)
{
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++)
        if (strcmp(media_type, TYPES[i]) == 0)
            return true;
    return false;
}

bool manifest_is_index_type(const char *media_type)
{
    return strstr(media_type, "index") || strstr(media_type, "manifest.list");
}

/* jansson recurses; a document is measured before it is handed over. */
static bool depth_is_sane(const char *p, size_t len)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                in_string = false;
        } else if (p[i] == '"') {
            in_string = true;
        } else if (p[i] == '{' || p[i] == '[') {
            if (++depth > MANIFEST_DEPTH_MAX)
                return false;
        } else if ((p[i] == '}' || p[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static json_t *load(const void *data, size_t len, struct err *err)
{
    json_error_t why;

    if (len > MANIFEST_SIZE_MAX) {
        err_set(err, ERR_TOO_LARGE, "%zu bytes are more than a manifest may have (%d)", len, (int)MANIFEST_SIZE_MAX);
        return NULL;
    }
    if (!depth_is_sane(data, len)) {
        err_set(err, ERR_INVALID, "nested deeper than %d", (int)MANIFEST_DEPTH_MAX);
        return NULL;
    }
    json_t *doc = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
    if (!doc || !json_is_object(doc)) {
        err_set(err, ERR_INVALID, "not a JSON object: %s", doc ? "another kind of value" : why.text);
        json_decref(doc);
        return NULL;
    }
    return doc;
}

static bool copy_type(char out[MEDIA_TYPE_MAX + 1], const json_t *value, const char *what, struct err *err)
{
    out[0] = '\0';
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value) || json_string_length(value) > MEDIA_TYPE_MAX)
        return err_set(err, ERR_INVALID, "%s is not a media type", what);
    snprintf(out, MEDIA_TYPE_MAX + 1, "%s", json_string_value(value));
    return true;
}

static void read_platform(char out[PLATFORM_MAX + 1], const json_t *platform)
{
    const char *os = json_string_value(json_object_get(platform, "os"));
    const char *arch = json_string_value(json_object_get(platform, "architecture"));
    const char *variant = json_string_value(json_object_get(platform, "variant"));
    const char *version = json_string_value(json_object_get(platform, "os.version"));

    if (os && arch)
        snprintf(out, PLATFORM_MAX + 1, "%s/%s%s%s%s%s", os, arch, variant && *variant ? "/" : "",
                 variant ? variant : "", version && *version ? ":" : "", version ? version : "");
}

/* A descriptor (image-spec descriptor.md). */
static bool add_part(struct manifest *m, enum part_role role, const json_t *d, const char *what, struct err *err)
{
    const char *text = json_string_value(json_object_get(d, "digest"));
    const json_t *size = json_object_get(d, "size");
    const json_t *platform = json_object_get(d, "platform");
    struct part *p = &m->parts[m->count];

    memset(p, 0, sizeof(*p));
    p->role = role;
    if (!text || !digest_parse(&p->digest, text, strlen(text)))
        return err_set(err, ERR_INVALID, "%s has no valid digest", what);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return err_set(err, ERR_INVALID, "%s has no valid size", what);
    p->size = json_integer_value(size);
    if (!copy_type(p->media_type, json_object_get(d, "mediaType"), what, err))
        return false;
    if (platform) {
        read_platform(p->platform, platform);
        p->attestation = strcmp(p->platform, "unknown/unknown") == 0;
    }
    m->count++;
    return true;
}

static bool add_parts(struct manifest *m, enum part_role role, const json_t *list, const char *what, struct err *err)
{
    size_t i;
    json_t *d;

    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(err, ERR_INVALID, "\"%s\" is not a list", what);
    if (json_array_size(list) + 2 > MANIFEST_CHILDREN_MAX - m->count)
        return err_set(err, ERR_TOO_LARGE, "more than %d children", (int)MANIFEST_CHILDREN_MAX);
    m->parts = xrealloc(m->parts, (m->count + json_array_size(list) + 2) * sizeof(*m->parts));
    json_array_foreach(list, i, d) {
        if (!add_part(m, role, d, what, err))
            return false;
    }
    return true;
}

static bool read_document(struct manifest *m, const json_t *doc, struct err *err)
{
    const json_t *version = json_object_get(doc, "schemaVersion");
    const json_t *manifests = json_object_get(doc, "manifests");
    const json_t *layers = json_object_get(doc, "layers");
    const json_t *blobs = json_object_get(doc, "blobs");
    const json_t *config = json_object_get(doc, "config");
    const json_t *subject = json_object_get(doc, "subject");

    if (!copy_type(m->media_type, json_object_get(doc, "mediaType"), "mediaType", err))
        return false;
    if (json_integer_value(version) == 1) {
        m->kind = MANIFEST_SCHEMA1;
        return true;
    }
    if (manifests && (layers || config || blobs))
        return err_set(err, ERR_INVALID, "claims to be an image and an index at once");
    m->kind = manifests ? MANIFEST_INDEX : layers || config || blobs ? MANIFEST_IMAGE : MANIFEST_OTHER;
    if (m->kind == MANIFEST_OTHER)
        return true;
    if (!add_parts(m, PART_MANIFEST, manifests, "manifests", err))
        return false;
    if (config && !json_is_null(config) && !add_part(m, PART_CONFIG, config, "config", err))
        return false;
    if (!add_parts(m, PART_LAYER, layers, "layers", err) || !add_parts(m, PART_LAYER, blobs, "blobs", err))
        return false;
    return !subject || json_is_null(subject) || add_part(m, PART_SUBJECT, subject, "subject", err);
}

bool manifest_parse(struct manifest *m, const void *data, size_t len, struct err *err)
{
    memset(m, 0, sizeof(*m));
    json_t *doc = load(data, len, err);
    bool ok = doc && read_document(m, doc, err);

    json_decref(doc);
    if (!ok)
        manifest_free(m);
    return ok;
}

void manifest_free(struct manifest *m)
{
    free(m->parts);
    m->parts = NULL;
    m->count = 0;
}

const struct part *manifest_part(const struct manifest *m, enum part_role role)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->parts[i].role == role)
            return &m->parts[i];
    return NULL;
}

const struct part *manifest_choose(const struct manifest *m, const char *platform)
{
    const struct part *best = NULL, *any = NULL;
    int most = 0;

    for (size_t i = 0; i < m->count; i++) {
        const struct part *part = &m->parts[i];
        if (part->role != PART_MANIFEST || part->attestation)
            continue;
        if (!any && !part->platform[0])
            any = part;
        int score = platform_score(platform, part->platform);
        if (score > most) {
            best = part;
            most = score;
        }
    }
    return best ? best : any;
}

bool part_is_foreign(const struct part *p)
{
    return p->role == PART_LAYER && (strstr(p->media_type, ".foreign.") || strstr(p->media_type, ".nondistributable."));
}

struct child *manifest_children(const struct manifest *m)
{
    struct child *children = xcalloc(m->count + 1, sizeof(*children));

    for (size_t i = 0; i < m->count; i++) {
        children[i].role = m->parts[i].role == PART_SUBJECT ? CHILD_SUBJECT
                           : part_is_foreign(&m->parts[i])  ? CHILD_FOREIGN
                                                            : CHILD_CONTENT;
        children[i].digest = m->parts[i].digest;
        children[i].size = m->parts[i].size;
    }
    return children;
}

bool image_config_parse(struct image_config *c, const void *data, size_t len, struct err *err)
{
    size_t i;
    json_t *id;

    memset(c, 0, sizeof(*c));
    json_t *doc = load(data, len, err);
    if (!doc)
        return false;
    read_platform(c->platform, doc);
    const json_t *ids = json_object_get(json_object_get(doc, "rootfs"), "diff_ids");
    if (json_array_size(ids) <= MANIFEST_CHILDREN_MAX) {
        c->diff_ids = xcalloc(json_array_size(ids) + 1, sizeof(*c->diff_ids));
        json_array_foreach(ids, i, id) {
            const char *text = json_string_value(id);
            if (text && digest_parse(&c->diff_ids[c->count], text, strlen(text)))
                c->count++;
        }
    }
    json_decref(doc);
    return true;
}

void image_config_free(struct image_config *c)
{
    free(c->diff_ids);
    c->diff_ids = NULL;
    c->count = 0;
}
