#include "proxy/pull/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "gc/gc.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

enum { ATTEMPTS_MAX = 3, AGAIN_MS = 1000, LOOK_MS = 200 };

/* Whether the cache has it, so that nothing need be fetched. */
static bool pull_is_here(struct pull *p, struct pull_item *it)
{
    struct cache_hit hit;

    if (it->tag[0] || it->kind == PULL_LISTING)
        return false;
    cache_find(p->puller->cache, it->image->name, NULL, &it->digest, &hit);
    return hit.stored && hit.linked && (it->kind != PULL_MANIFEST || hit.blob.flags & BLOB_MANIFEST) &&
           cache_has_file(p->puller->cache, &it->digest);
}

static void end_image(struct pull *p, struct pulled_image *im)
{
    struct err err = {0};
    char tag[REF_TAG_MAX + 1], platform[PLATFORM_MAX + 1] = "";
    bool by_digest = im->ref.digest.alg != DIGEST_NONE;

    if (im->unchecked[0] && p->wish->fresh)
        pull_fail(im, "its tag could not be checked: %s", im->unchecked);
    /* "name:tag@digest": the tag is set to the digest. */
    bool tagged = by_digest && im->ref.tag[0];
    if (!im->failed && tagged && !cache_set_tag(p->puller->cache, im->name, im->ref.tag, &im->ref.digest, &err))
        pull_fail(im, "setting its tag: %s", err.msg);
    if (!im->failed && p->wish->pin && tagged && !gc_pin(p->puller->gc, im->name, im->ref.tag, NULL, true, &err))
        pull_fail(im, "pinning it: %s", err.msg);
    if (!im->failed && p->wish->pin && !tagged &&
        !gc_pin(p->puller->gc, im->name, ref_tag(&im->ref, tag), by_digest ? &im->ref.digest : NULL, true, &err))
        pull_fail(im, "pinning it: %s", err.msg);
    if (!im->failed)
        pull_other_platform(p, im, platform);
    const struct pull_image end = {
        im->text,     im->failed ? PULL_FAILED : PULL_DONE, im->digest, im->size, im->fetched, im->error, platform,
        im->unchecked};
    p->wish->on_image(p->wish->arg, &end);
    p->sum->failed += im->failed;
    p->sum->unchecked += im->unchecked[0] != '\0';
    p->sum->size += im->size;
    p->sum->fetched += im->fetched;
}

/* An image's referrers are pinned with it. */
static void pin_statement(struct pull *p, const struct pull_item *it)
{
    char tag[REF_TAG_MAX + 1];
    struct err err;

    if (p->wish->pin && it->kind == PULL_MANIFEST && it->depth > 0 &&
        !gc_pin(p->puller->gc, it->image->name, it->tag[0] ? it->tag : ref_digest_tag(&it->digest, tag),
                it->tag[0] ? NULL : &it->digest, true, &err))
        pull_fail(it->image, "pinning a referrer of it: %s", err.msg);
}

/* It is here. */
static void pull_take(struct pull *p, struct pull_item *it, bool was_here)
{
    struct pulled_image *im = it->image;
    bool root = !im->begun;

    if (root)
        snprintf(im->unchecked, sizeof(im->unchecked), "%s", it->unchecked ? it->unchecked : "");
    if (it->kind == PULL_LISTING)
        pull_take_listing(p, it);
    if (it->kind == PULL_MANIFEST)
        pull_take_manifest(p, it);
    if (root && im->digest.alg != DIGEST_NONE) {
        im->begun = true;
        p->wish->on_image(p->wish->arg, &(struct pull_image){im->text, PULL_RUNNING, im->digest, 0, 0, "", "", ""});
    }
    pin_statement(p, it);
    was_here = was_here || (it->tag[0] && digest_eq(&it->before, &it->digest));
    if (it->kind != PULL_LISTING && it->size > 0) {
        im->size += it->size;
        im->fetched += was_here ? 0 : MAX(it->size - it->had, (int64_t)0);
    }
    pull_say_blob(p, it, was_here ? PULL_EXISTS : PULL_DONE, it->size, "");
}

/* Its registry has deleted the tag, and tags.deleted says what becomes of what was here. */
static void add_fate(struct pull *p, struct pull_item *it)
{
    char text[DIGEST_TEXT_MAX];
    size_t len = strlen(it->err->msg);
    struct cache_hit hit;

    if (it->err->code != ERR_NOT_FOUND || !it->tag[0] || it->before.alg == DIGEST_NONE)
        return;
    cache_find(p->puller->cache, it->image->name, it->tag, NULL, &hit);
    if (!hit.tag_known)
        snprintf(it->err->msg + len, sizeof(it->err->msg) - len,
                 "; %s, which was here, is dropped (tags.deleted: drop)", digest_format(&it->before, text));
}

/* In a moment; a limit lasts longer. */
static bool is_worth_another(const struct err *e)
{
    return err_is_passing(e) && e->code != ERR_RATE_LIMIT;
}

static void pull_end_item(struct pull *p, struct pull_item *it, bool was_here)
{
    struct pulled_image *im = it->image;

    if (it->ok) {
        pull_take(p, it, was_here);
    } else if (is_worth_another(it->err) && ++it->attempts < ATTEMPTS_MAX && !im->failed) {
        it->not_before_ms = clock_mono_ms() + (int64_t)AGAIN_MS * it->attempts;
        STAILQ_INSERT_TAIL(&p->waiting, it, entry);
        return;
    } else if (it->kind == PULL_LISTING) {
        pull_miss_listing(p, it);
    } else if (!it->optional || (it->err->code != ERR_NOT_FOUND && it->err->code != ERR_DENIED)) {
        add_fate(p, it);
        pull_fail(im, "%s", it->err->msg);
        pull_say_blob(p, it, PULL_FAILED, 0, it->err->msg);
    }
    im->fetched += it->ok ? 0 : it->got;
    if (--im->open == 0)
        end_image(p, im);
    pull_item_free(it);
}

static bool is_stopped(struct pull *p)
{
    return p->wish->stop(p->wish->arg) || !atomic_load(p->puller->serving);
}

/* Starts as many items as may run. Those that are cached are finished at once. */
static void pull_start_some(struct pull *p)
{
    int64_t now = clock_mono_ms();
    size_t passed_over = 0;

    while (p->running_count < PULL_PARALLEL && !STAILQ_EMPTY(&p->waiting) && !is_stopped(p)) {
        struct pull_item *it = STAILQ_FIRST(&p->waiting);
        STAILQ_REMOVE_HEAD(&p->waiting, entry);
        if (it->not_before_ms > now) {
            STAILQ_INSERT_TAIL(&p->waiting, it, entry);
            if (++passed_over > p->item_count)
                break;
            continue;
        }
        if (pull_is_here(p, it)) {
            it->ok = true;
            cache_touch(p->puller->cache, &it->digest);
            pull_end_item(p, it, true);
            continue;
        }
        if (it->attempts == 0)
            pull_say_blob(p, it, PULL_WAITING, 0, "");
        pull_start(p, it);
    }
}

/* Takes the finished items out of the running ones. */
static void pull_gather(struct pull *p)
{
    struct pull_items ended = STAILQ_HEAD_INITIALIZER(ended), rest = STAILQ_HEAD_INITIALIZER(rest);
    struct pull_shared *s = p->shared;

    pthread_mutex_lock(&s->lock);
    while (!STAILQ_EMPTY(&p->running)) {
        struct pull_item *it = STAILQ_FIRST(&p->running);
        STAILQ_REMOVE_HEAD(&p->running, entry);
        if (it->ended)
            STAILQ_INSERT_TAIL(&ended, it, entry);
        else
            STAILQ_INSERT_TAIL(&rest, it, entry);
    }
    pthread_mutex_unlock(&s->lock);
    STAILQ_CONCAT(&p->running, &rest);
    while (!STAILQ_EMPTY(&ended)) {
        struct pull_item *it = STAILQ_FIRST(&ended);
        STAILQ_REMOVE_HEAD(&ended, entry);
        p->running_count--;
        pull_end_item(p, it, false);
    }
}

static void look_at_transfer(void *arg, const struct ingest_info *info)
{
    struct pull *p = arg;
    struct pull_item *it;

    STAILQ_FOREACH(it, &p->running, entry)
        if (it->kind != PULL_LISTING && digest_eq(&it->digest, &info->digest)) {
            it->size = info->size > 0 ? info->size : it->size;
            pull_say_blob(p, it, PULL_RUNNING, info->received, "");
        }
}

static void wait_for_news(struct pull *p)
{
    struct pull_shared *s = p->shared;

    pthread_mutex_lock(&s->lock);
    if (!s->news)
        cond_wait_until(&s->cond, &s->lock, clock_mono_ms() + LOOK_MS);
    bool news = s->news;
    s->news = false;
    pthread_mutex_unlock(&s->lock);
    if (!news)
        ingests_each(cache_ingests(p->puller->cache), look_at_transfer, p);
}

static void fail_unconfigured(const struct pull *p, struct pulled_image *im)
{
    _cleanup_free_ char *of = sites_name_of_endpoint(p->puller->sites, im->ref.host);

    if (sites_is_upstream(p->puller->sites, im->ref.host))
        pull_fail(im, "too many upstreams are in use at once: try again in a moment");
    else if (of)
        pull_fail(im, "%s is an endpoint of the upstream %s: use %s%s", im->ref.host, of, of,
                  im->text + strlen(im->ref.host));
    else if (strchr(im->ref.host, ':'))
        pull_fail(im,
                  "%s is not a configured upstream: add it under upstreams, by a name without a port, with "
                  "https://%s as its endpoint",
                  im->ref.host, im->ref.host);
    else
        pull_fail(im, "%s is not a configured upstream: add it under upstreams", im->ref.host);
}

/* What is imported is not asked about: it is here already. */
static bool is_admitted(struct pulled_image *im)
{
    const bool by_digest = im->ref.digest.alg != DIGEST_NONE;
    char tag[REF_TAG_MAX + 1], digest[DIGEST_TEXT_MAX];
    const struct config_image asked = {.name = im->name,
                                       .tag = by_digest ? NULL : ref_tag(&im->ref, tag),
                                       .digest = by_digest ? digest_format(&im->ref.digest, digest) : NULL};
    const char *why;

    if (config_admits(im->site->all, &asked, &why))
        return true;
    pull_fail(im, "the policy of this node does not allow it: %s%s",
              *why ? "policy.deny has " : "it is not among those of policy.allow", why);
    return false;
}

static void begin_images(struct pull *p)
{
    char tag[REF_TAG_MAX + 1];

    for (size_t i = 0; i < p->wish->count; i++) {
        struct pulled_image *im = &p->images[i];
        im->ref = p->wish->references[i];
        sites_name_alias(p->puller->sites, im->ref.host);
        ref_format(&im->ref, im->text);
        ref_name(&im->ref, im->name);
        p->wish->on_image(p->wish->arg, &(struct pull_image){.reference = im->text, .status = PULL_WAITING});
        if (!prefetch_site(p->puller, im->name, &im->site, &im->path)) {
            fail_unconfigured(p, im);
            end_image(p, im);
            continue;
        }
        if (!is_admitted(im)) {
            end_image(p, im);
            continue;
        }
        bool by_digest = im->ref.digest.alg != DIGEST_NONE;
        struct pull_item *it = pull_add(p, im, PULL_MANIFEST, by_digest ? &im->ref.digest : NULL,
                                        by_digest ? NULL : ref_tag(&im->ref, tag), 0);
        it->about = true;
    }
}

/* The caller has gone, or the daemon is stopping: running items are dropped, and their results ignored. */
static void abandon(struct pull *p)
{
    struct pull_shared *s = p->shared;

    pthread_mutex_lock(&s->lock);
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    loop_post(p->loop, pull_drop_all, s);
    for (int waits = 0; p->running_count > 0 && waits < 10 && atomic_load(p->puller->serving); waits++) {
        wait_for_news(p);
        pull_gather(p);
    }
    pthread_mutex_lock(&s->lock);
    memset(s->items, 0, sizeof(s->items));
    pthread_mutex_unlock(&s->lock);
}

static void free_items(struct pull_items *list)
{
    while (!STAILQ_EMPTY(list)) {
        struct pull_item *it = STAILQ_FIRST(list);
        STAILQ_REMOVE_HEAD(list, entry);
        pull_item_free(it);
    }
}

void pull_run(struct puller *puller, struct loop *loop, const struct pull_wish *wish, struct pull_sum *sum)
{
    struct pull pull = {.puller = puller, .loop = loop, .wish = wish, .sum = sum, .shared = pull_shared_new()};
    struct pull *p = &pull;

    OFF_LOOPS;
    *sum = (struct pull_sum){.images = wish->count};
    p->images = xcalloc(MAX(wish->count, (size_t)1), sizeof(*p->images));
    STAILQ_INIT(&p->waiting);
    STAILQ_INIT(&p->running);
    begin_images(p);
    while ((!STAILQ_EMPTY(&p->waiting) || p->running_count > 0) && !is_stopped(p)) {
        pull_start_some(p);
        if (p->running_count > 0 || !STAILQ_EMPTY(&p->waiting))
            wait_for_news(p);
        pull_gather(p);
    }
    sum->stopped = !STAILQ_EMPTY(&p->waiting) || p->running_count > 0;
    if (sum->stopped)
        abandon(p);
    free_items(&p->waiting);
    free_items(&p->running);
    pull_shared_unref(p->shared);
    key_map_free(&p->seen);
    for (size_t i = 0; i < wish->count; i++)
        site_unref(p->images[i].site);
    free(p->images);
}
