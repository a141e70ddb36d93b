#include "tests/unit/unit.h"

#include "cli/archive.h"
#include "cli/export.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

enum { ROOT = 0, SOMEBODY = 65534 };

/* The mode of a file that `who` puts in the place of root's, of mode `mode` (0: there was none); its group, too. */
static mode_t replaced(const char *dir, uid_t who, mode_t mode, gid_t *group)
{
    _cleanup_free_ char *old = xasprintf("%s/old", dir), *new = xasprintf("%s/new", dir);
    struct stat st;
    int status;

    unlink(old);
    if (mode) {
        put(old, "x");
        assert_int_equal(chmod(old, mode), 0);
    }
    int fd = open(new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && fchown(fd, who, who) == 0);
    pid_t child = fork();
    if (child == 0)
        _exit(setgroups(0, NULL) != 0 || setgid(who) != 0 || setuid(who) != 0 ||
              (umask(022), !export_take_after(fd, old)));
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    *group = st.st_gid;
    unlink(new);
    return st.st_mode & 07777;
}

/* Whoever could not read an archive cannot read the one that takes its place. */
static void what_is_replaced(void **state UNUSED)
{
    static const struct {
        uid_t who;
        mode_t was, is;
        gid_t group;
    } cases[] = {
        {ROOT, 0, 0644, ROOT},
        {ROOT, 0640, 0640, ROOT},
        {ROOT, 0666, 0666, ROOT},
        {SOMEBODY, 0, 0644, SOMEBODY},
        {SOMEBODY, 0640, 0600, SOMEBODY},
        {SOMEBODY, 0664, 0604, SOMEBODY},
        {SOMEBODY, 0604, 0600, SOMEBODY},
        {SOMEBODY, 0600, 0600, SOMEBODY},
    };

    if (geteuid() != 0)
        skip();
    char *dir = make_folder();
    assert_int_equal(chmod(dir, 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        gid_t group;
        mode_t is = replaced(dir, cases[i].who, cases[i].was, &group);
        if (is != cases[i].is || group != cases[i].group)
            fail_msg("%o by %d: %o of group %d", cases[i].was, (int)cases[i].who, is, (int)group);
    }
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_swapped),
        cmocka_unit_test(what_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
