/* What the clouds' providers are made of: signatures, numbers in answers, key files. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "upstream/cred/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- Signature Version 4, as libcurl makes it, against the published test suite ---- */

struct listener {
    int fd;
    char request[4096];
};

static void *serve_one(void *arg)
{
    struct listener *l = arg;
    int fd = accept(l->fd, NULL, NULL);
    size_t len = 0;
    ssize_t n;

    while (len < sizeof(l->request) - 1 && (n = read(fd, l->request + len, sizeof(l->request) - 1 - len)) > 0) {
        len += (size_t)n;
        l->request[len] = '\0';
        if (strstr(l->request, "\r\n\r\n"))
            break;
    }
    const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    (void)!write(fd, answer, sizeof(answer) - 1);
    close(fd);
    return NULL;
}

/* What clouds say of times, and what nobody should. */
static void numbers(void **state UNUSED)
{
    static const struct {
        const char *json;
        int64_t want;
    } cases[] = {
        {"{\"n\":3600}", 3600},
        {"{\"n\":\"3599\"}", 3599},
        {"{\"n\":1.7e9}", 1700000000},
        {"{\"n\":1699999999.75}", 1699999999},
        {"{\"n\":9223372036854775807}", 1000000000000000},
        {"{\"n\":\"9223372036854775807\"}", 1000000000000000},
        {"{\"n\":1e300}", 1000000000000000},
        {"{\"n\":-1e300}", -1000000000000000},
        {"{\"n\":\"soon\"}", 7},
        {"{\"n\":\"\"}", 7},
        {"{\"n\":true}", 7},
        {"{}", 7},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *doc = json_loads(cases[i].json, 0, NULL);
        int64_t n = cred_json_number(doc, "n", 7);
        if (n != cases[i].want)
            fail_msg("%s: %lld", cases[i].json, (long long)n);
        json_decref(doc);
    }
}

static void signatures(void **state UNUSED)
{
    static const struct {
        const char *method, *query, *signature;
    } cases[] = {
        {"GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    };
    static const char *const headers[] = {"Host: example.amazonaws.com", "X-Amz-Date: 20150830T123600Z", NULL};
    atomic_bool stop = false;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct listener l = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(a);
        assert_int_equal(bind(l.fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(l.fd, 1), 0);
        getsockname(l.fd, (struct sockaddr *)&a, &size);
        pthread_t thread;
        pthread_create(&thread, NULL, serve_one, &l);
        _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/%s", ntohs(a.sin_port), cases[i].query);
        const struct cred_http r = {.method = cases[i].method,
                                    .url = url,
                                    .headers = headers,
                                    .body = strcmp(cases[i].method, "POST") == 0 ? "" : NULL,
                                    .aws = "us-east-1:service",
                                    .access_key = "AKIDEXAMPLE",
                                    .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                    .stop = &stop};
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        int status;
        assert_true(cred_http(&r, &status, &out, &err));
        pthread_join(thread, NULL);
        close(l.fd);
        const char *at = strstr(l.request, "Signature=");
        if (!at || strncmp(at + 10, cases[i].signature, 64) != 0)
            fail_msg("%s: %s", cases[i].method, l.request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
