/* How much a cache may hold, on the file system that there is. */
#include "cache/parts.h"
#include "tests/unit/unit.h"

#include "gc/gc.h"
#include "config/config.h"

enum { MIB = 1 << 20 };
#define GIB ((int64_t)1 << 30)

static void note(void *arg, const char *text)
{
    char *said = arg;

    assert_string_equal(said, "");
    snprintf(said, 512, "%s", text);
}

/* What can never hold is said, with the key that it is about; what can is not. */
static void warnings(void **state UNUSED)
{
    static const struct {
        struct amount max, min;
        int64_t available, used; /* of 100 GiB */
        const char *key, *why;   /* NULL: nothing to say */
    } cases[] = {
        {{-1, 80}, {-1, 20}, 90 * GIB, 0, NULL, NULL},
        {{-1, 80}, {-1, 20}, 30 * GIB, 0, NULL, NULL},
        {{-1, 80}, {-1, 20}, 21 * GIB, 60 * GIB, NULL, NULL},
        {{-1, 80}, {-1, 20}, 15 * GIB, 2 * GIB, "cache.min_free: 20%", "15.0 GiB are free"},
        {{-1, 80}, {-1, 20}, 15 * GIB, 20 * GIB, NULL, NULL},
        {{-1, 90}, {-1, 20}, 90 * GIB, 0, "cache.max_size: 90%", "never"},
        {{900 * 1024 * GIB, 0}, {-1, 20}, 90 * GIB, 0, "cache.max_size: 900 TiB", "never"},
        {{900 * 1024 * GIB, 0}, {0, 0}, 90 * GIB, 0, "cache.max_size: 900 TiB", "90.0 GiB as it is now"},
        {{90 * GIB, 0}, {-1, 20}, 90 * GIB, 0, "cache.max_size: 90.0 GiB", "never"},
        {{50 * GIB, 0}, {-1, 20}, 60 * GIB, 0, "cache.max_size: 50.0 GiB", "leaves it 40.0 GiB"},
        {{50 * GIB, 0}, {-1, 20}, 60 * GIB, 10 * GIB, NULL, NULL},
        {{50 * GIB, 0}, {0, 0}, 60 * GIB, 0, NULL, NULL},
        {{10 * GIB, 0}, {200 * GIB, 0}, 90 * GIB, 0, "cache.min_free: 200 GiB", "cannot be kept"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c = {.cache_path = "/x", .max_size = cases[i].max, .min_free = cases[i].min};
        const struct config_disk d = {100 * GIB, cases[i].available, cases[i].used};
        char said[512] = "";
        config_check_limits(&c, &d, note, said);
        bool right = cases[i].key ? strncmp(said, cases[i].key, strlen(cases[i].key)) == 0 && strstr(said, cases[i].why)
                                  : said[0] == '\0';
        if (!right)
            fail_msg("case %zu: \"%s\"", i, said);
    }
}

static void disks(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *path = xasprintf("%s/not/there/yet", dir);
    struct config_disk d = {0};

    assert_true(config_look_at_disk(path, &d));
    assert_true(d.total > 0 && d.available > 0 && d.available <= d.total);
    assert_int_equal(d.used, 0);
    remove_tree(dir);
}

/* The limit of a cache with these options, on a file system with so much free. */
static int64_t limit_of(struct cache *cache, const struct gc_options *o)
{
    struct err err = {0};
    struct gc *gc = gc_new(cache, o, &err);
    struct gc_stats stats;

    assert_non_null(gc);
    gc_get_stats(gc, &stats);
    gc_free(gc);
    return stats.limit_bytes;
}

/* A share of the file system is no more than what min_free leaves of what is free at the start; a size is what it says.
 * Others may use the disk meanwhile: within 256 MiB. */
static void at_the_start(void **state UNUSED)
{
    char *dir = make_folder();
    struct err err = {0};
    struct pool *pool = pool_new("io", 2, &err);
    struct cache *cache = cache_open(dir, pool, NULL, &err);
    struct gc_options o = {
        .max_bytes = -1, .max_percent = 100, .high = 95, .low = 85, .grace_ms = 3600000, .interval_ms = 3600000};
    int64_t total, available;

    assert_non_null(cache);
    assert_true(store_space(cache_store(cache), &total, &available, &err));
    o.min_free_bytes = 0;
    assert_true(llabs(limit_of(cache, &o) - available) < 256 * (int64_t)MIB);
    o.min_free_bytes = available / 2;
    assert_true(llabs(limit_of(cache, &o) - available / 2) < 256 * (int64_t)MIB);
    o.min_free_bytes = total + GIB;
    assert_int_equal(limit_of(cache, &o), 0);
    o.max_bytes = 5 * GIB;
    assert_true(limit_of(cache, &o) == 5 * GIB);
    pool_free(pool);
    cache_close(cache);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warnings),
        cmocka_unit_test(disks),
        cmocka_unit_test(at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
