/* scale DIR make IMAGES | open | retire N: a cache of many images without their bytes (sparse files), and how long the
 * index takes to open and images to go. Each image has nine layers of its own and three of fifty that many share. */
#include "base/clock.h"
#include "gc/gc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OWN = 9, SHARED = 3, BASES = 50, BATCH = 200, LAYER = 1 << 20, MANIFEST = 1500 };

static const char *dir;

static struct digest name_of(const char *kind, long n, int k)
{
    struct digest d;
    char text[100];
    int len = snprintf(text, sizeof(text), "%s %ld %d", kind, n, k);

    digest_of(DIGEST_SHA256, text, (size_t)len, &d);
    return d;
}

/* A sparse file; its change time, as the index keeps it. */
static int64_t make_file(const struct digest *d, int64_t size)
{
    char path[4200], hex[DIGEST_TEXT_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", dir, digest_hex(d, hex));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0 || ftruncate(fd, size) != 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(1);
    }
    close(fd);
    return st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec;
}

struct batch {
    long from, to;
    int64_t ctimes[BATCH * (OWN + 1) + BASES];
};

static bool put(struct index_txn *t, const struct digest *d, int64_t size, int64_t ctime_ns, long age, struct err *err)
{
    struct blob_row row = {
        .size = size, .created = 1700000000 + age, .used = 1700000000 + age, .uses = 1 + (uint32_t)(age % 7)};

    row.cost_ms = 100;
    row.ctime_ns = ctime_ns;
    return rows_put_blob(t, d, &row, err);
}

static bool apply(struct index_txn *t, void *arg, struct err *err)
{
    struct batch *b = arg;
    int64_t *ctime = b->ctimes;
    uint64_t repo;
    char name[64];

    for (int k = 0; b->from == 0 && k < BASES; k++) {
        struct digest d = name_of("base", 0, k);
        if (!put(t, &d, LAYER, *ctime++, 0, err))
            return false;
    }
    for (long i = b->from; i < b->to; i++) {
        struct digest m = name_of("manifest", i, 0);
        struct child children[OWN + SHARED];
        struct blob_row row = {
            .size = MANIFEST, .created = 1700000000 + i, .used = 1700000000 + i, .flags = BLOB_MANIFEST};
        for (int k = 0; k < OWN; k++) {
            children[k] = (struct child){CHILD_CONTENT, name_of("layer", i, k), LAYER};
            if (!put(t, &children[k].digest, LAYER, *ctime++, i, err))
                return false;
        }
        for (int k = 0; k < SHARED; k++)
            children[OWN + k] =
                (struct child){CHILD_CONTENT, name_of("base", 0, (int)((i * 7 + k * 13) % BASES)), LAYER};
        row.ctime_ns = *ctime++;
        row.uses = 1 + (uint32_t)(i % 7);
        row.cost_ms = 50;
        snprintf(row.media_type, sizeof(row.media_type), "application/vnd.oci.image.manifest.v1+json");
        snprintf(name, sizeof(name), "docker.io/team%ld/app%ld", i % 100, i % 1000);
        struct tag_row tag = {m, (1700000000 + i) * 1000, (1700000000 + i) * 1000};
        char version[32];
        snprintf(version, sizeof(version), "v%ld", i);
        if (!rows_put_manifest(t, &m, &row, children, OWN + SHARED, err) || !rows_intern_repo(t, name, &repo, err) ||
            !rows_link(t, repo, &m, PROOF_BYTES, row.created, err) || !rows_put_tag(t, repo, version, &tag, err))
            return false;
    }
    return true;
}

static void make(struct cache *c, long images)
{
    struct batch *b = xmalloc(sizeof(*b));
    struct err err;

    for (long i = 0; i < images; i += BATCH) {
        int64_t *ctime = b->ctimes;
        b->from = i;
        b->to = MIN(i + BATCH, images);
        for (int k = 0; i == 0 && k < BASES; k++) {
            struct digest d = name_of("base", 0, k);
            *ctime++ = make_file(&d, LAYER);
        }
        for (long n = b->from; n < b->to; n++) {
            for (int k = 0; k < OWN; k++) {
                struct digest d = name_of("layer", n, k);
                *ctime++ = make_file(&d, LAYER);
            }
            struct digest d = name_of("manifest", n, 0);
            *ctime++ = make_file(&d, MANIFEST);
        }
        if (!index_write_wait(c->index, apply, b, &err)) {
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

    while (!gc_is_settled(gc))
        usleep(1000);
    /* the first collection under a new policy ranks what it looks at; then as it goes on */
    for (int round = 0; round < 2; round++) {
        cache_totals(c, &t);
        int64_t began = clock_mono_us();
        if (!gc_collect(gc, false, t.bytes - count * OWN * LAYER, &r, &err)) {
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
    if (strcmp(argv[2], "open") == 0)
        printf("opened in %.1f ms: %lld blobs, %lld manifests\n", (double)(clock_mono_us() - began) / 1000,
               (long long)t.blobs, (long long)t.manifests);
    else if (strcmp(argv[2], "make") == 0 && argc == 4)
        make(c, atol(argv[3]));
    else if (strcmp(argv[2], "retire") == 0 && argc == 4)
        retire(c, atol(argv[3]));
    atomic_store(&c->tags_changed, false);
    pool_free(pool);
    cache_close(c);
    return 0;
}
