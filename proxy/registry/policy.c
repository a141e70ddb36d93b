/* The policy of this node, as the registry API's pages ask for it. */
#include "proxy/registry/policy.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/manifest.h"

#include <string.h>

struct listing_question {
    struct registry *reg;
    const struct route *r;
};

/* Whether the manifest of that digest, which is here, lists this one: engines take a platform's out of an index. */
static bool is_listed_by(void *arg, const char *parent)
{
    const struct listing_question *q = arg;
    _cleanup_manifest_ struct manifest m = {0};
    struct cache_hit hit;
    struct digest d;
    bool listed = false;

    if (!digest_parse(&d, parent, strlen(parent)))
        return false; /* a pattern of digests */
    cache_find(q->reg->cache, q->r->name, NULL, &d, &hit);
    if (!hit.stored || !hit.linked)
        return false;
    struct body *body = cache_peek_manifest(q->reg->cache, &d, hit.blob.size, NULL);
    if (body && manifest_parse(&m, body->data, body->len, NULL))
        for (size_t i = 0; i < m.count; i++)
            listed = listed || (m.parts[i].role == PART_MANIFEST && digest_eq(&m.parts[i].digest, &q->r->digest));
    body_unref(body);
    return listed;
}

static void answer_denied(struct http_request *req, const struct route *r, const char *digest, const char *why)
{
    static const enum note_kind kinds[] = {[ROUTE_MANIFEST] = KIND_MANIFEST,
                                           [ROUTE_BLOB] = KIND_BLOB,
                                           [ROUTE_TAGS] = KIND_TAGS,
                                           [ROUTE_REFERRERS] = KIND_REFERRERS};
    const char *mark = r->tag[0] ? ":" : digest ? "@" : "", *what = r->tag[0] ? r->tag : digest ? digest : "";
    _cleanup_free_ char *rule =
        *why ? xasprintf("policy.deny has %s", why) : xstrdup("it is not among those of policy.allow");

    if ((size_t)r->kind < ARRAY_LEN(kinds) && kinds[r->kind] != KIND_NONE)
        reply_note(req, r, kinds[r->kind]);
    note_of(req)->result = RESULT_DENIED;
    note_of(req)->source = SOURCE_OWN;
    log_limited(LOG_LEVEL_WARN, "policy", "%s %s%s%s is denied: %s", http_method_name(req), r->name, mark, what, rule);
    http_error(req, 403, "DENIED", "the policy of this node does not allow %s%s%s: %s", r->name, mark, what, rule);
}

bool policy_admit(struct registry *reg, struct http_request *req, const struct route *r)
{
    struct listing_question q = {reg, r};
    char digest[DIGEST_TEXT_MAX];
    if (!config_has_policy(reg->config))
        return true;
    bool has_digest = r->digest.alg != DIGEST_NONE;
    const struct config_image im = {
        .name = r->name,
        .tag = r->kind == ROUTE_MANIFEST && r->tag[0] && !ref_is_statement_tag(r->tag) ? r->tag : NULL,
        .digest = has_digest ? digest_format(&r->digest, digest) : NULL,
        .is_part = r->kind != ROUTE_MANIFEST,
        .is_listed_by = is_listed_by,
        .arg = &q,
    };
    const char *why;

    if (config_admits(reg->config, &im, &why))
        return true;
    answer_denied(req, r, im.digest, why);
    return false;
}

bool policy_admit_found(struct registry *reg, struct http_request *req, const struct route *r, const struct digest *d)
{
    char digest[DIGEST_TEXT_MAX];
    const char *why;

    if (!config_has_policy(reg->config) || d->alg == DIGEST_NONE)
        return true;
    why = config_denies_digest(reg->config, r->name, digest_format(d, digest));
    if (!why)
        return true;
    answer_denied(req, r, digest, why);
    return false;
}
