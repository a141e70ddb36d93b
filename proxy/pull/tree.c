/* The parts of an image, found out while it is being pulled. */
#include "proxy/pull/private.h"

#include "base/document.h"
#include "base/platform.h"

#include <jansson.h>
#include <string.h>

static const char *const COSIGN[] = {".sig", ".att", ".sbom"};

static bool wants_all(const struct pull *p, const struct pull_item *it)
{
    return it->whole || !p->wish->platforms[0][0] || strcmp(p->wish->platforms[0], "all") == 0;
}

static void add_manifest(struct pull *p, struct pull_item *it, const struct part *part)
{
    struct pull_item *child = pull_add(p, it->image, PULL_MANIFEST, &part->digest, NULL, it->depth);

    if (!child)
        return;
    child->size = part->size;
    child->whole = it->whole;
    child->about = it->about && !part->attestation;
    snprintf(child->platform, sizeof(child->platform), "%s", part->platform);
}

static void say_what_there_is(struct pulled_image *image, const struct manifest *m, const char *platform)
{
    char list[256] = "";

    for (size_t i = 0; i < m->count; i++) {
        size_t len = strlen(list);
        if (m->parts[i].role == PART_MANIFEST && !m->parts[i].attestation && m->parts[i].platform[0])
            snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "", m->parts[i].platform);
    }
    pull_fail(image, "there is no image for %s; %s%s", platform,
              list[0] ? "there is one for: " : "its index names no platforms", list);
}

static void take_index(struct pull *p, struct pull_item *it, const struct manifest *m)
{
    bool all = wants_all(p, it);

    for (size_t i = 0; i < m->count; i++)
        if (m->parts[i].role == PART_MANIFEST && (all || (m->parts[i].attestation && p->wish->referrers)))
            add_manifest(p, it, &m->parts[i]);
    for (int i = 0; !all && i < PULL_PLATFORMS_MAX && p->wish->platforms[i][0]; i++) {
        const struct part *part = manifest_choose(m, p->wish->platforms[i]);
        if (part)
            add_manifest(p, it, part);
        else
            say_what_there_is(it->image, m, p->wish->platforms[i]);
    }
}

static void tree_take_image(struct pull *p, struct pull_item *it, const struct manifest *m)
{
    if (digest_eq(&it->digest, &it->image->digest) && manifest_part(m, PART_CONFIG))
        it->image->config = manifest_part(m, PART_CONFIG)->digest;
    for (size_t i = 0; i < m->count; i++) {
        const struct part *part = &m->parts[i];
        if (part_is_foreign(part)) {
            p->wish->on_note(p->wish->arg, it->image->text, "a layer may not be distributed, and is not pulled");
            continue;
        }
        if (part->role != PART_CONFIG && part->role != PART_LAYER)
            continue;
        struct pull_item *child = pull_add(p, it->image, part->role == PART_CONFIG ? PULL_CONFIG : PULL_LAYER,
                                           &part->digest, NULL, it->depth);
        if (!child)
            continue;
        child->size = part->size;
        memcpy(child->platform, it->platform, sizeof(child->platform));
    }
}

void pull_other_platform(struct pull *p, const struct pulled_image *image, char out[PLATFORM_MAX + 1])
{
    _cleanup_buf_ struct buf text = {0};
    struct image_config config = {0};

    if (image->config.alg == DIGEST_NONE || !p->wish->platforms[0][0] || strcmp(p->wish->platforms[0], "all") == 0 ||
        !cache_read_blob(p->puller->cache, &image->config, MANIFEST_SIZE_MAX, &text, NULL) ||
        !image_config_parse(&config, text.data, text.len, NULL))
        return;
    bool meant = !config.platform[0]; /* an artifact's config names none */
    for (int i = 0; i < PULL_PLATFORMS_MAX && p->wish->platforms[i][0]; i++)
        meant = meant || platform_score(p->wish->platforms[i], config.platform) > 0;
    if (!meant)
        snprintf(out, PLATFORM_MAX + 1, "%s", config.platform);
    image_config_free(&config);
}

static void add_optional_tag(struct pull *p, struct pull_item *it, const char *suffix)
{
    char tag[REF_TAG_MAX + 1];

    if (*suffix && it->digest.alg != DIGEST_SHA256) /* cosign does not shorten them: they would be too long for tags */
        return;
    ref_referrers_tag(&it->digest, tag);
    snprintf(tag + strlen(tag), sizeof(tag) - strlen(tag), "%s", suffix);
    struct pull_item *child = pull_add(p, it->image, PULL_MANIFEST, NULL, tag, it->depth + 1);
    if (child)
        child->optional = child->whole = child->about = true;
}

/* Its possible referrers. */
static void look_for_statements(struct pull *p, struct pull_item *it)
{
    if (!p->wish->referrers || !it->about || it->depth >= PULL_DEPTH_MAX)
        return;
    struct pull_item *list = pull_add(p, it->image, PULL_LISTING, &it->digest, NULL, it->depth);
    if (list)
        list->optional = true;
    for (size_t i = 0; i < ARRAY_LEN(COSIGN); i++)
        add_optional_tag(p, it, COSIGN[i]);
}

void pull_take_manifest(struct pull *p, struct pull_item *it)
{
    struct cache *c = p->puller->cache;
    struct pulled_image *image = it->image;
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit;
    struct err err = {0};

    cache_find(c, image->name, it->tag[0] ? it->tag : NULL, it->tag[0] ? NULL : &it->digest, &hit);
    _cleanup_body_ struct body *body = hit.stored ? cache_peek_manifest(c, &hit.digest, hit.blob.size, &err) : NULL;
    if (!body || !manifest_parse(&m, body->data, body->len, &err)) {
        if (!it->optional)
            pull_fail(image, "its manifest could not be stored%s%s", err.msg[0] ? ": " : "", err.msg);
        return;
    }
    it->digest = hit.digest;
    it->size = hit.blob.size;
    if (it->listed) /* it may have been fetched from another repository */
        cache_link_listed(c, image->name, &it->digest, false);
    if (image->digest.alg == DIGEST_NONE)
        image->digest = hit.digest;
    if (m.unread)
        p->wish->on_note(p->wish->arg, image->text,
                         "it references something that is not understood, and is not pulled");
    if (m.kind == MANIFEST_INDEX)
        take_index(p, it, &m);
    else
        tree_take_image(p, it, &m);
    look_for_statements(p, it);
}

/* The next page can be requested only now: this one has its query. */
static void tree_add_page(struct pull *p, struct pull_item *it)
{
    const char *query = it->next->data;

    if (it->page == PULL_PAGES_MAX || (it->query && strcmp(it->query, query) == 0)) {
        pull_fail(it->image, "its list of referrers does not end");
        return;
    }
    struct pull_item *page = pull_add(p, it->image, PULL_LISTING, &it->digest, NULL, it->depth);
    if (!page)
        return;
    page->optional = true;
    page->query = xstrdup(query);
    page->page = it->page + 1;
}

void pull_take_listing(struct pull *p, struct pull_item *it)
{
    json_t *doc = it->listing ? document_read(it->listing->data, it->listing->len, NULL) : NULL;
    json_t *entry;
    size_t i;

    json_array_foreach(document_get(doc, "manifests"), i, entry) {
        const char *text = document_text(entry, "digest");
        struct digest d;
        if (!text || !digest_parse(&d, text, strlen(text)))
            continue;
        struct pull_item *child = pull_add(p, it->image, PULL_MANIFEST, &d, NULL, it->depth + 1);
        if (!child)
            continue;
        child->size = MAX(document_number(entry, "size"), (int64_t)0);
        child->whole = child->about = child->listed = true;
    }
    json_decref(doc);
    if (it->next)
        tree_add_page(p, it);
}

/* Where there is no such list, the tag that takes its place is pulled. After any other error the referrers are not
 * known, and an image without its signatures must not look complete. */
void pull_miss_listing(struct pull *p, struct pull_item *it)
{
    bool absent = it->err->code == ERR_NOT_FOUND || it->err->code == ERR_DENIED;

    if (it->err->code == ERR_DENIED)
        p->wish->on_note(p->wish->arg, it->image->text,
                         "its registry refuses to list its referrers; the tags for them are looked for");
    if (absent && !it->query)
        add_optional_tag(p, it, "");
    else
        pull_fail(it->image, "listing its referrers: %s", it->err->msg);
}
