#include "tests/unit/unit.h"

#include "cli/archive/archive.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool want(void *arg UNUSED, const struct archive_file *f UNUSED, bool *wanted, struct err *err UNUSED)
{
    *wanted = true;
    return true;
}

static bool count(void *arg, const void *data UNUSED, size_t len, struct err *err UNUSED)
{
    *(size_t *)arg += len;
    return true;
}

static bool end(void *arg UNUSED, struct err *err UNUSED)
{
    return true;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What somebody puts in a file's place after it was listed is not read, and nobody waits for it. */
static void a_file_that_is_swapped(void **state UNUSED)
{
    static const char *const kinds[] = {"fifo", "link", "folder", "longer", "shorter"};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        char *dir = make_folder(), *file = xasprintf("%s/manifest.json", dir);
        struct archive_files a;
        struct err err = {0};
        size_t bytes = 0;
        put(file, "{}");
        assert_true(archive_list(&a, dir, &err) && a.count == 1);
        unlink(file);
        if (i == 0)
            assert_int_equal(mkfifo(file, 0600), 0);
        else if (i == 1)
            assert_int_equal(symlink("/etc/passwd", file), 0);
        else if (i == 2)
            assert_int_equal(mkdir(file, 0700), 0);
        else
            put(file, i == 3 ? "{}{}{}" : "{");
        bool ok = archive_read(&a, &(struct archive_visit){want, count, end, &bytes}, &err);
        if (i < 3 ? ok || err.code != ERR_INVALID || bytes > 0 : !ok || bytes > 2)
            fail_msg("%s: %zu bytes, %s", kinds[i], bytes, err.msg);
        archive_files_free(&a);
        remove_tree(dir);
        free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_swapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
