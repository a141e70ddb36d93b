/* What comes before a body, around it and behind it, on its way through: expectations, interim answers, trailers. */
#include "tests/unit/unit_pass.h"

/* What a registry sends without end is cut, for the client, too. */
static void floods(void **state)
{
    struct passing_test *t = *state;

    ask(t, "GET /flood-interim HTTP/1.1\r\nHost: reg.test\r\n\r\n", 3000);
    assert_true(has("HTTP/1.1 103 Early Hints\r\n") && has("HTTP/1.1 502 ") && has("limits"));
    int count = 0;
    for (const char *p = answer; (p = strstr(p, "HTTP/1.1 103")); p++)
        count++;
    assert_in_range(count, 1, 32);
    ask(t, "GET /flood-trailers HTTP/1.1\r\nHost: reg.test\r\n\r\n", 3000);
    assert_true(has("\r\n\r\n2\r\nok\r\n") && answer_ended);
    assert_null(strstr(answer, "\r\n0\r\n"));
}

/* Of a chunked upload: the registry gets them but for what only headers may say; a client that takes trailers says so,
 * and so do we. */
static void trailers_of_uploads(void **state)
{
    struct passing_test *t = *state;

    ask(t,
        "PUT /v2/a HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Empty\r\n"
        "TE: trailers\r\nConnection: close, TE\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 5  \r\nx-empty:\r\nHost: evil\r\n"
        "Authorization: evil\r\nX-Last: a b\r\n\r\n",
        3000);
    assert_true(has("\r\ntrailer: X-Sum, X-Empty\r\n") && has("\r\nTE: trailers\r\nConnection: TE\r\n"));
    assert_true(has("\r\n\r\nX-Sum: 5\r\nx-empty: \r\nX-Last: a b\r\n\r\nsum=294\n"));
    assert_null(strstr(answer, "evil"));
    /* A second length: llhttp 9 takes the request for broken, 8 leaves it to us. */
    ask(t,
        "PUT /v2/a HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n" CLOSE
        "3\r\nabc\r\n0\r\nContent-Length: 7\r\n\r\n",
        3000);
    assert_null(strstr(answer, "ength: 7\r\n"));
    ask(t, "PUT /v2/a HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n" CLOSE "3\r\nabc\r\n0\r\n\r\n",
        3000);
    assert_true(has("\r\n\r\n\r\nsum=294\n")); /* none */
    _cleanup_buf_ struct buf many = {0};
    buf_adds(&many, "PUT /v2/a HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n" CLOSE "3\r\nabc\r\n0\r\n");
    for (int i = 0; i < 70; i++)
        buf_addf(&many, "X-%d: %0900d\r\n", i, i);
    buf_adds(&many, "\r\n");
    ask(t, many.data, 3000); /* they may be dropped */
    assert_true(has("\r\n\r\n\r\nsum=294\n"));
}

/* The registry decides whether the body is sent; one that says nothing gets it after a second. */
static void expectations(void **state)
{
    struct passing_test *t = *state;
    static const struct {
        const char *method, *path;
        bool goes_on;
        int least_ms;
        const char *answer;
    } cases[] = {
        {"PATCH", "/go-on/yes", true, 100, "HTTP/1.1 200 "}, {"PATCH", "/go-on/no", false, 100, "HTTP/1.1 401 "},
        {"PATCH", "/v2/a", true, 900, "HTTP/1.1 200 "},      {"PUT", "/417", false, 0, "HTTP/1.1 417 "},
        {"PATCH", "/417", false, 0, "HTTP/1.1 417 "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *request =
            xasprintf("%s %s HTTP/1.1\r\nHost: reg.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" CLOSE,
                      cases[i].method, cases[i].path);
        int64_t begun = clock_mono_ms();
        bool ended = false;
        int fd = client(&t->f);
        say(fd, request);
        hear(fd, answer, 25, 3000, &ended);
        if (strncmp(answer, "HTTP/1.1 100 Continue\r\n\r\n", 25) == 0) {
            if (!cases[i].goes_on)
                fail_msg("%s: %s after %d ms", cases[i].path, answer, (int)(clock_mono_ms() - begun));
            say(fd, "abc");
            hear(fd, answer, sizeof(answer) - 1, 3000, &ended);
        } else if (cases[i].goes_on) {
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, answer);
        }
        int64_t took = clock_mono_ms() - begun;
        close(fd);
        if (!has(cases[i].answer))
            fail_msg("%s", cases[i].path);
        assert_true(took >= cases[i].least_ms && took < 2500);
        if (cases[i].goes_on)
            assert_true(has("sum=294\n"));
        assert_int_equal(atomic_load(&t->toy.early), 0);
        assert_int_equal(atomic_load(&t->toy.requests), (int)i + 1); /* none is made twice */
        assert_true(none_under_way(t));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {PASS(floods), PASS(trailers_of_uploads), PASS(expectations)};

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
