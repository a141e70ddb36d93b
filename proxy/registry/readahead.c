#include "proxy/registry/readahead.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/registry/ahead_layers.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

enum {
    IMAGES_MAX = 64,
    READS_MAX = 32, /* at a time, of all images */
    CLOCK_S = 1,
    QUIET_MS = 5000,      /* without a request: no client fetches it any more */
    REMEMBER_MS = 600000, /* and after that: what was not requested was read in vain */
};

/* A layer that is being read ahead. */
struct ahead_read {
    struct ahead_image *image;
    struct ahead_layer *layer;
    struct fetch_waiter *wait; /* NULL: it has been answered */
    struct ingest *ingest;
    struct follower *follower; /* until the blob is stored */
    bool dropped;              /* its answer is not waited for any more */
    LIST_ENTRY(ahead_read) entry;
};

struct ahead_image {
    struct readahead *ra;
    struct fetch_want want; /* the latest client's, for one of its layers */
    struct ahead_layers layers;
    int active;      /* requests of clients that have not ended */
    int64_t seen_ms; /* monotonic: when the latest one began or ended */
    bool in_pieces;  /* a client fetches it in pieces */
    bool seekable;   /* a layer that is made for pieces was requested whole */
    bool failed;     /* as a fetch of it has */
    bool forgotten;  /* not in the list any more */
    LIST_HEAD(, ahead_read) reads;
    TAILQ_ENTRY(ahead_image) entry;
};

struct readahead {
    struct cache *cache;
    struct fetchers *fetchers;
    struct loop *loop;
    atomic_int image_count;
    atomic_uint_fast64_t used, used_bytes, wasted, wasted_bytes;
    /* owned by the loop */
    TAILQ_HEAD(ahead_images, ahead_image) images; /* the one that was added last comes first */
    int reads;
    bool stopping;
    struct event *clock;
};

static void image_go_on(struct ahead_image *image);
static void image_release(struct ahead_image *image);

/* ---- one layer ---- */

static void read_free(struct ahead_read *r)
{
    struct ahead_image *image = r->image;

    if (r->follower)
        follower_leave(r->follower);
    if (r->ingest)
        ingest_unref(r->ingest);
    LIST_REMOVE(r, entry);
    image->ra->reads--;
    free(r);
    image_release(image);
}

static void read_failed(struct ahead_read *r, const struct err *err)
{
    log_debug("a layer of %s is not read ahead: %s", r->image->want.name, err->msg);
    r->image->failed = true;
    r->layer->state = LAYER_LEFT;
    read_free(r);
}

static void read_stored(struct ahead_read *r)
{
    r->layer->state = r->ingest ? LAYER_READ : LAYER_LEFT;
    r->dropped = true;
    image_go_on(r->image); /* it is there as long as it has a read */
    read_free(r);
}

static void read_look(void *arg)
{
    struct ahead_read *r = arg;
    struct err err = {0};
    int kept = follower_is_kept(r->follower, &err);

    ON_LOOP(r->image->ra->loop);
    if (kept < 0)
        read_failed(r, &err);
    else if (kept > 0)
        read_stored(r);
}

static void read_answered(void *arg, struct fetch_result *res)
{
    struct ahead_read *r = arg;
    struct loop *loop = r->image->ra->loop;

    ON_LOOP(loop);
    r->wait = NULL;
    if (r->dropped) {
        read_free(r);
        return;
    }
    if (res->err.code != ERR_OK) {
        read_failed(r, &res->err);
        return;
    }
    if (!res->ingest || res->size <= 0) {
        read_stored(r);
        return;
    }
    r->ingest = ingest_ref(res->ingest);
    r->follower = ingest_follow(res->ingest, loop, res->size - 1, res->size - 1, read_look, r);
    read_look(r);
}

static void read_begin(struct ahead_image *image, struct ahead_layer *layer)
{
    struct readahead *ra = image->ra;
    struct ahead_read *r = xcalloc(1, sizeof(*r));
    struct fetch_want want = image->want;

    r->image = image;
    r->layer = layer;
    layer->state = LAYER_READING;
    LIST_INSERT_HEAD(&image->reads, r, entry);
    ra->reads++;
    want.kind = FETCH_BLOB;
    want.digest = layer->digest;
    want.piece = (struct fetch_piece){0};
    want.keep = want.ahead = true;
    r->wait = fetch_begin(ra->fetchers, ra->loop, &want, read_answered, r);
}

/* The layer is its clients' concern from now on. */
static void read_drop(struct ahead_read *r)
{
    r->layer->state = LAYER_LEFT;
    if (r->dropped)
        return;
    r->dropped = true;
    if (r->wait)
        fetch_leave(r->wait); /* read_answered() comes */
    else
        read_free(r);
}

/* ---- what has been of use ---- */

static void ahead_count_used(struct readahead *ra, const struct ahead_layer *layer)
{
    atomic_fetch_add(&ra->used, 1);
    atomic_fetch_add(&ra->used_bytes, (uint64_t)layer->size);
}

static void ahead_count_wasted(struct readahead *ra, int64_t bytes)
{
    atomic_fetch_add(&ra->wasted, 1);
    atomic_fetch_add(&ra->wasted_bytes, (uint64_t)MAX(bytes, (int64_t)0));
}

struct readahead_stats readahead_stats(const struct readahead *ra)
{
    return (struct readahead_stats){atomic_load(&ra->used), atomic_load(&ra->used_bytes), atomic_load(&ra->wasted),
                                    atomic_load(&ra->wasted_bytes)};
}

/* ---- one image ---- */

static void image_give_up(struct ahead_image *image)
{
    struct ahead_read *r = LIST_FIRST(&image->reads), *next;

    for (; r; r = next) {
        next = LIST_NEXT(r, entry);
        if (r->dropped)
            continue;
        ahead_count_wasted(image->ra, r->ingest ? ingest_received(r->ingest) - ingest_resumed(r->ingest) : 0);
        read_drop(r);
    }
}

/* Once it is forgotten, and nothing of it is under way. */
static void image_release(struct ahead_image *image)
{
    if (!image->forgotten || image->active > 0 || !LIST_EMPTY(&image->reads))
        return;
    fetch_want_clear(&image->want);
    ahead_layers_free(&image->layers);
    free(image);
}

static void image_forget(struct ahead_image *image)
{
    struct readahead *ra = image->ra;

    image_give_up(image);
    for (size_t i = 0; i < image->layers.count; i++)
        if (image->layers.list[i].state == LAYER_READ)
            ahead_count_wasted(ra, image->layers.list[i].size);
    TAILQ_REMOVE(&ra->images, image, entry);
    atomic_fetch_sub(&ra->image_count, 1);
    image->forgotten = true;
    image_release(image);
}

/* The next layer to be read ahead: behind the last one that a client has requested, or before it. */
static struct ahead_layer *image_next(struct ahead_image *image)
{
    struct readahead *ra = image->ra;

    for (size_t i = 0; i < image->layers.count; i++) {
        struct ahead_layer *layer = &image->layers.list[i];
        struct cache_hit hit;
        if (layer->state != LAYER_UNTOUCHED || (layer->seekable && !image->seekable))
            continue;
        cache_find(ra->cache, image->want.name, NULL, &layer->digest, &hit);
        if (!hit.stored && layer->size <= image->want.site->all->blob_max)
            return layer;
        layer->state = LAYER_LEFT;
    }
    return NULL;
}

static int image_reads(const struct ahead_image *image)
{
    const struct ahead_read *r;
    int n = 0;

    LIST_FOREACH(r, &image->reads, entry)
        n += r->dropped ? 0 : 1;
    return n;
}

static bool image_is_quiet(const struct ahead_image *image, int64_t ms)
{
    return image->active == 0 && clock_mono_ms() - image->seen_ms >= ms;
}

static void image_go_on(struct ahead_image *image)
{
    struct readahead *ra = image->ra;
    struct ahead_layer *layer;

    ON_LOOP(ra->loop);
    while (!ra->stopping && !image->in_pieces && !image->failed && !image->forgotten &&
           !image_is_quiet(image, QUIET_MS) && ra->reads < READS_MAX &&
           image_reads(image) < image->want.site->all->readahead &&
           !fetchers_is_cut_off(ra->fetchers, image->want.site) && (layer = image_next(image)))
        read_begin(image, layer);
}

static struct ahead_read *image_read_of(struct ahead_image *image, const struct ahead_layer *layer)
{
    struct ahead_read *r;

    LIST_FOREACH(r, &image->reads, entry)
        if (r->layer == layer && !r->dropped)
            return r;
    return NULL;
}

/* A client requests the layer. */
static void image_note_request(struct ahead_image *image, struct ahead_layer *layer)
{
    struct ahead_read *r = image_read_of(image, layer);

    image->seen_ms = clock_mono_ms();
    if (layer->state == LAYER_READING || layer->state == LAYER_READ)
        ahead_count_used(image->ra, layer);
    layer->state = LAYER_LEFT;
    if (r)
        read_drop(r);
}

static struct ahead_image *image_find(struct readahead *ra, const char *name, const struct digest *d,
                                      struct ahead_layer **layer)
{
    struct ahead_image *image;

    TAILQ_FOREACH(image, &ra->images, entry)
        if (strcmp(image->want.name, name) == 0 && (*layer = ahead_layers_get(&image->layers, d)))
            return image;
    return NULL;
}

/* Takes over `want`, if there is such an image. */
static struct ahead_image *image_add(struct readahead *ra, struct fetch_want *want, struct ahead_layer **layer)
{
    struct ahead_layers layers;

    if (!ahead_layers_find(&layers, ra->cache, want->name, &want->digest))
        return NULL;
    struct ahead_image *image = xcalloc(1, sizeof(*image));
    image->ra = ra;
    image->layers = layers;
    image->want = *want;
    image->seen_ms = clock_mono_ms();
    *want = (struct fetch_want){0};
    LIST_INIT(&image->reads);
    if (atomic_load(&ra->image_count) >= IMAGES_MAX)
        image_forget(TAILQ_LAST(&ra->images, ahead_images));
    TAILQ_INSERT_HEAD(&ra->images, image, entry);
    atomic_fetch_add(&ra->image_count, 1);
    *layer = ahead_layers_get(&image->layers, &image->want.digest);
    return image;
}

/* ---- what clients do ---- */

struct readahead_request {
    struct readahead *ra;
    struct fetch_want want;    /* until the image has it */
    struct ahead_image *image; /* on the loop; NULL: none was found */
};

static void request_free(struct readahead_request *r)
{
    fetch_want_clear(&r->want);
    free(r);
}

/* A closed range of no more than half of the layer, or its last bytes. */
static bool is_piece(const struct fetch_piece *p, int64_t size)
{
    bool open = p->first >= 0 && p->last >= INT64_MAX - 1;
    int64_t bytes = p->first >= 0 ? p->last - p->first + 1 : p->last;

    return p->given && !open && (size <= 0 || bytes <= size / 2);
}

static void request_begun(void *arg)
{
    struct readahead_request *r = arg;
    struct readahead *ra = r->ra;
    struct ahead_layer *layer = NULL;

    ON_LOOP(ra->loop);
    const struct fetch_piece piece = r->want.piece;
    r->image = image_find(ra, r->want.name, &r->want.digest, &layer);
    if (!r->image && !ra->stopping)
        r->image = image_add(ra, &r->want, &layer);
    if (!r->image)
        return;
    struct ahead_image *image = r->image;
    image->active++;
    if (is_piece(&piece, layer->size)) {
        image->in_pieces = true;
        image_give_up(image);
        return;
    }
    if (r->want.name) { /* the latest client's identity is the one that is good for longest */
        fetch_want_clear(&image->want);
        image->want = r->want;
        r->want = (struct fetch_want){0};
    }
    image->seekable = image->seekable || layer->seekable;
    image_note_request(image, layer);
    image_go_on(image);
}

static void request_ended(void *arg)
{
    struct readahead_request *r = arg;

    ON_LOOP(r->ra->loop);
    if (r->image) {
        r->image->active--;
        r->image->seen_ms = clock_mono_ms();
        image_release(r->image);
    }
    request_free(r);
}

static bool reads_ahead(const struct readahead *ra, const struct site *site)
{
    return site->all->readahead > 0 && site->upstream && !fetchers_is_cut_off(ra->fetchers, site) &&
           config_fetch_for(site->all, site->config) != CONFIG_FETCH_LAZY;
}

struct readahead_request *readahead_begin(struct readahead *ra, const struct fetch_want *want)
{
    if (!reads_ahead(ra, want->site))
        return NULL;
    struct readahead_request *r = xcalloc(1, sizeof(*r));
    r->ra = ra;
    fetch_want_copy(&r->want, want);
    loop_post(ra->loop, request_begun, r);
    return r;
}

void readahead_end(struct readahead_request *r)
{
    if (r)
        loop_post(r->ra->loop, request_ended, r);
}

struct ahead_hit {
    struct readahead *ra;
    char *name;
    struct digest digest;
};

static void hit_noted(void *arg)
{
    struct ahead_hit *h = arg;
    struct ahead_layer *layer = NULL;
    struct ahead_image *image = image_find(h->ra, h->name, &h->digest, &layer);

    ON_LOOP(h->ra->loop);
    if (image) {
        image_note_request(image, layer);
        image_go_on(image);
    }
    free(h->name);
    free(h);
}

void readahead_note_hit(struct readahead *ra, const char *name, const struct digest *d)
{
    if (atomic_load_explicit(&ra->image_count, memory_order_relaxed) == 0)
        return;
    struct ahead_hit *h = xcalloc(1, sizeof(*h));
    *h = (struct ahead_hit){ra, xstrdup(name), *d};
    loop_post(ra->loop, hit_noted, h);
}

/* ---- all ---- */

static void readahead_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct readahead *ra = arg;
    struct ahead_image *image = TAILQ_FIRST(&ra->images), *next;

    for (; image; image = next) {
        next = TAILQ_NEXT(image, entry);
        if (image_is_quiet(image, QUIET_MS))
            image_give_up(image);
        if (image_is_quiet(image, REMEMBER_MS))
            image_forget(image);
    }
}

struct readahead *readahead_new(struct cache *cache, struct fetchers *fetchers, struct loop *loop)
{
    struct readahead *ra = xcalloc(1, sizeof(*ra));

    ra->cache = cache;
    ra->fetchers = fetchers;
    ra->loop = loop;
    TAILQ_INIT(&ra->images);
    ra->clock = event_new(loop_base(loop), -1, EV_PERSIST, readahead_tick, ra);
    event_add(ra->clock, &(struct timeval){.tv_sec = CLOCK_S});
    return ra;
}

void readahead_stop(struct readahead *ra)
{
    struct ahead_image *image;

    ON_LOOP(ra->loop);
    ra->stopping = true;
    event_del(ra->clock);
    TAILQ_FOREACH(image, &ra->images, entry)
        image_give_up(image);
}

void readahead_free(struct readahead *ra)
{
    if (!ra)
        return;
    while (!TAILQ_EMPTY(&ra->images))
        image_forget(TAILQ_FIRST(&ra->images));
    event_free(ra->clock);
    free(ra);
}
