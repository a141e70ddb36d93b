#include "cache/manifest.h"

#include "base/document.h"
#include "base/platform.h"
#include "base/skim.h"

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

static json_t *manifest_load(const void *data, size_t len, struct err *err)
{
    if (len <= MANIFEST_SIZE_MAX)
        return document_read(data, len, err);
    err_set(err, ERR_TOO_LARGE, "%zu bytes are more than a manifest may have (%d)", len, (int)MANIFEST_SIZE_MAX);
    return NULL;
}

/* It becomes a header's value: what is not fit for one is no media type. */
static void copy_type(char out[MEDIA_TYPE_MAX + 1], const json_t *object)
{
    const char *text = document_text(object, "mediaType");
    size_t len = text ? strlen(text) : 0;
    bool fit = len <= MEDIA_TYPE_MAX;

    for (size_t i = 0; i < len; i++)
        fit = fit && text[i] > ' ' && text[i] < 0x7f;
    snprintf(out, MEDIA_TYPE_MAX + 1, "%s", text && fit ? text : "");
}

static void join_platform(char out[PLATFORM_MAX + 1], const char *os, const char *arch, const char *variant,
                          const char *version)
{
    char full[4 * (PLATFORM_MAX + 1)];

    if (!os || !arch)
        return;
    snprintf(full, sizeof(full), "%s/%s%s%s%s%s", os, arch, variant && *variant ? "/" : "", variant ? variant : "",
             version && *version ? ":" : "", version ? version : "");
    snprintf(out, PLATFORM_MAX + 1, "%.*s", (int)PLATFORM_MAX, full);
}

static void read_platform(char out[PLATFORM_MAX + 1], const json_t *platform)
{
    join_platform(out, document_text(platform, "os"), document_text(platform, "architecture"),
                  document_text(platform, "variant"), document_text(platform, "os.version"));
}

/* By the annotations that tell where its table of contents is (containers/storage, stargz-snapshotter). */
static bool is_seekable(const json_t *annotations)
{
    return document_text(annotations, "io.github.containers.zstd-chunked.manifest-checksum") ||
           document_text(annotations, "containerd.io/snapshot/stargz/toc.digest");
}

/* A descriptor (image-spec descriptor.md). Its digest is what counts; there is space for it in m->parts. */
static void manifest_add_part(struct manifest *m, enum part_role role, const json_t *d)
{
    const char *text = document_text(d, "digest");
    struct part *p = &m->parts[m->count];

    memset(p, 0, sizeof(*p));
    if (!text || !digest_parse(&p->digest, text, strlen(text))) {
        m->unread = true;
        return;
    }
    p->role = role;
    p->size = MAX(document_number(d, "size"), (int64_t)0);
    copy_type(p->media_type, d);
    read_platform(p->platform, document_get(d, "platform"));
    p->seekable = is_seekable(document_get(d, "annotations"));
    p->attestation = strcmp(p->platform, "unknown/unknown") == 0;
    m->count++;
}

/* False: there are too many. */
static bool manifest_add_parts(struct manifest *m, enum part_role role, const json_t *list)
{
    size_t i;
    json_t *d;

    if (list && !json_is_array(list))
        m->unread = true;
    if (json_array_size(list) + 2 > MANIFEST_CHILDREN_MAX - m->count)
        return false;
    m->parts = xrealloc(m->parts, (m->count + json_array_size(list) + 2) * sizeof(*m->parts));
    json_array_foreach(list, i, d)
        manifest_add_part(m, role, d);
    return true;
}

/* By what it has; else by what it calls itself. */
static enum manifest_kind kind_of(const struct manifest *m, bool is_index, bool is_image)
{
    if (is_index || is_image)
        return is_index ? MANIFEST_INDEX : MANIFEST_IMAGE;
    if (!manifest_is_type(m->media_type))
        return MANIFEST_OTHER;
    return strstr(m->media_type, "index") || strstr(m->media_type, "list") ? MANIFEST_INDEX : MANIFEST_IMAGE;
}

static bool read_document(struct manifest *m, const json_t *doc, struct err *err)
{
    const json_t *manifests = document_get(doc, "manifests"), *layers = document_get(doc, "layers");
    const json_t *blobs = document_get(doc, "blobs"), *config = document_get(doc, "config");
    const json_t *subject = document_get(doc, "subject");
    int64_t version = document_number(doc, "schemaVersion");

    copy_type(m->media_type, doc);
    m->says_so = version == 2 || manifest_is_type(m->media_type);
    if (version == 1) {
        m->kind = MANIFEST_SCHEMA1;
        return true;
    }
    if (manifests && (layers || config || blobs))
        return err_set(err, ERR_INVALID, "claims to be an image and an index at once");
    m->kind = kind_of(m, manifests != NULL, layers || config || blobs);
    bool ok = manifest_add_parts(m, PART_MANIFEST, manifests);
    if (ok && config)
        manifest_add_part(m, PART_CONFIG, config);
    ok = ok && manifest_add_parts(m, PART_LAYER, layers) && manifest_add_parts(m, PART_LAYER, blobs);
    if (ok && subject)
        manifest_add_part(m, PART_SUBJECT, subject);
    if (!ok) {
        manifest_free(m);
        m->kind = MANIFEST_OTHER;
        m->unread = true;
    }
    return true;
}

bool manifest_parse(struct manifest *m, const void *data, size_t len, struct err *err)
{
    memset(m, 0, sizeof(*m));
    json_t *doc = manifest_load(data, len, err);
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

bool manifest_is_likely(const struct manifest *m)
{
    return (m->kind == MANIFEST_IMAGE || m->kind == MANIFEST_INDEX) && (m->says_so || !m->unread);
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
    json_t *doc = manifest_load(data, len, err);
    if (!doc)
        return false;
    read_platform(c->platform, doc);
    const json_t *ids = document_get(document_get(doc, "rootfs"), "diff_ids");
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

/* ---- of many images ---- */

bool manifest_skim_config(const void *data, size_t len, struct digest *config)
{
    enum { VERSION, MANIFESTS, CONFIG, LAYERS, COUNT };
    static const char *const names[] = {"schemaVersion", "manifests", "config", "layers"}, *const digest[] = {"digest"};
    const struct span doc = {data, len};
    struct span found[COUNT], value;
    char text[DIGEST_TEXT_MAX];

    return skim_members(&doc, names, COUNT, found) && !found[MANIFESTS].data && found[LAYERS].data &&
           found[VERSION].len == 1 && found[VERSION].data[0] == '2' && found[CONFIG].data &&
           skim_members(&found[CONFIG], digest, 1, &value) && skim_text(&value, text, sizeof(text)) &&
           digest_parse(config, text, strlen(text));
}

static bool skim_platform(char out[PLATFORM_MAX + 1], const void *data, size_t len)
{
    enum { COUNT = 4 };
    static const char *const names[] = {"os", "architecture", "variant", "os.version"};
    const struct span doc = {data, len};
    char texts[COUNT][PLATFORM_MAX + 1];
    struct span found[COUNT];

    if (!skim_members(&doc, names, COUNT, found))
        return false;
    for (size_t i = 0; i < COUNT; i++)
        if (found[i].data && !skim_text(&found[i], texts[i], sizeof(texts[i])))
            return false;
    out[0] = '\0';
    join_platform(out, found[0].data ? texts[0] : NULL, found[1].data ? texts[1] : NULL,
                  found[2].data ? texts[2] : NULL, found[3].data ? texts[3] : NULL);
    return true;
}

void image_config_platform(char out[PLATFORM_MAX + 1], const void *data, size_t len)
{
    struct image_config config;

    if (skim_platform(out, data, len))
        return;
    bool ok = image_config_parse(&config, data, len, NULL);
    snprintf(out, PLATFORM_MAX + 1, "%s", ok ? config.platform : "");
    image_config_free(&config);
}
