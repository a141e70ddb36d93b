/* unit_gc.h - a cache with a collector, and images in it: the fixture of tests of eviction. */
#ifndef ENTREPOT_TESTS_UNIT_GC_H
#define ENTREPOT_TESTS_UNIT_GC_H

#include "tests/unit/unit.h"

#include "base/clock.h"
#include "cache/index/rows_codec.h"
#include "cache/parts.h"
#include "gc/gc.h"

enum { LAYER = 100000 /* bytes */, GRACE_MS = 3600000 };

struct fixture {
    char *dir;
    struct pool *pool;
    struct cache *cache;
    struct gc *gc;
    struct loop *loop; /* runs when a test says so */
};

static inline int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err = {0};
    const struct gc_options o = {.max_bytes = 10 * LAYER,
                                 .min_free_bytes = 0,
                                 .high = 95,
                                 .low = 55,
                                 .grace_ms = GRACE_MS,
                                 .interval_ms = 3600000,
                                 .policy = &POLICY_LRU};

    f->dir = make_folder();
    f->loop = loop_new("test", &err);
    f->pool = pool_new("io", 2, &err);
    f->cache = cache_open(f->dir, f->pool, NULL, &err);
    f->gc = f->cache ? gc_new(f->cache, &o, &err) : NULL;
    *state = f;
    while (f->gc && !gc_is_reconciled(f->gc)) /* it would take what follows for what an interrupted run has left */
        usleep(1000);
    return f->gc ? 0 : -1;
}

static inline void complain(void *arg, const struct finding *f)
{
    char text[DIGEST_TEXT_MAX];

    (void)arg;
    print_error("%s %s\n", digest_format(&f->digest, text), finding_text(f));
}

static inline void check(struct index_txn *t, void *arg)
{
    *(size_t *)arg = rows_check(t, complain, NULL);
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    size_t wrong = 1;

    cache_read(f->cache, check, &wrong);
    assert_int_equal(wrong, 0);
    gc_free(f->gc);
    pool_free(f->pool);
    cache_close(f->cache);
    loop_free(f->loop); /* who posts to it has ended */
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* ---- images ---- */

static inline struct digest layer_digest(int n, char data[LAYER])
{
    struct digest d;

    memset(data, 0, LAYER);
    memcpy(data, &n, sizeof(n));
    digest_of(DIGEST_SHA256, data, LAYER, &d);
    return d;
}

struct image {
    const char *tag; /* NULL: none */
    struct digest manifest;
    struct child children[8];
    size_t count;
};

static inline bool apply_image(struct index_txn *t, void *arg, struct err *err)
{
    struct image *i = arg;
    int64_t now = clock_now_s();
    struct blob_row row = {.size = LAYER, .created = now, .used = now};
    struct blob_row manifest = {.size = 100, .created = now, .used = now, .flags = BLOB_MANIFEST};
    uint64_t repo;

    for (size_t k = 0; k < i->count; k++)
        if (!rows_put_blob(t, &i->children[k].digest, &row, err))
            return false;
    return rows_intern_repo(t, "docker.io/library/x", &repo, err) &&
           rows_put_manifest(t, &i->manifest, &manifest, i->children, i->count, err) &&
           (!i->tag || rows_put_tag(t, repo, i->tag, &(struct tag_row){i->manifest, 1, 1}, err));
}

/* An image of the given layers (ended by 0). */
static inline struct digest put_image(struct fixture *f, const char *tag, const int *layers)
{
    static char data[LAYER];
    struct image i = {.tag = tag};
    struct file_info info;
    char text[100] = {0};

    for (; layers[i.count]; i.count++) {
        i.children[i.count] = (struct child){CHILD_CONTENT, layer_digest(layers[i.count], data), LAYER};
        assert_true(
            store_write_blob(cache_store(f->cache), &i.children[i.count].digest, data, LAYER, false, &info, NULL));
    }
    snprintf(text, sizeof(text), "manifest %s %d", tag ? tag : "-", layers[0]);
    digest_of(DIGEST_SHA256, text, sizeof(text), &i.manifest);
    assert_true(store_write_blob(cache_store(f->cache), &i.manifest, text, sizeof(text), false, &info, NULL));
    assert_true(index_write_wait(cache_index(f->cache), apply_image, &i, NULL));
    clock_advance(10000); /* the next one is younger */
    return i.manifest;
}

static inline bool has_layer(struct fixture *f, int n)
{
    static char data[LAYER];
    struct digest d = layer_digest(n, data);

    return store_has_blob(cache_store(f->cache), &d);
}

#define LAYERS(...) ((const int[]){__VA_ARGS__, 0})

#endif
