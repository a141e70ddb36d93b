/* The shared tier without a daemon: uploads and reads blobs by cluster/bucket.h.
 *
 *     bucket URL BUCKET [option=value]... put FILE... | get DIGEST [FIRST-LAST] | stats
 *
 * Options: prefix, region, user, password_file, provider, ca; wait: milliseconds to wait for the bucket (5000), or for
 * uploads (60000), at most. What was read goes to stdout, figures and errors to stderr. Exit: 0 all is there, 1 it is
 * not. */
#include "base/clock.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/latch.h"
#include "base/log.h"
#include "cluster/bucket.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 2000, STEP_US = 5000 };

static struct {
    struct digest digest;
    const char *path;
    int64_t size;
} files[FILES_MAX];
static int file_count;

static int open_file(void *arg UNUSED, const struct digest *d, int64_t *size)
{
    for (int i = 0; i < file_count; i++)
        if (digest_eq(&files[i].digest, d)) {
            *size = files[i].size;
            return open(files[i].path, O_RDONLY | O_CLOEXEC);
        }
    return -1;
}

static void add_file(const char *path)
{
    static char block[1 << 20];
    struct hasher *h = hasher_new(DIGEST_SHA256);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 || file_count == FILES_MAX) {
        perror(path);
        exit(2);
    }
    while ((n = io_read(fd, block, sizeof(block))) > 0) {
        hasher_update(h, block, (size_t)n);
        files[file_count].size += n;
    }
    hasher_final(h, &files[file_count].digest);
    hasher_free(h);
    close(fd);
    files[file_count++].path = path;
}

static void print_stats(struct bucket *b)
{
    struct bucket_stats s;

    bucket_get_stats(b, &s);
    fprintf(stderr, "up=%d read=%llu written=%llu dropped=%llu failed=%llu lacked=%llu queued=%d why=%s\n", s.up,
            (unsigned long long)s.read, (unsigned long long)s.written, (unsigned long long)s.dropped,
            (unsigned long long)s.failed, (unsigned long long)s.lacked, s.queued, s.why);
}

static void wait_until_up(struct bucket *b, int64_t ms)
{
    struct bucket_stats s = {0};

    for (int64_t end = clock_mono_ms() + ms; !s.up && clock_mono_ms() < end; usleep(STEP_US))
        bucket_get_stats(b, &s);
}

/* ---- put ---- */

static int put(struct bucket *b, char **paths, int count, int64_t ms)
{
    struct bucket_stats s = {.queued = 1};

    for (int i = 0; i < count; i++)
        add_file(paths[i]);
    for (int i = 0; i < count; i++)
        bucket_offer(b, &files[i].digest, &files[i].digest, files[i].size);
    for (int64_t end = clock_mono_ms() + ms; s.queued > 0 && clock_mono_ms() < end; usleep(STEP_US))
        bucket_get_stats(b, &s);
    return s.queued > 0 || s.failed > 0 || s.dropped > 0;
}

/* ---- get ---- */

struct getting {
    struct bucket *b;
    struct bucket_range range;
    struct latch latch;
    int64_t began_ms;
};

static bool on_head(void *arg UNUSED, const struct transfer_response *r)
{
    fprintf(stderr, "status=%d length=%lld\n", r->status, (long long)r->content_length);
    return true;
}

static bool on_data(void *arg UNUSED, const void *data, size_t len)
{
    return io_write(STDOUT_FILENO, data, len);
}

static void on_done(void *arg, const struct transfer_response *r UNUSED, const struct err *err)
{
    struct getting *g = arg;

    fprintf(stderr, "ms=%lld\n", (long long)(clock_mono_ms() - g->began_ms));
    latch_open(&g->latch, err);
}

static void begin_get(void *arg)
{
    struct getting *g = arg;

    bucket_get_start(g->b, &g->range);
}

static int get(struct bucket *b, const char *digest, const char *range)
{
    struct err err = {0};
    long long first = 0, last = -1;
    struct getting g = {.b = b, .began_ms = clock_mono_ms()};
    struct bucket_range *r = &g.range;

    if (!digest_parse(&r->digest, digest, strlen(digest)) || (range && sscanf(range, "%lld-%lld", &first, &last) < 1))
        return 2;
    r->first = first;
    r->last = last;
    r->loop = loop_new("get", &err);
    r->engine = transfer_engine_new(r->loop, &err);
    r->on_head = on_head;
    r->on_data = on_data;
    r->on_done = on_done;
    r->arg = &g;
    fprintf(stderr, "may=%d\n", bucket_may_have(b, &r->digest));
    latch_init(&g.latch);
    loop_post(r->loop, begin_get, &g);
    if (!loop_start(r->loop, &err))
        return 2;
    bool ok = latch_wait(&g.latch, &err);
    loop_stop(r->loop);
    loop_join(r->loop);
    transfer_engine_end(r->engine);
    transfer_engine_free(r->engine);
    loop_free(r->loop);
    if (!ok)
        fprintf(stderr, "error=%s: %s\nmay=%d\n", err_name(err.code), err.msg, bucket_may_have(b, &r->digest));
    return !ok;
}

/* ---- the command line ---- */

static bool set_option(struct config_shared *c, int64_t *wait_ms, char *word)
{
    char *value = strchr(word, '=');

    if (!value)
        return false;
    *value++ = '\0';
    const struct {
        const char *name;
        char **to;
    } options[] = {{"prefix", &c->prefix},
                   {"region", &c->region},
                   {"ca", &c->ca},
                   {"user", &c->credentials.username},
                   {"password_file", &c->credentials.password_file},
                   {"provider", &c->credentials.provider},
                   {"metadata", &c->credentials.metadata_endpoint}};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(word, options[i].name) == 0)
            *options[i].to = value;
    if (strcmp(word, "wait") == 0)
        *wait_ms = atoll(value);
    return true;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct config_shared c = {.s3 = argc > 2 ? argv[1] : NULL, .bucket = argc > 2 ? argv[2] : NULL};
    const struct bucket_files stored = {.open = open_file};
    int64_t wait_ms = 0;
    int at = 3, status = 2;

    while (at < argc && set_option(&c, &wait_ms, argv[at]))
        at++;
    if (at >= argc) {
        fprintf(stderr, "bucket URL BUCKET [option=value]... put FILE... | get DIGEST [FIRST-LAST] | stats\n");
        return 2;
    }
    log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    struct cred_workers *workers = cred_workers_new(2, &err);
    struct bucket *b = workers ? bucket_start(&c, workers, &stored, &err) : NULL;
    if (!b) {
        fprintf(stderr, "error=%s: %s\n", err_name(err.code), err.msg);
        cred_workers_free(workers);
        return 2;
    }
    wait_until_up(b, wait_ms > 0 ? wait_ms : 5000);
    if (strcmp(argv[at], "put") == 0)
        status = put(b, argv + at + 1, argc - at - 1, wait_ms > 0 ? wait_ms : 60000);
    else if (strcmp(argv[at], "get") == 0 && at + 1 < argc)
        status = get(b, argv[at + 1], at + 2 < argc ? argv[at + 2] : NULL);
    else if (strcmp(argv[at], "stats") == 0)
        status = 0;
    print_stats(b);
    bucket_stop(b);
    cred_workers_stop(workers);
    while (bucket_settle(b))
        ;
    bucket_free(b);
    cred_workers_free(workers);
    return status;
}
