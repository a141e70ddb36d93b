#include "tests/unit/unit.h"

#include "cli/archive/archive.h"
#include "cli/archive/export.h"
#include "cli/archive/import.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/mman.h>
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

/* ---- what an archive's images name ---- */

#define BLOB_MAX 1000
#define A        "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* A blob of a layout; its descriptor, as if it had `size` bytes (NULL: as many as it has). */
static char *put_blob(const char *dir, const char *text, const char *size)
{
    char digest[DIGEST_TEXT_MAX], hex[DIGEST_TEXT_MAX];
    struct digest d;

    digest_of(DIGEST_SHA256, text, strlen(text), &d);
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", dir, digest_hex(&d, hex)),
                        *own = xasprintf("%zu", strlen(text));
    put(path, text);
    return xasprintf("{\"digest\":\"%s\",\"size\":%s}", digest_format(&d, digest), size ? size : own);
}

/* An image of this layer in an index, which is said to have so many bytes more than it has. */
static char *make_layout(const char *layer, int more)
{
    char *dir = make_folder(), size[32];
    _cleanup_free_ char *blobs = xasprintf("%s/blobs", dir), *sha256 = xasprintf("%s/blobs/sha256", dir),
                        *index_json = xasprintf("%s/index.json", dir);

    assert_true(mkdir(blobs, 0700) == 0 && mkdir(sha256, 0700) == 0);
    _cleanup_free_ char *config = put_blob(dir, "{}", NULL), *seven = put_blob(dir, "a layer", layer ? "7" : "8");
    _cleanup_free_ char *image =
        xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s,%s]}", config, seven, layer ? layer : seven);
    snprintf(size, sizeof(size), "%d", (int)strlen(image) + more);
    _cleanup_free_ char *child = put_blob(dir, image, size), *index = xasprintf("{\"manifests\":[%s]}", child);
    _cleanup_free_ char *top = put_blob(dir, index, NULL);
    _cleanup_free_ char *list =
        xasprintf("{\"manifests\":[%.*s,\"annotations\":{\"io.containerd.image.name\":\"r.test/a/b:1\"}}]}",
                  (int)strlen(top) - 1, top);
    put(index_json, list);
    return dir;
}

/* What is said on stderr; *err has why it is refused. */
static char *check_layout(const char *dir, bool *ok, struct err *err)
{
    FILE *said = tmpfile();
    int was = dup(STDERR_FILENO);
    struct archive_files a;
    struct import_plan p;
    char *text = xcalloc(1, 4096);

    assert_non_null(said);
    dup2(fileno(said), STDERR_FILENO);
    *ok = archive_list(&a, dir, err) && import_plan(&a, NULL, &p, err) && import_check(&p, &a, BLOB_MAX, err);
    dup2(was, STDERR_FILENO);
    close(was);
    assert_true(pread(fileno(said), text, 4095, 0) >= 0);
    fclose(said);
    import_plan_free(&p);
    archive_files_free(&a);
    return text;
}

static void what_images_name(void **state UNUSED)
{
    static const char of[] = "r.test/a/b:1: layers[1] of sha256:";
    static const struct {
        const char *layer; /* NULL: one that is there, with a wrong size */
        int more;          /* bytes of the image */
        const char *refused, *noted;
    } cases[] = {
        {"{\"digest\":\"" A "\",\"size\":7}", 0, NULL, NULL},
        {"{\"digest\":\"" A "\"}", 0, NULL, NULL},
        {"{\"digest\":\"" A "\",\"size\":1000}", 0, NULL, NULL},
        {"{\"digest\":\"" A "\",\"size\":1001}", 0, NULL, of},
        {"{\"digest\":\"" A "\",\"size\":-1}", 0, of, NULL},
        {"{\"digest\":\"" A "\",\"size\":9223372036854775807}", 0, of, NULL},
        {"{\"digest\":\"" A "\",\"size\":1e300}", 0, of, NULL},
        {"{\"digest\":\"" A "\",\"size\":1.5}", 0, of, NULL},
        {"{\"digest\":\"" A "\",\"size\":\"7\"}", 0, of, NULL},
        {"{\"digest\":\"sha256:../..\",\"size\":7}", 0, of, NULL},
        {"{\"digest\":\"" A "a\",\"size\":7}", 0, of, NULL},
        {"{\"digest\":\"md5:0123\",\"size\":7}", 0, of, NULL},
        {"{\"digest\":7,\"size\":7}", 0, of, NULL},
        {"{\"size\":7}", 0, of, NULL},
        {"[]", 0, of, NULL},
        {NULL, 0, NULL, of},
        {"{\"digest\":\"" A "\",\"size\":7}", 1, NULL, "r.test/a/b:1: manifests[0] of sha256:"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *dir = make_layout(cases[i].layer, cases[i].more);
        struct err err = {0};
        bool ok;
        _cleanup_free_ char *said = check_layout(dir, &ok, &err);
        if (ok != !cases[i].refused || (!ok && (err.code != ERR_INVALID || !strstr(err.msg, cases[i].refused))))
            fail_msg("%zu: %s", i, ok ? "it is taken" : err.msg);
        if (cases[i].noted ? !strstr(said, cases[i].noted) : said[0] != '\0')
            fail_msg("%zu: \"%s\" is said", i, said);
        remove_tree(dir);
    }
}

static void no_progress(struct export_job *job UNUSED, const struct export_entry *m UNUSED, const char *how UNUSED)
{
}

/* What a stream gets of a text and then a blob, which is nowhere; -1: the stream takes nothing. */
static off_t cut_export(enum export_packing packing, const char *stream, enum err_code want)
{
    const struct cli_options options = {.socket = "/nowhere/admin.sock"};
    struct export_entry members[] = {{.name = "oci-layout", .text = "{}", .size = 2},
                                     {.name = "blob", .size = 1 << 20}};
    _cleanup_close_ int fd = stream ? open(stream, O_WRONLY | O_CLOEXEC) : memfd_create("stream", MFD_CLOEXEC);
    struct export_job job = {.options = &options,
                             .cache = "/nowhere",
                             .place = {PLACE_STREAM, packing, NULL, fd, true},
                             .members = members,
                             .count = stream ? 1 : 2, /* a full disk is noticed at the end, or before */
                             .progress = no_progress};
    struct err err = {0};

    digest_of(DIGEST_SHA256, "x", 1, &members[1].digest);
    assert_true(fd >= 0);
    assert_false(export_to_tar(&job, &err));
    if (err.code != want)
        fail_msg("%d: %s", packing, err.msg);
    return stream ? -1 : lseek(fd, 0, SEEK_CUR);
}

/* An export that fails leaves a beginning, which has no end; and no memory (a sanitizer looks). */
static void an_export_is_cut(void **state UNUSED)
{
    assert_int_equal(cut_export(PACK_NO, NULL, ERR_UNREACHABLE), 3 * 512); /* a header, its text, a header */
    for (enum export_packing packing = PACK_NO; packing <= PACK_ZSTD; packing++) {
        cut_export(packing, NULL, ERR_UNREACHABLE);
        cut_export(packing, "/dev/full", ERR_NO_SPACE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_swapped),
        cmocka_unit_test(what_is_replaced),
        cmocka_unit_test(an_export_is_cut),
        cmocka_unit_test(what_images_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
