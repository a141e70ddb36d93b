/* Cached lists: the pages of tags/list and referrers, each under its path and query, up to a limit in bytes. A page is
 * fresh for as long as a tag of the repository. After that it is served while upstream cannot be asked, and only if all
 * following pages are cached, too: a list must neither end in an error half way nor look complete when it is not. Pages
 * of one list belong to the same fetch loop (fetch_key_loop()).
 *
 * And which repositories have the referrers API; this is shared by all loops. */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/document.h"
#include "base/log.h"
#include "base/url.h"

#include <string.h>

enum {
    LISTINGS_BYTES = 16 << 20,    /* of each loop */
    LISTING_TTL_MAX_MS = 3600000, /* a list may grow even if tags never move */
    APIS_MAX = 4096,
};

/* ---- storing ---- */

static size_t kept_listing_weight(const struct kept_listing *l)
{
    return sizeof(*l) + strlen(l->key) + l->result.body->len + (l->result.next ? l->result.next->len : 0);
}

static void kept_listing_free(struct fetcher *fr, struct kept_listing *l)
{
    TAILQ_REMOVE(&fr->listings, l, entry);
    LIST_REMOVE(l, same_hash);
    fr->listings_bytes -= kept_listing_weight(l);
    fetch_result_clear(&l->result);
    free(l->key);
    free(l);
}

static struct kept_listing *kept_listing_find(struct fetcher *fr, const char *key)
{
    struct kept_listing *l;

    LIST_FOREACH(l, &fr->listings_by_key[text_hash(key) % LISTING_BUCKETS], same_hash)
        if (strcmp(l->key, key) == 0)
            return l;
    return NULL;
}

void fetch_forget_listing(struct fetch *f)
{
    struct kept_listing *l = kept_listing_find(f->fetcher, f->key);

    ON_LOOP(f->fetcher->loop);
    if (l)
        kept_listing_free(f->fetcher, l);
}

void fetch_forget_listings(struct fetcher *fr)
{
    while (!TAILQ_EMPTY(&fr->listings))
        kept_listing_free(fr, TAILQ_FIRST(&fr->listings));
}

void fetch_forget_listings_of(struct fetcher *fr, const char *name)
{
    struct kept_listing *l, *next;

    ON_LOOP(fr->loop);
    for (l = TAILQ_FIRST(&fr->listings); l; l = next) {
        next = TAILQ_NEXT(l, entry);
        if (fetch_key_is_of(l->key, name))
            kept_listing_free(fr, l);
    }
}

void fetch_note_listing(struct fetch *f, bool nothing)
{
    struct fetcher *fr = f->fetcher;

    ON_LOOP(f->fetcher->loop);
    fetch_forget_listing(f);
    if (f->result.body->len > LISTINGS_BYTES / 2) /* it would evict all others */
        return;
    struct kept_listing *l = xcalloc(1, sizeof(*l));
    l->key = xstrdup(f->key);
    l->checked_ms = clock_now_ms();
    /* An empty list of referrers is like a 404 of a tag: the image may be about to be signed. */
    l->ttl_ms = MIN(nothing ? f->tags.negative_ttl_ms : f->tags.ttl_ms, (int64_t)LISTING_TTL_MAX_MS);
    l->result = f->result;
    body_ref(l->result.body);
    if (l->result.next)
        body_ref(l->result.next);
    TAILQ_INSERT_HEAD(&fr->listings, l, entry);
    LIST_INSERT_HEAD(&fr->listings_by_key[text_hash(l->key) % LISTING_BUCKETS], l, same_hash);
    fr->listings_bytes += kept_listing_weight(l);
    while (fr->listings_bytes > LISTINGS_BYTES)
        kept_listing_free(fr, TAILQ_LAST(&fr->listings, kept_listings));
}

/* ---- using ---- */

static void kept_listing_take(struct fetch *f, const struct fetch_result *result)
{
    fetch_result_clear(&f->result);
    f->result = *result;
    body_ref(f->result.body);
    if (f->result.next)
        body_ref(f->result.next);
}

bool fetch_use_listing(struct fetch *f)
{
    const struct kept_listing *l = kept_listing_find(f->fetcher, f->key);

    ON_LOOP(f->fetcher->loop);
    int64_t age = l ? clock_now_ms() - l->checked_ms : 0;
    if (!l || age >= l->ttl_ms || age <= -l->ttl_ms) /* the latter: the clock was set back */
        return false;
    kept_listing_take(f, &l->result);
    f->result.how = HOW_HIT;
    return true;
}

/* The next page; NULL: it is not cached. */
static struct kept_listing *kept_listing_next(struct fetcher *fr, const struct kept_listing *l)
{
    _cleanup_free_ char *key = xasprintf("%.*s?%s", (int)strcspn(l->key, "?"), l->key, l->result.next->data);

    return kept_listing_find(fr, key);
}

/* Whether the last page can be reached. Links may form a ring, which has none. */
static bool kept_listing_is_whole(struct fetcher *fr, struct kept_listing *l)
{
    uint64_t walk = ++fr->listings_walk;

    for (; l && l->walk != walk; l = kept_listing_next(fr, l)) {
        l->walk = walk;
        if (!l->result.next)
            return true;
    }
    return false;
}

static bool kept_listing_is_of_use(const struct fetch *f, struct kept_listing *l)
{
    return l && (fetch_is_offline(f) || clock_now_ms() - l->checked_ms <= l->ttl_ms + f->tags.max_stale_ms) &&
           kept_listing_is_whole(f->fetcher, l);
}

/* All pages in one. */
static struct body *kept_listing_join(struct fetcher *fr, const struct kept_listing *l)
{
    json_t *list = json_array();

    for (; l; l = l->result.next ? kept_listing_next(fr, l) : NULL) {
        const struct body *b = l->result.body;
        json_t *doc = document_read(b->data, b->len, NULL);
        json_array_extend(list, document_get(doc, "manifests"));
        json_decref(doc);
    }
    json_t *doc = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                            "application/vnd.oci.image.index.v1+json", "manifests", list);
    _cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
    struct body *b = body_new(strlen(text));
    memcpy(b->data, text, b->len);
    json_decref(doc);
    return b;
}

static void kept_listing_take_old(struct fetch *f, const struct kept_listing *l)
{
    const struct err why = f->result.err;
    int64_t age = clock_now_ms() - l->checked_ms;

    kept_listing_take(f, &l->result);
    f->result.how = age >= l->ttl_ms ? HOW_STALE : HOW_HIT;
    f->result.ttl_s = MAX((age - l->ttl_ms) / 1000, (int64_t)0);
    if (!fetch_is_offline(f) && why.code != ERR_OK)
        log_limited_about(LOG_LEVEL_WARN, "stale", f->want.site->host, "%s; serving the list of %lld s ago", why.msg,
                          (long long)(age / 1000));
}

/* For a request of referrers of one type: the list of all types, under the other parameters of the query, or without a
 * query. */
static struct kept_listing *kept_listing_of_all_types(const struct fetch *f)
{
    size_t path = strcspn(f->key, "?");
    const char *query = f->key[path] ? f->key + path + 1 : "";
    _cleanup_buf_ struct buf key = {0};

    buf_addf(&key, "%.*s?", (int)path, f->key);
    url_query_without(&key, query, "artifactType");
    if (!fetch_referrers_subject(f->want.listing) || key.len - path - 1 == strlen(query))
        return NULL;
    struct kept_listing *l = kept_listing_find(f->fetcher, key.data);
    if (kept_listing_is_of_use(f, l))
        return l;
    key.data[path] = '\0';
    l = kept_listing_find(f->fetcher, key.data);
    return kept_listing_is_of_use(f, l) ? l : NULL;
}

bool fetch_use_old_listing(struct fetch *f)
{
    struct fetcher *fr = f->fetcher;
    struct kept_listing *l = kept_listing_find(fr, f->key);

    ON_LOOP(f->fetcher->loop);
    if (kept_listing_is_of_use(f, l)) {
        kept_listing_take_old(f, l);
        return true;
    }
    l = kept_listing_of_all_types(f); /* the handler filters it */
    if (!l)
        return false;
    kept_listing_take_old(f, l);
    body_unref(f->result.body);
    f->result.body = kept_listing_join(fr, l);
    body_unref(f->result.next);
    f->result.next = NULL;
    f->result.how = HOW_STALE; /* not the registry's answer to this query */
    return true;
}

bool fetch_has_listing(const struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    return kept_listing_find(f->fetcher, f->key) != NULL;
}

void fetch_answer_old_listing(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    if (!fetch_use_old_listing(f))
        return;
    fetch_part_with(f, fetch_takes_old, fetch_answer_own);
    fetch_result_clear(&f->result);
    f->result = (struct fetch_result){.how = HOW_BYPASS, .size = -1};
    fetch_be_patient(f); /* with requests that join */
}

/* ---- repositories with the referrers API ---- */

void fetch_apis_init(struct fetchers *all)
{
    pthread_mutex_init(&all->apis_lock, NULL);
    TAILQ_INIT(&all->apis);
}

static void free_api(struct fetchers *all, struct known_api *a)
{
    TAILQ_REMOVE(&all->apis, a, entry);
    LIST_REMOVE(a, same_hash);
    all->api_count--;
    free(a->name);
    free(a);
}

void fetch_apis_clear(struct fetchers *all)
{
    while (!TAILQ_EMPTY(&all->apis))
        free_api(all, TAILQ_FIRST(&all->apis));
    pthread_mutex_destroy(&all->apis_lock);
}

static struct known_api *find_api(struct fetchers *all, const char *name)
{
    struct known_api *a;

    HOLDS(&all->apis_lock);
    LIST_FOREACH(a, &all->apis_by_name[text_hash(name) % LISTING_BUCKETS], same_hash)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

static void note_api(struct fetchers *all, const char *name, bool missing)
{
    struct known_api *a = find_api(all, name);

    HOLDS(&all->apis_lock);
    if (a) {
        TAILQ_REMOVE(&all->apis, a, entry);
    } else {
        a = xcalloc(1, sizeof(*a));
        a->name = xstrdup(name);
        LIST_INSERT_HEAD(&all->apis_by_name[text_hash(name) % LISTING_BUCKETS], a, same_hash);
        all->api_count++;
    }
    a->missing = missing;
    TAILQ_INSERT_HEAD(&all->apis, a, entry);
    if (all->api_count > APIS_MAX)
        free_api(all, TAILQ_LAST(&all->apis, known_apis));
}

void fetch_note_api(struct fetch *f, bool missing)
{
    struct fetchers *all = f->fetcher->all;

    pthread_mutex_lock(&all->apis_lock);
    note_api(all, f->want.name, missing);
    note_api(all, f->want.site->host, missing);
    pthread_mutex_unlock(&all->apis_lock);
}

bool fetch_api_is_missing(const struct fetch *f)
{
    struct fetchers *all = f->fetcher->all;

    pthread_mutex_lock(&all->apis_lock);
    const struct known_api *a = find_api(all, f->want.name);
    if (!a)
        a = find_api(all, f->want.site->host);
    bool missing = a && a->missing;
    pthread_mutex_unlock(&all->apis_lock);
    return missing;
}

bool fetch_api_is_known(const struct fetch *f)
{
    struct fetchers *all = f->fetcher->all;

    pthread_mutex_lock(&all->apis_lock);
    const struct known_api *a = find_api(all, f->want.name);
    bool known = a && !a->missing;
    pthread_mutex_unlock(&all->apis_lock);
    return known;
}
