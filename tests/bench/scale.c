/* scale DIR make IMAGES [LAYERS] | open | retire N: a cache of many images without the bytes of their layers (sparse
 * files), and how long the index takes to open and images to go. Each image has a manifest and a config that can be
 * read, nine layers (LAYERS) of its own and three of fifty that many share. */
#include "base/buf.h"
#include "base/clock.h"
#include "cache/private.h"
#include "gc/gc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OWN_MAX = 9, SHARED = 3, BASES = 50, BATCH = 1000, LAYER = 1 << 20 };

#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG   "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER    "application/vnd.oci.image.layer.v1.tar+gzip"

static const char *dir;
static int own = OWN_MAX;

static struct digest name_of(const char *kind, long n, int k)
{
    struct digest d;
    char text[100];
    int len = snprintf(text, sizeof(text), "%s %ld %d", kind, n, k);

    digest_of(DIGEST_SHA256, text, (size_t)len, &d);
    return d;
}

/* Writes a file, or without a text a sparse one; its change time, as the index keeps it. */
static int64_t make_file(const struct digest *d, const char *text, int64_t size)
{
    char path[4200], hex[DIGEST_TEXT_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", dir, digest_hex(d, hex));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0 || (text ? write(fd, text, (size_t)size) != size : ftruncate(fd, size) != 0) || fstat(fd, &st) != 0) {
        perror(path);
        exit(1);
    }
    close(fd);
    return st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec;
}

struct blob {
    struct digest digest;
    int64_t size, ctime_ns;
};

struct image {
    struct blob layers[OWN_MAX + SHARED], config, manifest;
};

struct batch {
    long from, to;
    struct blob bases[BASES];
    struct image images[BATCH];
};

static struct blob make_layer(const char *kind, long n, int k)
{
    struct blob b = {name_of(kind, n, k), LAYER, 0};

    b.ctime_ns = make_file(&b.digest, NULL, LAYER);
    return b;
}

static struct blob make_text(const struct buf *text)
{
    struct blob b = {.size = (int64_t)text->len};

    digest_of(DIGEST_SHA256, text->data, text->len, &b.digest);
    b.ctime_ns = make_file(&b.digest, text->data, b.size);
    return b;
}

static void make_image(struct batch *b, long n)
{
    struct image *im = &b->images[n - b->from];
    _cleanup_buf_ struct buf config = {0}, manifest = {0}, history = {0};
    char digest[DIGEST_TEXT_MAX];

    for (int k = 0; k < SHARED; k++)
        im->layers[k] = b->bases[(n * 7 + k * 13) % BASES];
    for (int k = 0; k < own; k++)
        im->layers[SHARED + k] = make_layer("layer", n, k);
    buf_addf(&config,
             "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"app%ld\"]},"
             "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
             n);
    for (int k = 0; k < SHARED + own; k++) {
        struct digest diff_id = name_of("diff", n, k);
        buf_addf(&config, "%s\"%s\"", k ? "," : "", digest_format(&diff_id, digest));
        buf_addf(&history, "%s{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"RUN make step%d\"}", k ? "," : "",
                 k);
    }
    buf_addf(&config, "]},\"history\":[%s]}", history.data);
    im->config = make_text(&config);
    buf_addf(&manifest,
             "{\"schemaVersion\":2,\"mediaType\":\"" TYPE_MANIFEST "\",\"config\":{\"mediaType\":\"" TYPE_CONFIG
             "\",\"digest\":\"%s\",\"size\":%lld},\"layers\":[",
             digest_format(&im->config.digest, digest), (long long)im->config.size);
    for (int k = 0; k < SHARED + own; k++)
        buf_addf(&manifest, "%s{\"mediaType\":\"" TYPE_LAYER "\",\"digest\":\"%s\",\"size\":%d}", k ? "," : "",
                 digest_format(&im->layers[k].digest, digest), (int)LAYER);
    buf_adds(&manifest, "]}");
    im->manifest = make_text(&manifest);
}

static bool put(struct index_txn *t, const struct blob *b, long age, struct err *err)
{
    struct blob_row row = {
        .size = b->size, .created = 1700000000 + age, .used = 1700000000 + age, .uses = 1 + (uint32_t)(age % 7)};

    row.cost_ms = 100;
    row.ctime_ns = b->ctime_ns;
    return rows_put_blob(t, &b->digest, &row, err);
}

static bool put_image(struct index_txn *t, const struct image *im, long n, struct err *err)
{
    struct child children[SHARED + OWN_MAX + 1];
    struct blob_row row = {.size = im->manifest.size,
                           .created = 1700000000 + n,
                           .used = 1700000000 + n,
                           .flags = BLOB_MANIFEST,
                           .ctime_ns = im->manifest.ctime_ns,
                           .uses = 1 + (uint32_t)(n % 7),
                           .cost_ms = 50,
                           .media_type = TYPE_MANIFEST};
    struct tag_row tag = {im->manifest.digest, (1700000000 + n) * 1000, (1700000000 + n) * 1000};
    char name[64], version[32];
    uint64_t repo;

    for (int k = 0; k < SHARED + own; k++) {
        children[k] = (struct child){CHILD_CONTENT, im->layers[k].digest, LAYER};
        if (k >= SHARED && !put(t, &im->layers[k], n, err))
            return false;
    }
    children[SHARED + own] = (struct child){CHILD_CONTENT, im->config.digest, im->config.size};
    snprintf(name, sizeof(name), "docker.io/team%ld/app%ld", n % 100, n % 1000);
    snprintf(version, sizeof(version), "v%ld", n);
    return put(t, &im->config, n, err) &&
           rows_put_manifest(t, &im->manifest.digest, &row, children, (size_t)SHARED + (size_t)own + 1, err) &&
           rows_intern_repo(t, name, &repo, err) &&
           rows_link(t, repo, &im->manifest.digest, PROOF_BYTES, row.created, err) &&
           rows_put_tag(t, repo, version, &tag, err);
}

static bool apply(struct index_txn *t, void *arg, struct err *err)
{
    struct batch *b = arg;
    bool ok = true;

    for (int k = 0; b->from == 0 && k < BASES && ok; k++)
        ok = put(t, &b->bases[k], 0, err);
    for (long n = b->from; n < b->to && ok; n++)
        ok = put_image(t, &b->images[n - b->from], n, err);
    return ok;
}

static void make(struct cache *c, long images)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    struct err err;

    for (int k = 0; k < BASES; k++)
        b->bases[k] = make_layer("base", 0, k);
    for (long i = 0; i < images; i += BATCH) {
        b->from = i;
        b->to = MIN(i + BATCH, images);
        for (long n = b->from; n < b->to; n++)
            make_image(b, n);
        if (!index_write_wait(cache_index(c), apply, b, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
    }
    free(b);
}

static void retire(struct cache *c, long count)
{
    const struct gc_options o = {
        .max_bytes = (int64_t)1 << 50, .high = 95, .low = 85, .grace_ms = 3600000, .interval_ms = 3600000};
    struct gc_report r;
    struct totals t;
    struct err err;
    struct gc *gc = gc_new(c, &o, &err);

    while (!gc_is_reconciled(gc))
        usleep(1000);
    /* the first collection under a new policy ranks what it looks at; then as it goes on */
    for (int round = 0; round < 2; round++) {
        cache_totals(c, &t);
        int64_t began = clock_mono_us();
        if (!gc_collect(gc, false, t.bytes - count * own * LAYER, &r, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
        printf("%s %zu images, %lld blobs: %.3f ms an image\n", round ? "then" : "first", r.count,
               (long long)r.freed_blobs, (double)(clock_mono_us() - began) / 1000 / (double)MAX(r.count, (size_t)1));
        gc_report_free(&r);
    }
    gc_free(gc);
}

int main(int argc, char **argv)
{
    struct err err = {0};

    if (argc < 3)
        return 2;
    dir = argv[1];
    struct pool *pool = pool_new("io", 2, &err);
    int64_t began = clock_mono_us();
    struct cache *c = cache_open(dir, pool, NULL, &err);
    if (!c) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    struct totals t;
    cache_totals(c, &t);
    if (strcmp(argv[2], "open") == 0) {
        printf("opened in %.1f ms: %lld blobs, %lld manifests\n", (double)(clock_mono_us() - began) / 1000,
               (long long)t.blobs, (long long)t.manifests);
    } else if (strcmp(argv[2], "make") == 0 && (argc == 4 || argc == 5)) {
        own = argc == 5 ? MIN(atoi(argv[4]), (int)OWN_MAX) : (int)OWN_MAX;
        make(c, atol(argv[3]));
    } else if (strcmp(argv[2], "retire") == 0 && argc == 4) {
        retire(c, atol(argv[3]));
    }
    atomic_store(&c->tags_changed, false);
    pool_free(pool);
    cache_close(c);
    return 0;
}
