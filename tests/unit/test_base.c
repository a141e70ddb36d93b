#include "tests/unit/unit.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/writable.h"
#include "base/key_map.h"
#include "base/platform.h"
#include "base/ref.h"
#include "base/url.h"
#include "base/visible.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

static void references(void **state UNUSED)
{
    static const struct {
        const char *text, *full; /* NULL: refused */
    } cases[] = {
        {"nginx", "docker.io/library/nginx:latest"},
        {"nginx:1.27", "docker.io/library/nginx:1.27"},
        {"bitnami/redis", "docker.io/bitnami/redis:latest"},
        {"docker.io/nginx", "docker.io/library/nginx:latest"},
        {"ghcr.io/org/app:v1", "ghcr.io/org/app:v1"},
        {"localhost/app", "localhost/app:latest"},
        {"localhost:5000/app:2", "localhost:5000/app:2"},
        {"host:5000/a/b/c", "host:5000/a/b/c:latest"},
        {"a__b/c-d.e", "docker.io/a__b/c-d.e:latest"},
        {"nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "docker.io/library/nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {"", NULL},
        {"Nginx", NULL},
        {"nginx:", NULL},
        {"nginx:-a", NULL},
        {"nginx@sha256:abc", NULL},
        {"a//b", NULL},
        {"../etc", NULL},
        {"a/-b", NULL},
        {"a b", NULL},
        {"docker.io/", NULL},
    };
    char text[REF_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ref ref;
        struct err err = {0};
        bool ok = ref_parse(&ref, cases[i].text, &err);
        if (cases[i].full) {
            if (!ok)
                print_error("%s: %s\n", cases[i].text, err.msg);
            assert_true(ok);
            assert_string_equal(ref_format(&ref, text), cases[i].full);
        } else {
            if (ok)
                print_error("\"%s\" was taken\n", cases[i].text);
            assert_false(ok);
            assert_int_equal(err.code, ERR_INVALID);
        }
    }
}

/* What is cut is cut between characters. */
static void cuts(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t len, whole;
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"\xc3\xa9", 2, 2},
        {"a\xc3\xa9", 2, 1},
        {"a\xe2\x82\xac", 4, 4},
        {"a\xe2\x82\xac", 3, 1},
        {"a\xe2\x82\xac", 2, 1},
        {"\xf0\x9f\x93\xa6", 4, 4},
        {"\xf0\x9f\x93\xa6", 3, 0},
        {"a\x80\x80\x80\x80\x80", 6, 6}, /* no UTF-8: nothing to keep whole */
        {"\x80\x80", 2, 2},
    };
    char text[ERR_MSG_MAX * 2] = "";
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(text_whole(cases[i].text, cases[i].len), cases[i].whole);
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    for (int shift = 0; shift < 3; shift++) { /* wherever the limit falls */
        err_set(&err, ERR_IO, "%.*s%s", shift, "ab", text);
        assert_int_equal(text_whole(err.msg, strlen(err.msg)), strlen(err.msg));
        assert_true(strlen(err.msg) > ERR_MSG_MAX - 4);
        err_wrap(&err, "context");
        assert_int_equal(text_whole(err.msg, strlen(err.msg)), strlen(err.msg));
        assert_int_equal(strncmp(err.msg, "context: ", 9), 0);
        err_append(&err, "; %s", text);
        assert_int_equal(text_whole(err.msg, strlen(err.msg)), strlen(err.msg));
    }
}

static char *text_of(size_t len, char c)
{
    char *text = xmalloc(len + 1);

    memset(text, c, len);
    text[len] = '\0';
    return text;
}

/* Of a message that gets too long, the context is shortened; the cause stays. */
static void causes(void **state UNUSED)
{
    static const struct {
        size_t context, cause; /* bytes */
        bool context_is_whole, cause_is_whole;
    } cases[] = {
        {10, 10, true, true},
        {ERR_MSG_MAX - 100, 50, true, true},
        {ERR_MSG_MAX, 50, false, true},
        {2000, 2000, false, true},
        {4 * ERR_MSG_MAX, 2000, false, true},
        {10, ERR_MSG_MAX - 1, true, false},
        {ERR_MSG_MAX, ERR_MSG_MAX - 1, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *context = text_of(cases[i].context, 'x'), *cause = text_of(cases[i].cause, 'y');
        struct err err = {0};
        err_set(&err, ERR_IO, "%s", cause);
        assert_false(err_wrap(&err, "%s", context));
        assert_int_equal(err.code, ERR_IO);
        assert_int_equal(strstr(err.msg, context) != NULL, cases[i].context_is_whole);
        assert_int_equal(strstr(err.msg, cause) != NULL, cases[i].cause_is_whole);
        assert_true(strspn(err.msg, "x") >= MIN(cases[i].context, 60u) && strstr(err.msg, ": y"));
        errno = ENOENT;
        err_errno(&err, ERR_IO, "%s", context);
        assert_string_equal(err.msg + strlen(err.msg) - strlen(": No such file or directory"),
                            ": No such file or directory");
    }
}

static void time_outs(void **state UNUSED)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    int64_t begun = clock_mono_ms();

    cond_init(&cond);
    pthread_mutex_lock(&lock);
    while (cond_wait_until(&cond, &lock, begun + 30))
        ;
    assert_in_range(clock_mono_ms() - begun, 30, 5000);
    assert_false(cond_wait_until(&cond, &lock, begun)); /* in the past */
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

static void folders(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *deep = xasprintf("%s/a/b/c", dir), *file = xasprintf("%s/file", dir),
                        *below = xasprintf("%s/file/a/b", dir);
    struct err err = {0};
    struct stat st;

    assert_true(writable_make_folder(deep, 0700, &err) && writable_make_folder(deep, 0755, &err));
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    fclose(fopen(file, "w"));
    assert_false(writable_make_folder(below, 0700, &err)); /* where it fails, and why */
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.msg, "/file/a: Not a directory"));
    remove_tree(dir);
}

/* ---- assertions ---- */

static void long_references(void **state UNUSED)
{
    char name[600];
    struct ref ref;

    memset(name, 'a', sizeof(name));
    name[300] = '\0';
    assert_false(ref_parse(&ref, name, NULL));
    assert_true(ref_is_tag(name, 128));
    assert_false(ref_is_tag(name, 129));
    assert_true(ref_is_path(name, 255));
    assert_false(ref_is_path(name, 256));
}

/* distribution-spec, "Referrers Tag Schema". */
static void statement_tags(void **state UNUSED)
{
    char tag[REF_TAG_MAX + 1], cosign[REF_TAG_MAX + 8];
    struct digest d;

    digest_of(DIGEST_SHA256, "", 0, &d);
    assert_string_equal(ref_referrers_tag(&d, tag),
                        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_true(ref_is_statement_tag(tag));
    snprintf(cosign, sizeof(cosign), "%s.sig", tag);
    assert_true(ref_is_statement_tag(cosign));
    digest_of(DIGEST_SHA512, "", 0, &d);
    assert_string_equal(ref_referrers_tag(&d, tag),
                        "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce");
    assert_true(ref_is_statement_tag(tag) && ref_is_tag(tag, strlen(tag)));
    assert_false(ref_is_statement_tag("latest") || ref_is_statement_tag("sha256-e3b0") || ref_is_statement_tag("") ||
                 ref_is_statement_tag("sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855x"));
}

static void digests(void **state UNUSED)
{
    static const char empty[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char text[DIGEST_TEXT_MAX];
    struct digest d, computed, back;

    assert_true(digest_parse(&d, empty, strlen(empty)));
    digest_of(DIGEST_SHA256, "", 0, &computed);
    assert_true(digest_eq(&d, &computed));
    assert_string_equal(digest_format(&d, text), empty);
    assert_int_equal(digest_from_key(&back, digest_key(&d), digest_key_len(&d)), 33);
    assert_true(digest_eq(&back, &d));
    assert_false(digest_parse(&d, empty, strlen(empty) - 1));
    assert_false(digest_parse(&d, "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", 71));
    assert_false(digest_parse(&d, "md5:d41d8cd98f00b204e9800998ecf8427e", 36));
    digest_of(DIGEST_SHA512, "abc", 3, &d);
    assert_int_equal(digest_len(&d), 64);
    digest_format(&d, text);
    assert_true(digest_parse(&back, text, strlen(text)));
    assert_true(digest_eq(&back, &d));
}

static void streamed_hash(void **state UNUSED)
{
    char data[5000];
    struct digest whole, pieces;
    struct hasher *h = hasher_new(DIGEST_SHA256);

    memset(data, 'x', sizeof(data));
    for (size_t at = 0; at < sizeof(data); at += 1250)
        hasher_update(h, data + at, 1250);
    hasher_final(h, &pieces);
    hasher_free(h);
    digest_of(DIGEST_SHA256, data, sizeof(data), &whole);
    assert_true(digest_eq(&whole, &pieces));
}

static void json_text(void **state UNUSED)
{
    _cleanup_buf_ struct buf b = {0};

    buf_add_json(&b, "a\"b\\c\n\x01");
    assert_string_equal(b.data, "a\\\"b\\\\c\\u000a\\u0001");
}

/* Nothing from outside drives a terminal, forges a line or makes JSON invalid. */
static void visible(void **state UNUSED)
{
    static const struct {
        const char *text, *line, *json;
    } cases[] = {
        {"plain/name:1", "plain/name:1", "plain/name:1"},
        {"\x1b[2Jgone", "\\x1b[2Jgone", "\\u001b[2Jgone"},
        {"a\nb\rc\td", "a\\x0ab\\x0dc\\x09d", "a\\u000ab\\u000dc\\u0009d"},
        {"\x7f", "\\x7f", "\\u007f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m", "\\u009b31m"}, /* CSI in one character */
        {"\xe2\x80\xae"
         "cod",
         "\\u202ecod", "\\u202ecod"},
        {"\xe2\x81\xa7", "\\u2067", "\\u2067"},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8b", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8b",
         "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x8b"},
        {"\xff\x9b", "\\xff\\x9b", "\\ufffd\\ufffd"},
        {"cut \xc3", "cut \\xc3", "cut \\ufffd"},
        {"\xc0\x9b", "\\xc0\\x9b", "\\ufffd\\ufffd"}, /* ESC in too many bytes */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"\"\\", "\"\\", "\\\"\\\\"},
        {"", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *line = visible_line(cases[i].text);
        _cleanup_buf_ struct buf json = {0};
        assert_string_equal(line, cases[i].line);
        buf_add_json(&json, cases[i].text);
        assert_string_equal(json.data ? json.data : "", cases[i].json);
    }
    _cleanup_buf_ struct buf text = {0}, doc = {0};
    buf_add_visible(&text, "a\n\tb\x1b", 5, VISIBLE_TEXT);
    assert_string_equal(text.data, "a\n\tb\\x1b");
    buf_add_visible(&doc, "{\"a\": \"\xc2\x9b\"\n}", 12, VISIBLE_JSON);
    assert_string_equal(doc.data, "{\"a\": \"\\u009b\"\n}");
}

static void platforms(void **state UNUSED)
{
    static const struct {
        const char *wants, *better, *worse; /* NULL: not at all */
    } cases[] = {
        {"linux/amd64", "linux/amd64", "linux/amd64/v1"}, {"linux/arm64", "linux/arm64/v8", NULL},
        {"linux/arm64/v8", "linux/arm64", NULL},          {"linux/arm/v7", "linux/arm/v7", "linux/arm/v6"},
        {"linux/arm", "linux/arm/v7", "linux/arm/v5"},    {"linux/amd64/v3", "linux/amd64/v2", "linux/amd64"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int better = platform_score(cases[i].wants, cases[i].better),
            worse = cases[i].worse ? platform_score(cases[i].wants, cases[i].worse) : 0;
        if (better <= worse || (cases[i].worse && worse == 0))
            fail_msg("%s: %s %d, %s %d", cases[i].wants, cases[i].better, better, cases[i].worse, worse);
    }
    assert_int_equal(platform_score("linux/arm/v6", "linux/arm/v7"), 0);
    assert_int_equal(platform_score("linux/amd64", "linux/amd64/v2"), 0);
    assert_int_equal(platform_score("linux/amd64", "windows/amd64"), 0);
    assert_int_equal(platform_score("linux/amd64", "unknown/unknown"), 0);
    assert_int_equal(platform_score("linux/amd64", ""), 0);
}

/* What other tools and uname call a platform. */
static void platform_names(void **state UNUSED)
{
    static const struct {
        const char *text, *means; /* NULL: it is none */
    } cases[] = {
        {"linux/arm/v7", "linux/arm/v7"},
        {"windows/amd64", "windows/amd64"},
        {"linux/x86_64", "linux/amd64"},
        {"linux/x86-64", "linux/amd64"},
        {"linux/aarch64", "linux/arm64"},
        {"Linux/AMD64", "linux/amd64"},
        {"linux/armhf", "linux/arm/v7"},
        {"linux/armel", "linux/arm/v6"},
        {"linux/arm/7", "linux/arm/v7"},
        {"linux/arm64/8", "linux/arm64/v8"},
        {"linux/i386", "linux/386"},
        {"macos/arm64", "darwin/arm64"},
        {"arm64", "linux/arm64"},
        {"x86_64", "linux/amd64"},
        {"armhf", "linux/arm/v7"},
        {"windows/amd64:10.0.20348", "windows/amd64:10.0.20348"},
        {"windows(10.0.20348)/amd64", "windows/amd64:10.0.20348"},
        {"windows/arm/v7:10.0", "windows/arm/v7:10.0"},
        {"", NULL},
        {"nonsense", NULL},
        {"linux", NULL},
        {"linux/", NULL},
        {"linux//v7", NULL},
        {"linux/a b", NULL},
        {"a/b/c/d", NULL},
        {"windows/amd64:", NULL},
        {"windows()/amd64", NULL},
        {"linux/amd64:1:2", NULL},
    };
    char out[PLATFORM_TEXT], host[PLATFORM_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool is = platform_normalize(cases[i].text, out);
        if (is != (cases[i].means != NULL) || (is && strcmp(out, cases[i].means) != 0))
            fail_msg("%s: %s", cases[i].text, is ? out : "refused");
    }
    assert_true(platform_normalize(platform_of_host(host), out));
    assert_string_equal(out, host);
    assert_true(platform_score("linux/x86_64", "linux/amd64") > 0 && platform_score("linux/amd64", "linux/x86_64") > 0);
    assert_true(platform_score("windows/amd64", "windows/amd64:10.0.17763.1") > 0);
    assert_true(platform_score("windows/amd64:10.0.20348", "windows/amd64:10.0.20348.2700") > 0);
    assert_int_equal(platform_score("windows/amd64:10.0.20348", "windows/amd64:10.0.203489"), 0);
    assert_int_equal(platform_score("windows/amd64:10.0.20348", "windows/amd64"), 0);
}

/* The first place stays; a key is neither its own beginning nor another one's. */
static void lookups(void **state UNUSED)
{
    struct key_map l = {0};
    char key[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_true(key_map_add(&l, key, strlen(key), i));
        assert_false(key_map_add(&l, key, strlen(key), i + 1));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(key_map_find(&l, key, strlen(key)), i);
    }
    assert_int_equal(key_map_find(&l, "1000", 4), KEY_MAP_NONE);
    assert_int_equal(key_map_find(&l, "", 0), KEY_MAP_NONE);
    assert_true(key_map_add(&l, "a\0b", 3, 1) && key_map_add(&l, "a\0c", 3, 2));
    assert_int_equal(key_map_find(&l, "a\0c", 3), 2);
    key_map_free(&l);
    assert_int_equal(key_map_find(&l, "1", 1), KEY_MAP_NONE);
}

static void on_alarm(int number UNUSED)
{
}

/* A pipe that is read slowly while signals come in: nothing is left out, or written twice. */
static void interrupted(void **state UNUSED)
{
    enum { LEN = 300000, SLOWLY_US = 5000 };
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    struct sigaction was, act = {.sa_handler = on_alarm}; /* without SA_RESTART */
    _cleanup_free_ char *sent = xmalloc(LEN), *piece = xmalloc(LEN);
    int ends[2], status;

    for (size_t i = 0; i < LEN; i++)
        sent[i] = (char)(i * 7 >> 3);
    assert_int_equal(pipe(ends), 0);
    sigaction(SIGALRM, &act, &was);
    pid_t child = fork();
    if (child == 0) {
        ssize_t at = 0, n = 1;
        close(ends[1]);
        setitimer(ITIMER_REAL, &often, NULL);
        for (; n > 0; at += n) {
            usleep(SLOWLY_US);
            n = io_read(ends[0], piece + at, (size_t)MIN(16384, LEN - at));
        }
        _exit(n < 0 || at != LEN || memcmp(piece, sent, LEN) != 0);
    }
    close(ends[0]);
    setitimer(ITIMER_REAL, &often, NULL);
    bool ok = io_write(ends[1], sent, LEN);
    setitimer(ITIMER_REAL, &never, NULL);
    close(ends[1]);
    waitpid(child, &status, 0);
    sigaction(SIGALRM, &was, NULL);
    assert_true(ok);
    assert_int_equal(status, 0);
}

/* A folder that cannot be listed costs no descriptor. */
static void no_folder(void **state UNUSED)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_null(io_list(fd));
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_null(io_list(-1));
}

/* Each byte at each place of a text, beside what it may be taken for. */
static void bytes_of_texts(void **state UNUSED)
{
    char text[20], out[32];

    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < sizeof(text); at++) {
            bool plain = c >= 0x20 && c != 0x7f;
            memset(text, at % 2 ? '~' : ' ', sizeof(text));
            text[at] = (char)c;
            assert_int_equal(text_is_plain(text, sizeof(text)), plain);
            assert_int_equal(text_is_simple(text, sizeof(text)), plain && c < 0x7f && c != '"' && c != '\\');
            assert_true(text_is_plain(text, at));
            assert_int_equal(url_decode(text, sizeof(text), false, out, sizeof(out)), plain && c != '%');
            assert_false(url_decode(text, sizeof(text), false, out, sizeof(text))); /* no room for its end */
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupted),    cmocka_unit_test(bytes_of_texts),  cmocka_unit_test(no_folder),
        cmocka_unit_test(cuts),           cmocka_unit_test(causes),          cmocka_unit_test(folders),
        cmocka_unit_test(time_outs),      cmocka_unit_test(platforms),       cmocka_unit_test(platform_names),
        cmocka_unit_test(references),     cmocka_unit_test(long_references), cmocka_unit_test(digests),
        cmocka_unit_test(streamed_hash),  cmocka_unit_test(json_text),       cmocka_unit_test(visible),
        cmocka_unit_test(statement_tags), cmocka_unit_test(lookups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
