/* Bodies of requests, what is around them, and conditions. */
#include "tests/unit/unit_http.h"

static void bodies(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_non_null(strstr(text, "100 Continue"));
    say(fd, "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_non_null(strstr(text, "\r\n\r\nabcdefg"));
    assert_null(strstr(text, "\nX-Evil")); /* a value cannot begin a header of its own */
    close(fd);
}

/* What comes behind a body is no header: not a login, not a host, not the end of the connection. */
static void trailers_are_dropped(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    for (int i = 0; i < 2; i++) {
        say(fd, CHUNKED("/who") "1\r\nx\r\n0\r\nAuthorization: Basic eDp5\r\nHost: evil\r\nConnection: close\r\n\r\n");
        hear(fd, text, sizeof(text) - 1, 200, &ended);
        assert_non_null(strstr(text, "X-Who: nobody"));
        assert_non_null(strstr(text, "X-Host: x\r\n"));
        assert_false(ended);
    }
    close(fd);
}

/* Whatever is around a body has an end: trailers, large or many, blanks, extensions of chunks, chunks of a byte. */
static void framing_is_bounded(void **state)
{
    static const struct {
        const char *begins, *goes_on;
    } cases[] = {
        {"0\r\nx: ",
         "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},
        {"0\r\n", "x: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\n"},
        {"0\r\nx:", "                                                                                                "},
        {"1;x=", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},
        {"1\r\nx\r\n", "1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n"},
    };
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client(*state);
        size_t sent = 0, len = strlen(cases[i].goes_on);
        say(fd, CHUNKED("/who"));
        say(fd, cases[i].begins);
        while (sent < 4 * HTTP_FRAMING_MAX && send(fd, cases[i].goes_on, len, MSG_NOSIGNAL) == (ssize_t)len)
            sent += len;
        hear(fd, text, sizeof(text) - 1, 1000, &ended);
        if (!strstr(text, " 431 "))
            fail_msg("%s: %s", cases[i].begins, text);
        close(fd);
    }
}

/* RFC 9110 §13.1.2, of a page whose entity tag is "sha256:ab". */
static void entity_tags(void **state)
{
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {"X: y", 200},
        {"If-None-Match: \"sha256:ab\"", 304},
        {"If-None-Match: W/\"sha256:ab\"", 304},
        {"If-None-Match: sha256:ab", 304},
        {"If-None-Match: *", 304},
        {"If-None-Match:  \"a,b\" ,W/\"c\",, \"sha256:ab\"", 304},
        {"If-None-Match: \"a\"\r\nIf-None-Match: \"sha256:ab\"", 304},
        {"If-None-Match: \"*\"", 200},
        {"If-None-Match: \"sha256:abc\"", 200},
        {"If-None-Match: \"xsha256:ab\"", 200},
        {"If-None-Match: \"\", \"sha256:", 200},
        {"If-None-Match: ,", 200},
        {"If-None-Match: W/", 200},
        {"If-Match: \"sha256:ab\"", 200},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *want = xasprintf("HTTP/1.1 %d ", cases[i].status);
        _cleanup_free_ char *request =
            xasprintf("GET /tagged HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", cases[i].header);
        int fd = client(*state);
        char text[4096];
        bool ended;

        say(fd, request);
        hear(fd, text, sizeof(text) - 1, 1000, &ended);
        if (strncmp(text, want, strlen(want)) != 0)
            fail_msg("%s: %.40s", cases[i].header, text);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bodies),
        CASE(trailers_are_dropped),
        CASE(framing_is_bounded),
        CASE(entity_tags),
    };

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
