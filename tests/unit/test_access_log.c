/* The access log: what a line looks like whatever a client sends, and where lines go. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/seen/access_log.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

static const struct access_line PLAIN = {
    .at_ms = 1767323045678,
    .id = "id-1",
    .client = "10.0.0.7",
    .user_agent = "containerd/2.1",
    .method = "GET",
    .upstream = "docker.io",
    .repository = "library/nginx",
    .reference = "1.27",
    .path = "/v2/library/nginx/manifests/1.27",
    .ns = "docker.io",
    .cache = "entrepot; hit\r\nDate: x",
    .cache_len = sizeof("entrepot; hit") - 1,
    .status = 200,
    .bytes = 1234567890123,
    .first_us = 342,
    .duration_us = 61234567,
    .waited_us = -1,
};

/* As a loop and the thread do it. */
static void format_line(struct buf *out, struct access_second *s, const struct access_line *l,
                        enum access_format format)
{
    _cleanup_buf_ struct buf packed = {0};

    access_pack(&packed, l, 1, format != ACCESS_JSON);
    assert_true(packed.len < ACCESS_PACKED_MAX);
    access_format_line(out, s, access_packed_first(packed.data, packed.len), format);
}

static void a_line_has_the_fields_of_the_contract(void **state UNUSED)
{
    _cleanup_buf_ struct buf out = {0};
    struct access_second second = {0};

    format_line(&out, &second, &PLAIN, ACCESS_JSON);
    assert_string_equal(
        out.data,
        "{\"time\":\"2026-01-02T03:04:05.678Z\",\"id\":\"id-1\",\"client\":\"10.0.0.7\",\"user_agent\":\"containerd/"
        "2.1\","
        "\"method\":\"GET\",\"upstream\":\"docker.io\",\"repository\":\"library/nginx\",\"reference\":\"1.27\","
        "\"range\":null,\"status\":200,\"bytes\":1234567890123,\"cache\":\"entrepot; hit\",\"first_byte_ms\":0.3,"
        "\"duration_ms\":61234,\"upstream_ms\":null}\n");
    buf_clear(&out);
    format_line(&out, &second, &PLAIN, ACCESS_COMMON);
    assert_string_equal(out.data, "10.0.0.7 - - [02/Jan/2026:03:04:05 +0000] \"GET "
                                  "/v2/library/nginx/manifests/1.27?ns=docker.io HTTP/1.1\" 200 1234567890123\n");
}

/* Whatever a client sends, a line stays one line, a JSON object with just these keys, and drives no terminal. */
static void hostile_texts_stay_inside_their_field(void **state UNUSED)
{
    static const char *const texts[] = {
        "\"},{\"status\":200,\"x\":\"",
        "a\nb",
        "a\r\nb",
        "\\",
        "\\\"",
        "\x1b[2J\x1b]0;x\x07",
        "\xff\xfe",
        "\xe2\x80\xae",
        "\xc3",
        "",
        "\t",
        "\xf0\x9f\x90\xb3",
        "\x7f\xc2\23331m",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
    };
    char huge[5000];

    memset(huge, '"', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    for (size_t i = 0; i <= ARRAY_LEN(texts); i++) {
        const char *t = i < ARRAY_LEN(texts) ? texts[i] : huge;
        const struct access_line l = {.at_ms = -1,
                                      .id = t,
                                      .client = t,
                                      .user_agent = t,
                                      .method = t,
                                      .upstream = t,
                                      .repository = t,
                                      .reference = t,
                                      .range = t,
                                      .path = t,
                                      .ns = t,
                                      .cache = t,
                                      .cache_len = strlen(t)};
        _cleanup_buf_ struct buf json = {0}, common = {0}, journal = {0};
        struct access_second second = {0};
        format_line(&json, &second, &l, ACCESS_JSON);
        format_line(&common, &second, &l, ACCESS_COMMON);
        format_line(&journal, &second, &l, ACCESS_JOURNAL);
        json_t *j = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_object_size(j), 15);
        json_decref(j);
        assert_ptr_equal(strchr(json.data, '\n'), json.data + json.len - 1);
        assert_ptr_equal(strchr(common.data, '\n'), common.data + common.len - 1);
        assert_null(memchr(journal.data, '\n', journal.len));
        for (size_t k = 0; k + 1 < common.len; k++)
            assert_true((unsigned char)common.data[k] >= ' ' && common.data[k] != 0x7f);
        assert_true(json.len < 16 << 10 && common.len < 16 << 10 && journal.len < 16 << 10);
    }
}

static void the_journal_gets_fields(void **state UNUSED)
{
    static const char *const wanted[] = {"MESSAGE=10.0.0.7 - - [",
                                         "PRIORITY=6",
                                         "ENTREPOT_ID=id-1",
                                         "ENTREPOT_STATUS=200",
                                         "ENTREPOT_BYTES=1234567890123",
                                         "ENTREPOT_CACHE=entrepot; hit"};
    _cleanup_buf_ struct buf out = {0};
    struct access_second second = {0};
    int found = 0;

    format_line(&out, &second, &PLAIN, ACCESS_JOURNAL);
    for (const char *p = out.data; *p; p += strlen(p) + 1)
        for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
            found += strncmp(p, wanted[i], strlen(wanted[i])) == 0;
    assert_int_equal(found, ARRAY_LEN(wanted));
    assert_int_equal(out.data[out.len - 1] | out.data[out.len - 2], 0); /* the end of the entry */
}

/* ---- the file ---- */

static size_t lines_in(const char *path)
{
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    size_t n = 0;
    int c;

    while (f && (c = fgetc(f)) != EOF)
        n += c == '\n';
    return n;
}

static void wait_for_lines(const char *path, size_t n)
{
    for (int i = 0; i < 2000 && lines_in(path) < n; i++)
        usleep(5000);
    assert_int_equal(lines_in(path), n);
}

static void a_file_is_rotated(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *path = xasprintf("%s/access.log", dir), *old = xasprintf("%s.1", path);
    struct access_log *l = access_log_new(2);
    struct err err = {0};
    struct stat st;

    assert_false(access_feed_is_on(access_log_feed(l, 0)));
    assert_true(access_log_open(l, path, ACCESS_JSON, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777 & 0137, 0);
    access_feed_add(access_log_feed(l, 0), &PLAIN);
    access_feed_add(access_log_feed(l, 1), &PLAIN);
    wait_for_lines(path, 2);
    assert_int_equal(truncate(path, 0), 0); /* copytruncate: no hole, no line at the old offset */
    access_feed_add(access_log_feed(l, 0), &PLAIN);
    wait_for_lines(path, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 1000);
    assert_int_equal(rename(path, old), 0); /* by name: until it is opened again, lines go to the old file */
    access_feed_add(access_log_feed(l, 1), &PLAIN);
    wait_for_lines(old, 2);
    assert_true(access_log_open(l, path, ACCESS_COMMON, &err));
    access_feed_add(access_log_feed(l, 1), &PLAIN);
    wait_for_lines(path, 1);
    assert_false(access_log_open(l, "/nonexistent/access.log", ACCESS_JSON, &err)); /* what is open stays */
    assert_non_null(strstr(err.msg, "/nonexistent/access.log"));
    access_feed_add(access_log_feed(l, 1), &PLAIN);
    access_log_free(l); /* writes what waits */
    assert_int_equal(lines_in(path), 2);
    remove_tree(dir);
}

static void a_full_disk_and_a_stuck_one_drop_lines(void **state UNUSED)
{
    struct access_log *l = access_log_new(1);
    struct access_feed *f = access_log_feed(l, 0);
    char *dir = make_folder();
    _cleanup_free_ char *path = xasprintf("%s/fifo", dir);
    struct err err = {0};

    assert_true(access_log_open(l, "/dev/full", ACCESS_JSON, &err));
    for (int i = 0; i < 10; i++)
        access_feed_add(f, &PLAIN);
    for (int i = 0; i < 400 && access_log_dropped(l) < 10; i++)
        usleep(5000);
    assert_int_equal(access_log_dropped(l), 10);
    /* Nobody reads: the thread stands in write(2), the loop does not. */
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(access_log_open(l, path, ACCESS_JSON, &err));
    for (int i = 0; i < 20000; i++)
        access_feed_add(f, &PLAIN);
    assert_true(access_log_dropped(l) > 10);
    assert_true(access_log_open(l, "/dev/null", ACCESS_JSON, &err));
    close(reader); /* write(2) fails; SIGPIPE is ignored, as in the daemon */
    access_log_free(l);
    remove_tree(dir);
}

/* A line goes to what was open when it came, in the order of its loop; none is lost at a reload or at the end. */
static void a_reload_loses_no_line(void **state UNUSED)
{
    static const enum access_format formats[] = {ACCESS_JSON, ACCESS_COMMON, ACCESS_JSON, ACCESS_COMMON};
    struct access_log *l = access_log_new(1);
    struct access_feed *f = access_log_feed(l, 0);
    char *dir = make_folder();
    struct err err = {0};

    for (int i = 0; i < 4; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%d", dir, i);
        assert_true(access_log_open(l, path, formats[i], &err));
        for (int k = 0; k < 500; k++) {
            struct access_line line = PLAIN;
            line.bytes = k;
            access_feed_add(f, &line);
        }
    }
    assert_true(access_log_open(l, NULL, ACCESS_JSON, &err));
    assert_false(access_feed_is_on(f));
    assert_int_equal(access_log_dropped(l), 0);
    access_log_free(l);
    for (int i = 0; i < 4; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%d", dir, i);
        _cleanup_fclose_ FILE *file = fopen(path, "re");
        char text[1024], wanted[32];
        int k = 0;
        for (; fgets(text, sizeof(text), file); k++) {
            snprintf(wanted, sizeof(wanted), formats[i] == ACCESS_JSON ? "\"bytes\":%d," : " 200 %d\n", k);
            assert_non_null(strstr(text, wanted));
            assert_int_equal(text[0] == '{', formats[i] == ACCESS_JSON);
        }
        assert_int_equal(k, 500);
    }
    remove_tree(dir);
}

/* A pipe that nobody reads is left within some 2 s, for another file or for the end; what is lost is counted. */
static void a_pipe_that_nobody_reads_is_left(void **state UNUSED)
{
    struct access_log *l = access_log_new(1);
    struct access_feed *f = access_log_feed(l, 0);
    char *dir = make_folder();
    _cleanup_free_ char *pipe_path = xasprintf("%s/fifo", dir), *path = xasprintf("%s/file", dir);
    struct err err = {0};

    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    int reader = open(pipe_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(access_log_open(l, pipe_path, ACCESS_JSON, &err));
    for (int i = 0; i < 1000; i++)
        access_feed_add(f, &PLAIN);
    usleep(100000); /* it waits for the reader by now */
    int64_t begun = clock_mono_ms();
    assert_true(access_log_open(l, path, ACCESS_JSON, &err));
    access_feed_add(f, &PLAIN);
    wait_for_lines(path, 1);
    assert_in_range(clock_mono_ms() - begun, 1500, 6000);
    /* A pipe holds 64 KiB. */
    assert_in_range(access_log_dropped(l), 700, 900);

    assert_true(access_log_open(l, pipe_path, ACCESS_JSON, &err));
    for (int i = 0; i < 1000; i++)
        access_feed_add(f, &PLAIN);
    usleep(100000);
    begun = clock_mono_ms();
    access_log_free(l);
    assert_in_range(clock_mono_ms() - begun, 1500, 6000);
    close(reader);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_the_fields_of_the_contract),
        cmocka_unit_test(hostile_texts_stay_inside_their_field),
        cmocka_unit_test(the_journal_gets_fields),
        cmocka_unit_test(a_file_is_rotated),
        cmocka_unit_test(a_full_disk_and_a_stuck_one_drop_lines),
        cmocka_unit_test(a_reload_loses_no_line),
        cmocka_unit_test(a_pipe_that_nobody_reads_is_left),
    };

    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
