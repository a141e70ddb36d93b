/* Where the bytes of a pull came from: the cache, other nodes of the cluster, the bucket, the registry. */
#include "tests/unit/unit.h"

#include "proxy/seen/pull_print.h"

#include <string.h>

struct fixture {
    struct loop *loop;
    struct pulls *pulls;
    int64_t came[PULL_FROMS]; /* of every blob, as the cache remembers it */
    bool remembers, here;
    struct pull_seen last;
};

enum { LAYER = 1000, MANIFEST = 5 };

static struct digest digest(char letter)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &letter, 1, &d);
    return d;
}

/* Each manifest has one layer. */
static bool look(void *arg, const char *name UNUSED, const struct digest *manifest UNUSED, struct pull_parts *out)
{
    const struct fixture *f = arg;

    *out = (struct pull_parts){.list = xcalloc(1, sizeof(*out->list)), .count = 1};
    *out->list = (struct pull_part){.digest = digest('a'), .size = LAYER, .here = f->here};
    return true;
}

static bool came(void *arg, const struct digest *blob UNUSED, int64_t from[PULL_FROMS])
{
    const struct fixture *f = arg;

    memcpy(from, f->came, sizeof(f->came));
    return f->remembers;
}

static void see(void *arg, enum pull_event event, const struct pull_seen *s)
{
    if (event == PULL_ENDS)
        ((struct fixture *)arg)->last = *s;
}

static struct pull_request request(bool blob, enum pull_from from)
{
    struct pull_request r = {.blob = blob, .status = 200, .whole = true, .waited_ms = -1, .count = 1, .from = from};

    strcpy(r.client, "::1");
    strcpy(r.name, "docker.io/library/nginx");
    strcpy(r.tag, blob ? "" : "1.27");
    if (blob)
        r.asked = digest('a');
    else
        r.digest = digest('m');
    r.bytes = blob ? LAYER : MANIFEST;
    return r;
}

/* A manifest and a layer, which were answered as from these sources. */
static void pull(struct fixture *f, enum pull_from manifest, enum pull_from layer, bool relayed)
{
    struct pull_request m = request(false, manifest), b = request(true, layer), e = request(true, layer);

    b.begins = true;
    e.relayed = relayed;
    pulls_take(f->pulls, &m);
    pulls_take(f->pulls, &b);
    pulls_take(f->pulls, &e);
    pulls_look(f->pulls, 10000);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->loop = loop_new("test", NULL);
    f->pulls = pulls_new(&(struct pulls_options){.look = look, .came = came, .arg = f}, f->loop);
    pulls_subscribe(f->pulls, see, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pulls_free(f->pulls);
    loop_free(f->loop);
    free(f);
    return 0;
}

static const struct from_case {
    const char *name;
    enum pull_from manifest, layer;
    bool here, remembers, relayed;
    int64_t came[PULL_FROMS];
    int64_t from[PULL_FROMS]; /* expected, of the layer */
} CASES[] = {
    {"cached", PULL_FROM_CACHE, PULL_FROM_CACHE, .here = true, .from = {LAYER, 0, 0, 0}},
    /* what is cached counts as that, wherever it came from once */
    {"cached from peers", PULL_FROM_CACHE, PULL_FROM_CACHE, .here = true, .remembers = true, .came = {0, 0, LAYER, 0},
     .from = {LAYER, 0, 0, 0}},
    {"registry", PULL_FROM_UPSTREAM, PULL_FROM_UPSTREAM, .from = {0, LAYER, 0, 0}},
    {"peers", PULL_FROM_PEERS, PULL_FROM_PEERS, .remembers = true, .came = {0, 0, LAYER, 0}, .from = {0, 0, LAYER, 0}},
    {"bucket", PULL_FROM_PEERS, PULL_FROM_SHARED, .remembers = true, .came = {0, 0, 0, LAYER},
     .from = {0, 0, 0, LAYER}},
    {"not remembered", PULL_FROM_UPSTREAM, PULL_FROM_PEERS, .from = {0, 0, LAYER, 0}},
    {"read ahead", PULL_FROM_PEERS, PULL_FROM_CACHE, .remembers = true, .came = {0, 0, 7, 0}, .from = {0, 0, LAYER, 0}},
    {"read ahead, registry", PULL_FROM_PEERS, PULL_FROM_CACHE, .from = {0, LAYER, 0, 0}},
    {"stripes", PULL_FROM_UPSTREAM, PULL_FROM_PEERS, .remembers = true, .came = {0, 300, 500, 200},
     .from = {0, 300, 500, 200}},
    /* the registry answered first, and had nothing more to send */
    {"shares of a part", PULL_FROM_PEERS, PULL_FROM_UPSTREAM, .remembers = true, .came = {0, 1, 2, 0},
     .from = {0, 333, 667, 0}},
    {"large", PULL_FROM_PEERS, PULL_FROM_PEERS, .remembers = true, .came = {0, 0, (int64_t)1 << 40, 0},
     .from = {0, 0, LAYER, 0}},
    {"relayed", PULL_FROM_UPSTREAM, PULL_FROM_UPSTREAM, .remembers = true, .relayed = true, .came = {0, 0, LAYER, 0},
     .from = {0, LAYER, 0, 0}},
};

static void from_each_source(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct from_case *c = &CASES[i];
        f->here = c->here;
        f->remembers = c->remembers;
        memcpy(f->came, c->came, sizeof(f->came));
        pull(f, c->manifest, c->layer, c->relayed);
        for (int k = 0; k < PULL_FROMS; k++)
            if (f->last.from[k] != c->from[k] + ((int)c->manifest == k ? MANIFEST : 0))
                fail_msg("%s: %lld bytes of source %d", c->name, (long long)f->last.from[k], k);
    }
}

/* Other nodes and the bucket are named where they have sent something. */
static void words(void **state UNUSED)
{
    struct pull_seen s = {.from = {12 << 20, 0, 23 << 20, 0}, .waited_ms = 7, .result = PULLED_OK};
    _cleanup_buf_ struct buf line = {0};

    pull_print_line(&line, &s);
    assert_non_null(
        strstr(line.data, "ok, 12.0 MiB from the cache, 23.0 MiB from other nodes, 0 B from upstream, in "));
    assert_non_null(strstr(line.data, "; waited 7 ms for the manifest"));
    buf_clear(&line);
    s.from[PULL_FROM_PEERS] = 0;
    s.from[PULL_FROM_SHARED] = 1 << 20;
    pull_print_line(&line, &s);
    assert_non_null(strstr(line.data, "from the cache, 1.0 MiB from the bucket, 0 B from upstream, in "));
    buf_clear(&line);
    s.from[PULL_FROM_SHARED] = 0;
    pull_print_line(&line, &s);
    assert_non_null(strstr(line.data, "ok, 12.0 MiB from the cache, 0 B from upstream, in "));
    assert_non_null(strstr(line.data, "; waited 7 ms for upstream and the manifest"));
    json_t *j = pull_json(&s);
    assert_int_equal(json_integer_value(json_object_get(j, "bytes_from_cache")), 12 << 20);
    assert_true(json_is_integer(json_object_get(j, "bytes_from_peers")));
    assert_true(json_is_integer(json_object_get(j, "bytes_from_shared")));
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_each_source, setup, teardown),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
