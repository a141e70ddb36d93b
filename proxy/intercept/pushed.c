#include "proxy/intercept/pushed.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { TAGS_MAX = 4096 }; /* of a manifest that was deleted */

struct pushed {
    struct cache *cache;
    const struct fetchers *fetchers;
    const struct site *site;
    struct loop *loop;
    char name[REF_NAME_MAX + 1]; /* "docker.io/library/nginx" */
    char tag[REF_TAG_MAX + 1];
    struct digest digest, points_to;
    bool deleted;
    void (*done)(void *arg); /* NULL: nobody waits */
    void *arg;
};

/* On the loop. */
static void pushed_end(void *arg, const struct err *err)
{
    struct pushed *p = arg;

    ON_LOOP(p->loop);
    if (err)
        log_limited(LOG_LEVEL_WARN, "pushed", "%s: what was pushed is not noted: %s", p->name, err->msg);
    if (p->done)
        p->done(p->arg);
    site_unref(p->site);
    free(p);
}

struct pushed_tags {
    int count;
    char *list[TAGS_MAX];
};

static bool pushed_note_tag(void *arg, const char *tag)
{
    struct pushed_tags *tags = arg;

    tags->list[tags->count++] = xstrdup(tag);
    return tags->count < TAGS_MAX;
}

/* The tag was deleted, or points to what is not known. True: it is kept even if its registry has it no more (it is
 * pinned, or `tags.deleted` says so); then the registry is asked about it before it is served. */
static bool forget_tag(struct pushed *p, const char *tag)
{
    struct config_tags tags = fetch_tags_for(p->site, p->name, tag);

    if (!tags.keep_deleted && !cache_is_pinned(p->cache, p->name, tag)) {
        cache_drop_tag(p->cache, p->name, tag);
        return false;
    }
    cache_doubt_tag(p->cache, p->name, tag, clock_now_ms() - tags.ttl_ms - 1);
    return true;
}

/* A manifest was deleted by its digest, and with it the tags that pointed to it. Nor is it served by its digest then,
 * without a look at the registry. */
static void forget_manifest(struct pushed *p)
{
    char by_digest[REF_TAG_MAX + 1];
    bool kept = false;
    struct pushed_tags *tags = xcalloc(1, sizeof(*tags));
    struct cache_hit hit;

    cache_each_tag(p->cache, p->name, true, "", pushed_note_tag, tags);
    for (int i = 0; i < tags->count; i++) {
        cache_find(p->cache, p->name, tags->list[i], NULL, &hit);
        if (hit.tag_known && digest_eq(&hit.tag.digest, &p->digest))
            kept = forget_tag(p, tags->list[i]) || kept;
        free(tags->list[i]);
    }
    free(tags);
    if (kept)
        return;
    cache_drop_tag(p->cache, p->name, ref_digest_tag(&p->digest, by_digest));
    cache_unlink(p->cache, p->name, &p->digest);
}

/* On an io worker. A tag that is not cached is not noted: whether the repository is public is not known from a push. */
static void note_pushed(void *arg)
{
    struct pushed *p = arg;
    struct cache_hit hit = {0};

    if (p->tag[0])
        cache_find(p->cache, p->name, p->tag, NULL, &hit);
    if (hit.tag_known && p->points_to.alg != DIGEST_NONE)
        cache_put_tag(p->cache, p->name, p->tag, &p->points_to, clock_now_ms(), NULL, NULL, NULL);
    else if (hit.tag_known)
        forget_tag(p, p->tag);
    else if (p->digest.alg != DIGEST_NONE && p->deleted)
        forget_manifest(p);
    cache_barrier(p->cache, pushed_end, p, p->loop);
}

struct pushed *pushed_begin(struct cache *cache, struct fetchers *fetchers, const struct site *site,
                            const struct path *what, const struct digest *points_to, void (*done)(void *arg), void *arg,
                            struct loop *loop)
{
    const char *host = site->host;
    bool library = strcmp(host, REF_DEFAULT_HOST) == 0 && !strchr(what->name, '/');
    struct pushed *p = xcalloc(1, sizeof(*p));

    ON_LOOP(loop);
    p->cache = cache;
    p->fetchers = fetchers;
    p->site = site_ref(site);
    p->loop = loop;
    p->digest = what->digest;
    p->deleted = !points_to;
    if (points_to)
        p->points_to = *points_to;
    p->done = done;
    p->arg = arg;
    memcpy(p->tag, what->tag, sizeof(p->tag));
    int n = snprintf(p->name, sizeof(p->name), "%s/%s%s", host, library ? "library/" : "", what->name);
    if (n < 0 || (size_t)n >= sizeof(p->name)) /* too long for the cache */
        p->name[0] = '\0';
    else
        fetch_forget_repository(fetchers, p->name);
    if (what->kind == PATH_MANIFEST && p->name[0])
        cache_run(cache, note_pushed, p);
    else
        cache_barrier(cache, pushed_end, p, loop);
    return p;
}

void pushed_leave(struct pushed *p)
{
    ON_LOOP(p->loop);
    p->done = NULL;
}
