/* One item that is being fetched: from the pulling thread to a loop, and back. */
#include "proxy/pull/private.h"

#include "base/assert.h"
#include "base/cond.h"

#include <string.h>

struct pull_shared *pull_shared_new(void)
{
    struct pull_shared *s = xcalloc(1, sizeof(*s));

    s->refs = 1;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->cond);
    return s;
}

void pull_shared_unref(struct pull_shared *s)
{
    pthread_mutex_lock(&s->lock);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct pull_errand {
    struct pull_shared *shared;
    struct puller *puller;
    struct loop *loop;
    struct fetch_want want; /* a copy */
    int slot;
};

static void errand_free(struct pull_errand *e)
{
    fetch_want_clear(&e->want);
    free(e);
}

static void errand_ended(void *arg, const struct prefetch_result *r)
{
    struct pull_errand *e = arg;
    struct pull_shared *s = e->shared;

    ON_LOOP(e->loop);
    pthread_mutex_lock(&s->lock);
    struct pull_item *it = s->items[e->slot]; /* NULL: the pulling thread has gone */
    if (it) {
        it->prefetch = NULL;
        it->ok = !r->err;
        it->ended = true;
        free(it->err);
        it->err = NULL;
        if (r->err) {
            it->err = xmalloc(sizeof(*it->err));
            *it->err = *r->err;
        }
        if (it->attempts == 0) /* later attempts go on from what this pull has fetched */
            it->had = r->had;
        it->got += r->got;
        free(it->unchecked);
        it->unchecked = r->unchecked ? xstrdup(r->unchecked) : NULL;
        it->listing = r->listing ? body_ref((struct body *)r->listing) : NULL;
        it->next = r->next ? body_ref((struct body *)r->next) : NULL;
        s->items[e->slot] = NULL;
        s->news = true;
        pthread_cond_signal(&s->cond);
    }
    pthread_mutex_unlock(&s->lock);
    pull_shared_unref(s);
    errand_free(e);
}

static void errand_begin(void *arg)
{
    struct pull_errand *e = arg;
    struct pull_shared *s = e->shared;

    ON_LOOP(e->loop);
    pthread_mutex_lock(&s->lock);
    struct pull_item *it = s->items[e->slot];
    if (it)
        it->prefetch = prefetch_begin(e->puller, e->loop, &e->want, errand_ended, e);
    pthread_mutex_unlock(&s->lock);
    if (!it) {
        pull_shared_unref(s);
        errand_free(e);
    }
}

void pull_drop_all(void *arg)
{
    struct pull_shared *s = arg;

    for (int i = 0; i < PULL_PARALLEL; i++) {
        pthread_mutex_lock(&s->lock);
        struct prefetch *p = s->items[i] ? s->items[i]->prefetch : NULL;
        pthread_mutex_unlock(&s->lock);
        if (p)
            prefetch_drop(p);
    }
    pull_shared_unref(s);
}

static void errand_describe(struct fetch_want *to, const struct pull_item *it)
{
    static const struct digest none;
    _cleanup_free_ char *path = fetch_referrers_path(&it->digest);
    _cleanup_free_ char *listing = xasprintf("%s%s%s", path, it->query ? "?" : "", it->query ? it->query : "");
    const struct fetch_want want = {
        .kind = it->kind == PULL_LISTING    ? FETCH_LISTING
                : it->kind == PULL_MANIFEST ? FETCH_MANIFEST
                                            : FETCH_BLOB,
        .site = it->image->site,
        .path = it->image->path,
        .name = it->image->name,
        .tag = it->tag,
        .digest = it->tag[0] ? none : it->digest,
        .listing = it->kind == PULL_LISTING ? listing : NULL,
        .force = true,
    };

    fetch_want_copy(to, &want);
}

void pull_start(struct pull *p, struct pull_item *it)
{
    struct pull_shared *s = p->shared;
    struct pull_errand *e = xcalloc(1, sizeof(*e));

    e->shared = s;
    e->puller = p->puller;
    e->loop = p->loop;
    errand_describe(&e->want, it);
    it->ended = false;
    if (it->tag[0]) {
        struct cache_hit hit;
        cache_find(p->puller->cache, it->image->name, it->tag, NULL, &hit);
        it->before = hit.stored ? hit.digest : (struct digest){0};
    }
    pthread_mutex_lock(&s->lock);
    while (s->items[e->slot])
        e->slot++;
    s->items[e->slot] = it;
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    p->running_count++;
    STAILQ_INSERT_TAIL(&p->running, it, entry);
    loop_post(p->loop, errand_begin, e);
}
