/* How long tags are fresh: for all, for an upstream, and by rules for repositories and tags. */
#include "config/read.h"

#include <fnmatch.h>
#include <string.h>

static bool take_time(struct config_reading *r, const char *section, int nth, const char *prefix, const char *key,
                      const char *text, int64_t *ms)
{
    bool may_be_never = strcmp(key, "ttl") == 0;
    char path[64];

    snprintf(path, sizeof(path), "%s%s", prefix, key);
    if (!text || !may_be_never)
        return config_take_duration(r, section, nth, path, text, ms);
    if (strcmp(text, "never") == 0)
        *ms = CONFIG_NEVER_MS;
    else if (!config_parse_duration(text, ms))
        return config_bad(r, section, nth, path, "\"%s\" is neither a time such as 5m, 1h, 30d, nor never", text);
    return true;
}

static bool tags_take(struct config_reading *r, const char *section, int nth, const char *prefix,
                      const struct yaml_tags *y, struct config_tags *t)
{
    static const char *const words[] = {"drop", "keep", NULL};
    char path[64];

    snprintf(path, sizeof(path), "%sdeleted", prefix);
    return take_time(r, section, nth, prefix, "ttl", y->ttl, &t->ttl_ms) &&
           take_time(r, section, nth, prefix, "max_stale", y->max_stale, &t->max_stale_ms) &&
           take_time(r, section, nth, prefix, "negative_ttl", y->negative_ttl, &t->negative_ttl_ms) &&
           config_take_word(r, section, nth, path, y->deleted, words, &t->keep_deleted);
}

/* Names are matched in full, with their registry: a pattern without one would never match. */
static bool check_repository(struct config_reading *r, const char *path, const char *pattern)
{
    char key[64];
    size_t first = pattern ? strcspn(pattern, "/") : 0;

    if (!pattern || memchr(pattern, '*', first) || memchr(pattern, '?', first) || memchr(pattern, '[', first))
        return true;
    if (pattern[first] == '/' && (memchr(pattern, '.', first) || memchr(pattern, ':', first) ||
                                  (first == 9 && strncmp(pattern, "localhost", 9) == 0)))
        return true;
    snprintf(key, sizeof(key), "%srepository", path);
    return config_bad(r, "tags", 0, key,
                      "\"%s\" is not a pattern of full names such as docker.io/library/nginx or ghcr.io/org/*",
                      pattern);
}

static bool take_rule(struct config_reading *r, int n, const struct yaml_tag_rule *y)
{
    struct config_tag_rule *rule = &r->c->tag_rules[r->c->tag_rule_count];
    char path[32], key[48];

    snprintf(path, sizeof(path), "rules[%d].", n);
    if (!y->repository && !y->tag) {
        snprintf(key, sizeof(key), "rules[%d]", n);
        return config_bad(r, "tags", 0, key,
                          "has neither repository nor tag: it would match every tag; use tags.ttl for that");
    }
    if (!check_repository(r, path, y->repository))
        return false;
    *rule = (struct config_tag_rule){.tags = CONFIG_TAGS_UNSET};
    r->c->tag_rule_count++;
    config_set(&rule->repository, y->repository);
    config_set(&rule->tag, y->tag);
    return tags_take(r, "tags", 0, path, &y->tags, &rule->tags);
}

bool config_take_tags(struct config_reading *r, const struct yaml_config *y)
{
    if (!tags_take(r, "tags", 0, "", &y->tags, &r->c->tags))
        return false;
    for (int i = 0; i < y->rules_count; i++)
        if (!take_rule(r, i, &y->rules[i]))
            return false;
    return true;
}

bool config_take_upstream_tags(struct config_reading *r, int nth, const struct yaml_tags *y, struct config_tags *t)
{
    return tags_take(r, "upstreams", nth, "tags.", y, t);
}

static void tags_fill(struct config_tags *to, const struct config_tags *t)
{
    to->ttl_ms = to->ttl_ms >= 0 ? to->ttl_ms : t->ttl_ms;
    to->max_stale_ms = to->max_stale_ms >= 0 ? to->max_stale_ms : t->max_stale_ms;
    to->negative_ttl_ms = to->negative_ttl_ms >= 0 ? to->negative_ttl_ms : t->negative_ttl_ms;
    to->keep_deleted = to->keep_deleted >= 0 ? to->keep_deleted : t->keep_deleted;
}

struct config_tags config_tags_for(const struct config *c, const struct config_upstream *u, const char *repository,
                                   const char *tag)
{
    struct config_tags out = CONFIG_TAGS_UNSET;

    for (int i = 0; i < c->tag_rule_count; i++) {
        const struct config_tag_rule *r = &c->tag_rules[i];
        if ((!r->repository || fnmatch(r->repository, repository, 0) == 0) && (!r->tag || fnmatch(r->tag, tag, 0) == 0))
            tags_fill(&out, &r->tags);
    }
    tags_fill(&out, &u->tags);
    tags_fill(&out, &c->tags);
    return out;
}
